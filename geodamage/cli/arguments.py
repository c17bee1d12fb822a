"""How a command takes what it is told: its options are made from the table of options."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from geodamage.cli.progress import Reporter
from geodamage.options.kinds import Choice, File, Flag, Name
from geodamage.options.lookup import options_of
from geodamage.options.option import Option

#: A path; whether it can be used is for the library to say, in its own words and exit codes.
FILE = click.Path(path_type=Path, readable=False)

F = TypeVar("F", bound=Callable[..., Any])


class Value(click.ParamType):  # type: ignore[type-arg]  # generic in new click only
    """A value of an option, read and checked as the table says.

    Parameters
    ----------
    option
        Option of its command.
    """

    def __init__(self, option: Option) -> None:
        self.name = option.kind.type
        self._option = replace(option, multiple=False)  # click reads one after the other

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what the library takes; raise the library's error where it makes no sense."""
        return self._option.check(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """Return what a shell may complete: the words of a choice, or files."""
        kind = self._option.kind
        if isinstance(kind, Choice):
            return [CompletionItem(word) for word in kind.words if word.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file")] if isinstance(kind, File | Name) else []


def takes(command: str) -> Callable[[F], F]:
    """Return a decorator that gives a function of click the options of a command.

    Parameters
    ----------
    command
        Name in the table, such as `assess` or `models bench`.
    """

    def decorate(function: F) -> F:
        for option in reversed([*options_of(command)]):
            function = _click_option(option)(function)
        return function

    return decorate


def _click_option(option: Option) -> Callable[[F], F]:
    names = [option.flag, option.key] if option.short is None else [
        option.short, option.flag, option.key
    ]  # fmt: skip
    told: dict[str, Any] = {"help": option.help}
    if option.default is not None:  # a default of None counts as given where one is required
        told |= {"default": option.default, "show_default": option.says_default}
    if isinstance(option.kind, Flag):
        if option.default:
            names[-2] += f"/--no-{option.flag.removeprefix('--')}"
        return click.option(*names, is_flag=True, **told)
    if option.name == "progress":
        told |= {"is_eager": True, "callback": _say_errors_so}
    return click.option(
        *names,
        type=Value(option),
        metavar=metavar_of(option),
        required=option.required,
        multiple=option.multiple,
        **told,
    )


def metavar_of(option: Option) -> str:
    """Return what stands for the value of an option in `--help`."""
    if isinstance(option.kind, Choice):
        return f"[{'|'.join(option.kind.words)}]"
    return option.metavar or option.kind.metavar


def _say_errors_so(ctx: click.Context, param: click.Parameter, style: str) -> str:
    """Let errors be said in the style that was asked for, those of other options included."""
    ctx.meta["geodamage.error"] = Reporter(style).error
    return style
