"""What JSON can hold of a value."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from geodamage.errors import without_secrets


def json_ready(value: Any) -> Any:
    """Return what JSON can hold of a value, and anybody may read: URLs tell no secrets."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int | None):
        return value
    return without_secrets(str(value))
