"""Presets: named sets of options, and what the flat keys of a recipe change in them."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

from geodamage.errors import OptionError
from geodamage.schema import MisfitError, typed

Options = TypeVar("Options")


def resolve(
    kind: type[Options], keys: Mapping[str, Any], *, topic: str, presets: Mapping[str, Options]
) -> Options:
    """Return the options that the keys of a recipe describe.

    The key `topic` names a preset; without it the defaults of `kind` are taken. Every key that
    begins with `topic_` replaces one field. Keys of other topics are left alone.

    Parameters
    ----------
    kind
        A frozen dataclass whose fields are numbers, texts, truth values or tuples of them.
    keys
        The whole recipe, as read from flat TOML.

    Raises
    ------
    OptionError
        For an unknown preset or key (the nearest known one is named), a value of the wrong type,
        and whatever `kind` refuses.
    """
    base = kind(**_named(keys, topic, presets))
    hints = get_type_hints(kind)
    start = len(topic) + 1
    changes = {key: value for key, value in keys.items() if key.startswith(topic + "_")}
    for key in changes:
        if key[start:] not in hints:
            raise OptionError(f"unknown key {key!r}{near(key[start:], hints, topic + '_')}")
    typed = {k[start:]: converted(k, v, hints[k[start:]]) for k, v in changes.items()}
    return dataclasses.replace(base, **typed)  # type: ignore[type-var]


def _named(keys: Mapping[str, Any], topic: str, presets: Mapping[str, Any]) -> dict[str, Any]:
    name = keys.get(topic)
    if name is None:
        return {}
    if name not in presets:
        raise OptionError(f"{topic} = {name!r}: no such preset{near(str(name), presets)}")
    preset = presets[name]
    return {field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)}


def near(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message about an unknown name: the nearest known ones, or all of them."""
    known = sorted(known)
    close = [k for k in known if name and name in k] or difflib.get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {' or '.join(repr(prefix + k) for k in close[:2])}?"
    return f"; known: {', '.join(prefix + k for k in known)}"


def converted(key: str, value: Any, wanted: Any) -> Any:
    """Return a value of TOML as the type of a field; whole numbers may stand for any number.

    Raises
    ------
    OptionError
        If it is of another type.
    """
    try:
        return typed(key, value, wanted)
    except MisfitError as error:
        raise OptionError(str(error)) from error
