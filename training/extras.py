"""Packages that training can do without, until it is asked for what they do."""

import importlib
from typing import Any

from geodamage.errors import MissingExtraError, install


def optional(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    extra
        Extra of geodamage that installs the package.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # What is missing inside of a package that is there is another matter.
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(f"{package} is not installed; run {install(extra)}") from error
