"""What OpenVINO has compiled of models, kept on this machine."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from geodamage.model.card import Card
from geodamage.model.kept import make_folder, read_sealed, write_sealed
from geodamage.model.known import difference

S = TypeVar("S")


def compiled_once(
    place: Path,
    begin: Callable[[Sequence[bytes]], S],
    exported: Callable[[S], list[bytes]],
    card: Card,
) -> S:
    """Start sessions of OpenVINO, from what was compiled before where that is kept.

    Compiling takes longer than all else of starting, so what is compiled is kept, if it answers to
    the last bit as it does before it is kept. The name of its file is that of the bytes, so another
    model never answers in the place of this one.

    Parameters
    ----------
    begin
        Starts the sessions, from what was compiled or, of nothing, anew.
    exported
        Returns what sessions have compiled.
    """
    kept = _compiled(place)
    if kept:
        try:
            return begin(kept)
        except RuntimeError:
            kept = None  # OpenVINO refuses what it has written: it compiles anew
    session = begin(())
    # Where nothing can be kept, nothing is compared each time.
    if kept is None and make_folder(place.parent):
        compiled = exported(session)
        try:
            is_same = difference(begin(compiled), session, card) == 0
        except RuntimeError:
            is_same = False
        write_sealed(place, msgspec.msgpack.encode(compiled if is_same else []))
    return session


def _compiled(place: Path) -> list[bytes] | None:
    """Return the compiled parts; none where they are not to be used, None where nothing is kept."""
    with suppress(msgspec.DecodeError):
        sealed = read_sealed(place)
        return None if sealed is None else msgspec.msgpack.decode(sealed, type=list[bytes])
    return None
