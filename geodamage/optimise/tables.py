"""Tables: the names of variants, and the TOML of an ensemble of them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geodamage.model.catalogue import ModelFile


def renamed(name: str, precision: str) -> str:
    """Return the name of a variant; in bfloat16 it is the model, with more on its card."""
    if precision == "bfloat16":
        return name
    path = Path(name)
    return f"{path.stem}-{precision}{path.suffix}"


def ensemble_text(
    original: ModelFile, precision: str, facts: Mapping[str, Any] | None = None
) -> str:
    """Return the TOML of an ensemble of variants."""
    table = dict(original.table) | {"name": f"{original.name}-{precision}", "precision": precision}
    tables = {key: table.pop(key) for key in [*table] if isinstance(table[key], dict)}
    if facts is not None:
        tables["parity"] = facts
    members = [
        {**m.table, "file": renamed(str(m.table["file"]), precision)} for m in original.members
    ]
    lines = [*_toml_lines(table)]
    for key, values in tables.items():
        lines += ["", f"[{key}]", *_toml_lines(values)]
    for member in members:
        lines += ["", "[[member]]", *_toml_lines(member)]
    return "\n".join(lines) + "\n"


def _toml_lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Write keys with plain values; those of a table within it as an inline table."""
    return (f"{key} = {_toml(value)}" for key, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A JSON text, number or truth value is one of TOML, too.
    return json.dumps(value, ensure_ascii=False)
