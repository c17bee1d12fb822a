"""Mutations of files that keep most of their structure: what a slip, a tool or a bad disk makes."""

import json
import random
from typing import Any

#: Values that a field should not have, and numbers at the ends.
ODD: tuple[Any, ...] = (
    None, True, "", "a", "1024", -1, 0, 2**31, 2**63, 2**70, 0.5, -1e300, [], {}, [[]], {"a": {}},
    "POLYGON((0 0", "é" * 40, "../../x", "http://127.0.0.1:9/x", "\x00", [1, [2, [3, [4]]]],
)  # fmt: skip
#: Pieces of text that JSON, TOML and CSV may not have, or not there.
PIECES = (
    "NaN", "1e999", "-Infinity", "null", '"', "'", "{", "}", "[", "]", ",", ";", "\n", "\t", "\x00",
    "=", "#", "\\", "\\ud800", "🏠", "0x10", "1_000", "--", " " * 300,
)  # fmt: skip


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes of a file with a few of them changed, lost or repeated."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(found)) if found else 0
        kind = chance.randrange(5)
        if kind == 0 and found:
            found[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            found[place : place + chance.choice((1, 4, 64, 1024))] = b""
        elif kind == 2:
            size = chance.choice((1, 4, 64, 1024))
            found[place : place + size] = bytes(chance.choice((0, 255)) for _ in range(size))
        elif kind == 3:
            found[place:place] = found[place : place + chance.choice((1, 16, 256))]
        else:
            del found[place:]
    return bytes(found)


def of_text(text: str, chance: random.Random) -> str:
    """Return a text with pieces put in, taken out or doubled."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(text) + 1)
        end = min(place + chance.choice((0, 1, 5, 40)), len(text))
        middle = chance.choice((chance.choice(PIECES), text[place:end] * 2, ""))
        text = text[:place] + middle + text[end:]
    return text


def of_value(value: Any, chance: random.Random) -> Any:
    """Return JSON with a value somewhere inside replaced, lost, doubled or put deeper."""
    inside = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    if not inside:
        return chance.choice(ODD)
    key, child = chance.choice(inside)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if isinstance(child, dict | list) and chance.random() < 0.75:
        copy[key] = of_value(child, chance)
        return copy
    kind = chance.randrange(4)
    if kind == 0:
        del copy[key]
    elif kind == 1:
        copy[key] = chance.choice(ODD)
    elif kind == 2:
        copy[key] = [child]
    elif isinstance(copy, list):
        copy.insert(key, child)
    else:
        copy[f"{key}_"] = child
    return copy


def of_json(document: Any, chance: random.Random) -> str:
    """Return a text of JSON, changed as a document or as a text."""
    if chance.random() < 0.7:
        for _ in range(chance.choice((1, 1, 2, 3))):
            if isinstance(document, dict | list):
                document = of_value(document, chance)
        return json.dumps(document)
    return of_text(json.dumps(document), chance)
