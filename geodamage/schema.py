"""Schemas: tables of JSON and TOML, checked against the fields of a dataclass.

msgspec checks the values, and it is strict: a text is no number, `true` is no 1, 1.0 is no whole
number. A whole number may stand for any number, and a list for a tuple. The messages are the
caller's: each kind of file has its own remedy.

msgspec was weighed against pydantic and cattrs. All three are free to use (BSD-3-Clause, MIT, MIT)
and well kept. With pydantic come four packages and twice the modules at import, and it refuses a
list for a tuple where it is strict. With cattrs the text "4" becomes the number 4 unless hooks
forbid it. One package without dependencies is msgspec. It does not refuse keys that a dataclass
lacks, and a `__post_init__` inside it loses the type of its error. So keys are compared here, and
the caller makes the object.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import msgspec

#: Where msgspec says that a value inside of another is wrong.
_PLACE = re.compile(r"at `\$((?:\[\d+\])+)`$")


class MisfitError(ValueError):
    """A value is not of the type of its field.

    Attributes
    ----------
    key
        Name of the field.
    value
        The value that is wrong, which may lie inside of what was given.
    expected
        Type that it should have, as Python writes it.
    """

    def __init__(self, key: str, value: Any, expected: str) -> None:
        super().__init__(f"{key} = {shown(value)} is not {expected}")
        self.key, self.value, self.expected = key, value, expected


def compare_keys(kind: type, table: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the keys that a dataclass does not know, and those that it lacks, both sorted."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    needed = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return sorted(table.keys() - fields.keys()), sorted(needed - table.keys())


def typed_values(kind: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a table as the types of the fields of a dataclass.

    Parameters
    ----------
    kind
        Dataclass. Its fields may be `Annotated` with limits, `msgspec.Meta`.
    table
        Table whose keys are all fields of it; not every field must be there.

    Raises
    ------
    MisfitError
        If a value is of another type or outside its limits.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {key: typed(key, value, hints[key]) for key, value in table.items()}


def typed(key: str, value: Any, wanted: Any) -> Any:
    """Return a value of JSON or TOML as a type.

    Raises
    ------
    MisfitError
        If it is of another type or outside its limits.
    """
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise _misfit(key, value, wanted, str(error)) from error
    except (OverflowError, RecursionError) as error:
        raise MisfitError(key, value, _name(wanted)) from error


def _misfit(key: str, value: Any, wanted: Any, said: str) -> MisfitError:
    """Go down to the value inside that msgspec complains about."""
    match = _PLACE.search(said)
    for place in re.findall(r"\d+", match[1]) if match else ():
        value = value[int(place)]
        inner = get_args(wanted)
        wanted = inner[0] if inner[-1] is ... else inner[int(place)]
    return MisfitError(key, value, _name(wanted))


def is_deeper(value: Any, levels: int) -> bool:
    """Say whether lists and objects hold each other in more levels than these."""
    inside = [value]
    for _ in range(levels):
        inside = [
            inner
            for item in inside
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in inside)


def shown(value: Any) -> str:
    """Return a value for a message; one that is too deep for Python to write is only called so."""
    try:
        return repr(value)
    except RecursionError:
        return "(nested too deep)"


def _name(wanted: Any) -> str:
    return wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else str(wanted)
