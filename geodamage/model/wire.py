"""The wire format of protobuf, as far as an ONNX file needs it: fields in, fields out.

Source: protobuf.dev/programming-guides/encoding. Nothing is executed, and no package is needed.
"""

from collections.abc import Iterator

from geodamage.errors import ModelError


def fields(blob: bytes, source: str, *, whole: bool = False) -> Iterator[tuple[int, bytes]]:
    """Walk the fields of a message, not those of what lies in them.

    Parameters
    ----------
    blob
        The message.
    source
        What it was read from, for errors.
    whole
        Give the whole record of each field, not its value alone.

    Yields
    ------
    Number and value; the value of a number is its varint.

    Raises
    ------
    ModelError
        If it is no such message.
    """
    position = 0
    while position < len(blob):
        start = position
        tag, position = _read_varint(blob, position, source)
        number, kind = tag >> 3, tag & 7
        begin = position
        if kind == 0:
            _, position = _read_varint(blob, position, source)
        elif kind == 2:
            length, begin = _read_varint(blob, position, source)
            position = begin + length
        else:
            position += {1: 8, 5: 4}.get(kind, len(blob) + 1)
        if number == 0 or position > len(blob):
            raise ModelError(f"{source}: not an ONNX file; give a model exported for geodamage")
        yield number, blob[start:position] if whole else blob[begin:position]


def record(number: int, value: bytes) -> bytes:
    """Return a field that holds bytes, a text or a message."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def number_record(number: int, value: int) -> bytes:
    """Return a field that holds a number, not negative."""
    return bytes([number << 3]) + _varint(value)


def read_number(value: bytes, source: str) -> int:
    """Return the signed number that a field holds."""
    number, _ = _read_varint(value, 0, source)
    return number - (1 << 64) if number >> 63 else number


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(blob: bytes, position: int, source: str) -> tuple[int, int]:
    value = shift = 0
    while position < len(blob) and shift < 64:
        byte = blob[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ModelError(f"{source}: not an ONNX file; give a model exported for geodamage")
