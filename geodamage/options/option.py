"""An option of the command line: what it takes, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from geodamage.errors import GeodamageError, OptionError
from geodamage.options.kinds import Kind

#: A command, and what is otherwise there; `at` makes one.
At = tuple[str, Mapping[str, Any]]

#: Characters of a value that a message repeats.
_LONGEST_VALUE = 80


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of one command, or of several where it is the same.

    Attributes
    ----------
    name
        Name as Python and lists of scenes spell it; the command line has hyphens.
    kind
        What it takes, and how that is checked.
    help
        What `--help` says of it.
    commands
        Where it is taken; with a command may stand what is otherwise there.
    default
        Default as one would write it; None where nothing is taken unless given.
    unit
        Unit of the value, in words.
    metavar
        What stands for the value in `--help`; None for what its kind has.
    takers
        Fields that take it, as `Job` or, of another name, `LocalisationJob.scales`.
    column
        Whether a list of scenes may give it for a scene alone.
    required, multiple
        Whether it has to be given, and may be given several times.
    short, dest
        One letter for it; what a command calls it in Python where that is another name.
    error
        What is raised where a value is refused.
    """

    name: str
    kind: Kind
    help: str
    commands: tuple[str | At, ...]
    default: Any = None
    unit: str | None = None
    metavar: str | None = None
    takers: tuple[str, ...] = ()
    column: bool = False
    required: bool = False
    multiple: bool = False
    short: str | None = None
    dest: str | None = None
    error: type[GeodamageError] = OptionError

    @property
    def flag(self) -> str:
        """The option as one writes it, such as `--min-area`."""
        return "--" + self.name.replace("_", "-")

    @property
    def key(self) -> str:
        """What a command calls it."""
        return self.dest or self.name

    @property
    def says_default(self) -> bool:
        """Whether the default is worth saying: nothing and no say themselves."""
        return self.default is not None and self.default is not False

    @property
    def where(self) -> list[str]:
        """The commands that take it."""
        return [entry if isinstance(entry, str) else entry[0] for entry in self.commands]

    def at(self, command: str) -> "Option | None":
        """Return the option as a command has it; None where it has not."""
        for entry in self.commands:
            name, changes = (entry, {}) if isinstance(entry, str) else entry
            if name == command:
                return replace(self, commands=(command,), **changes)
        return None

    def field_of(self, taker: str) -> str | None:
        """Return the field of a dataclass that takes it; None if none does."""
        for entry in self.takers:
            name, _, field = entry.partition(".")
            if name == taker:
                return field or self.key
        return None

    def check(self, value: Any) -> Any:
        """Return a value as those take it who use it; None where nothing has to be given.

        Raises
        ------
        OptionError
            If it makes no sense, or what `error` says.
        """
        return None if value is None and self.default is None else self.read(value)

    def read(self, value: Any) -> Any:
        """Return a value that has to be there; see `check`."""
        try:
            if self.multiple:
                return tuple(self.kind.read(part) for part in value)
            return self.kind.read(value)
        except (ValueError, TypeError) as error:
            raise self.error(f"{self.flag} {_shown(value)}: {self.kind.fault}{error}") from error

    def facts(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        facts = {
            "name": self.name,
            "option": self.flag,
            "short": self.short,
            "type": self.kind.type,
            **self.kind.facts(),
            "default": self.default,
            "unit": self.unit,
            "metavar": self.metavar or self.kind.metavar or None,
            "help": self.help,
            "required": self.required,
            "multiple": self.multiple,
            "column": self.column,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


def _shown(value: Any) -> str:
    """Return a value as one would have written it, in one line."""
    if isinstance(value, list | tuple):
        text = ",".join(_shown(part) for part in value[:10])
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(value) if isinstance(value, str | int | PurePath) else repr(value)
    return " ".join(text.split())[:_LONGEST_VALUE]


def at(command: str, **changes: Any) -> At:
    """Return a command that has an option, with what is otherwise there.

    Parameters
    ----------
    command
        Command as one calls it, such as `models bench`.
    changes
        Attributes of `Option`.
    """
    return command, changes
