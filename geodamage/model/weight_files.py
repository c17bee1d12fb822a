"""Files of weights, looked at before anything reads them whole; needs no torch."""

import stat
from pathlib import Path

from geodamage.errors import CheckpointError


def find_weights(path: Path) -> Path:
    """Return the file of a checkpoint, which may be a folder of MetaDamageNet.

    Raises
    ------
    CheckpointError
        If it is not there, or does not begin as weights do.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            path = path / "model.pth"
            if not path.exists():
                raise CheckpointError(f"{path.parent}: a folder without model.pth; give a file")
            mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{path}: not a regular file; give a checkpoint")
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check it") from error
    _check_start(start, path)
    return path


def _check_start(start: bytes, path: Path) -> None:
    if not start:
        raise CheckpointError(f"{path}: empty; get the file again")
    # Source: RFC 1952 (gzip), POSIX ustar (magic at byte 257).
    if start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar":
        raise CheckpointError(f"{path}: an archive; unpack it and import the files inside")
    # PyTorch writes a zip file, and wrote pickles of a binary protocol before.
    if not start.startswith((b"PK", b"\x80")) and not is_safetensors(path):
        raise CheckpointError(
            f"{path}: no PyTorch checkpoint, or a damaged one; get the file again"
        )


def is_safetensors(path: Path) -> bool:
    """Say whether a file begins as safetensors do: the length of a JSON object, and one."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and length >= 2
