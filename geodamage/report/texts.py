"""Texts: single values as the page writes them."""

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
