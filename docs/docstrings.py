"""Extension of griffe: docstrings that are completed when the module is imported.

`geodamage.assess` and `geodamage.localise` get the rows of the table of options in place of the
word OPTIONS. Griffe reads the source alone, and would show that word.
"""

import importlib
import inspect
from typing import Any

import griffe


class Completed(griffe.Extension):  # type: ignore[misc]  # griffe has no types where it is absent
    """Show a docstring as the running program has it."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace the docstring of a function whose source has the word OPTIONS."""
        if func.docstring is not None and "\nOPTIONS\n" in func.docstring.value:
            function = getattr(importlib.import_module(func.module.path), func.name)
            func.docstring.value = inspect.getdoc(function) or ""
