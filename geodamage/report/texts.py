"""Texts: single values as the page writes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def status_text(status: Any, reason: Any) -> str:
    """Return a status with its reason, in words."""
    words = [plain_text(text).replace("_", " ") for text in (status, reason)]
    return ": ".join(word for word in words if word)


def plain_text(value: Any) -> str:
    """Return a text; nothing for null."""
    is_null = value is None or (not isinstance(value, str) and str(value) in ("<NA>", "nan", "NaT"))
    return "" if is_null else str(value)


def rounded(value: float, decimals: int) -> float | None:
    """Return a number with so many decimals; None where it is not finite."""
    return round(float(value), decimals) if np.isfinite(value) else None


def percent_text(value: float) -> str:
    """Return a share (0-1) in percent; a dash where it is not finite."""
    return f"{value:.0%}".replace("%", " %") if np.isfinite(value) else "–"


def decimals_text(value: float, decimals: int = 0) -> str:
    """Return a number with so many decimals; a dash where it is not finite."""
    return f"{value:,.{decimals}f}" if np.isfinite(value) else "–"


def numbers_text(values: Any) -> str:
    """Return numbers in short; once, where all are the same."""
    listed = values if isinstance(values, list) else []
    told = [f"{value:.4g}" for value in listed if isinstance(value, int | float)]
    return ", ".join(told[:1] if len(set(told)) == 1 else told)


def unit_text(value: Any, unit: str) -> str | None:
    """Return a number with its unit; None where it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.4g} {unit}" if is_number else None


def list_text(values: Any) -> str:
    """Return values separated by commas; nothing of what is no list."""
    return ", ".join(str(value) for value in values) if isinstance(values, list) else ""


def share_text(value: Any) -> str | None:
    """Return a share (0-1) in percent; None where it is no number."""
    return f"{value:.0%}" if isinstance(value, float) else None


def part(value: Any, key: str) -> Mapping[str, Any]:
    """Return a part of the facts, or the value itself for no key; nothing where it is no table."""
    found = value.get(key) if key and isinstance(value, Mapping) else value
    return found if isinstance(found, Mapping) and (key == "" or isinstance(value, Mapping)) else {}
