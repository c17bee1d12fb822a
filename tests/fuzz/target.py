"""A kind of file that is mutated, and how."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.mutations import of_bytes, of_json, of_text


class Target(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    name
        Name of the file.
    change
        Returns other bytes for it.
    read
        Reads it by its path.
    is_native
        Whether a library in another language sees the bytes: then a process of its own reads it.
    """

    name: str
    change: Callable[[random.Random], bytes]
    read: Callable[[Path], Any]
    is_native: bool = False


def as_json(document: Any) -> Callable[[random.Random], bytes]:
    return lambda chance: of_json(document, chance).encode("utf-8", "surrogatepass")


def as_text(text: str) -> Callable[[random.Random], bytes]:
    return lambda chance: of_text(text, chance).encode("utf-8", "surrogatepass")


def as_bytes(content: bytes) -> Callable[[random.Random], bytes]:
    return lambda chance: of_bytes(content, chance)
