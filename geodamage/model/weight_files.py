"""Files of weights, looked at before anything reads them whole; needs no torch."""

import pickle
import stat
import zipfile
from pathlib import Path

from geodamage.errors import CheckpointError

#: What the pickles begin with that PyTorch wrote before zip files, within the frame of a protocol.
#: Source: MAGIC_NUMBER of torch.serialization.
_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]


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
    # PyTorch takes most of a gigabyte to say so.
    if not (_is_zip(path) if start.startswith(b"PK") else _MAGIC in start[:40]) and not (
        is_safetensors(path)
    ):
        raise CheckpointError(
            f"{path}: no PyTorch checkpoint, or a damaged one; get the file again"
        )


def _is_zip(path: Path) -> bool:
    """Say whether a zip file is one of PyTorch's: a folder with a pickle called data.pkl."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def is_safetensors(path: Path) -> bool:
    """Say whether a file begins as safetensors do: the length of a JSON object, and one."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and length >= 2
