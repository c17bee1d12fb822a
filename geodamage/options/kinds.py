"""Values: how what is given for an option is read, whether a text or a value of Python."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

#: No whole number that anything here counts is larger; ONNX Runtime and GDAL count in 32 bits.
LARGEST = 2**31 - 1

#: Bytes of the units of a size, the longest name first.
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "B": 1.0}


@dataclass(frozen=True)
class Kind:
    """What an option takes.

    Attributes
    ----------
    type
        Its name, as `geodamage options --json` says it.
    metavar
        What stands for a value in `--help`, unless the option says otherwise.
    fault
        What is said of a value that is refused, before the remedy.
    """

    type: ClassVar[str]
    metavar: ClassVar[str] = ""
    fault: ClassVar[str] = ""

    def read(self, value: Any) -> Any:
        """Return a value as those take it who use it.

        Parameters
        ----------
        value
            A text, as from a command line or a cell of a table, or the value itself.

        Raises
        ------
        ValueError
            If it is not of this kind; the message says what to give.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what JSON says of this kind, beside its type."""
        return {}


@dataclass(frozen=True)
class Text(Kind):
    """Any text."""

    type: ClassVar[str] = "text"
    metavar: ClassVar[str] = "TEXT"

    def read(self, value: Any) -> str:
        """Return the text; a whole number is one, too."""
        if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value):
            raise ValueError("give a text")
        return str(value)


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no; on a command line it takes no value."""

    type: ClassVar[str] = "boolean"

    def read(self, value: Any) -> bool:
        """Return the truth value."""
        if not isinstance(value, bool):
            raise ValueError("give True or False")
        return value


@dataclass(frozen=True)
class File(Kind):
    """A path; whether it can be used is for those to say who open it."""

    type: ClassVar[str] = "file"
    metavar: ClassVar[str] = "FILE"

    def read(self, value: Any) -> Path:
        """Return the path."""
        name = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError("give the path of a file")
        return Path(name)


@dataclass(frozen=True)
class Folder(File):
    """A path of a folder."""

    type: ClassVar[str] = "folder"
    metavar: ClassVar[str] = "DIR"

    def read(self, value: Any) -> Path:
        """Return the path."""
        try:
            return super().read(value)
        except ValueError as error:
            raise ValueError("give the path of a folder") from error


@dataclass(frozen=True)
class Name(Kind):
    """A name, or a path that stands for it, as of a model."""

    type: ClassVar[str] = "name"
    metavar: ClassVar[str] = "NAME|PATH"

    def read(self, value: Any) -> str:
        """Return the name or path as a text."""
        name = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(name, str) or "\0" in name:
            raise ValueError("give a name or a path")
        return name


@dataclass(frozen=True)
class Device(Kind):
    """Where a model runs; whether the machine has such a device is seen when it is loaded."""

    type: ClassVar[str] = "device"
    metavar: ClassVar[str] = "NAME"
    fault: ClassVar[str] = "unknown; "

    def read(self, value: Any) -> str:
        """Return the device."""
        known = r"auto|cpu|openvino|(cuda|tensorrt)(:[0-9]{1,4})?"
        if not isinstance(value, str) or not re.fullmatch(known, value):
            raise ValueError("give auto, cpu, cuda or cuda:N, tensorrt or tensorrt:N, or openvino")
        return value


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words.

    Attributes
    ----------
    words
        The words.
    """

    words: tuple[str, ...]
    type: ClassVar[str] = "choice"
    fault: ClassVar[str] = "unknown; "

    def read(self, value: Any) -> str:
        """Return the word."""
        if not isinstance(value, str) or value not in self.words:
            *others, last = self.words
            raise ValueError(f"give {', '.join(others)} or {last}")
        return value

    def facts(self) -> dict[str, Any]:
        """Return the words."""
        return {"choices": list(self.words)}


@dataclass(frozen=True)
class Number(Kind):
    """A number within bounds.

    Attributes
    ----------
    least, most
        Bounds; None where there is none.
    below
        A bound that is not reached.
    """

    least: float | None = None
    most: float | None = None
    below: float | None = None
    type: ClassVar[str] = "number"
    metavar: ClassVar[str] = "NUMBER"

    def read(self, value: Any) -> float:
        """Return the number."""
        number = _number(value)
        if not self._holds(number):
            raise ValueError(f"give {self.wish('a number')}")
        return number

    def _holds(self, number: float) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def wish(self, what: str) -> str:
        """Return what to give, in words."""
        if self.most is not None:
            return f"{what} from {self.least or 0:g} to {self.most:,.10g}"
        if self.below is not None:
            return f"{self.least or 0:g} or more, and less than {self.below:g}"
        if self.least is None:
            return what
        return f"{what} that is not negative"

    def facts(self) -> dict[str, Any]:
        """Return the bounds."""
        bounds = {"minimum": self.least, "maximum": self.most, "below": self.below}
        return {name: bound for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number.

    Attributes
    ----------
    least
        The smallest.
    """

    least: int = 1
    type: ClassVar[str] = "integer"
    metavar: ClassVar[str] = "N"

    def read(self, value: Any) -> int:
        """Return the number."""
        number = _number(value)
        if number != int(number) or number < self.least:
            raise ValueError(f"give a whole number, {self.least} or more")
        if number > LARGEST:
            raise ValueError("give a smaller number")
        return int(number)

    def facts(self) -> dict[str, Any]:
        """Return the bound."""
        return {"minimum": self.least}


@dataclass(frozen=True)
class Bands(Kind):
    """Channels of an image, counted from 1."""

    type: ClassVar[str] = "integers"
    metavar: ClassVar[str] = "N,N,N"

    def read(self, value: Any) -> tuple[int, ...]:
        """Return the channels."""
        bands = tuple(Whole().read(part) for part in _parts(value))
        if not bands:
            raise ValueError("give numbers of channels, counted from 1")
        return bands

    def facts(self) -> dict[str, Any]:
        """Return the bound of each."""
        return Whole().facts()


@dataclass(frozen=True)
class Span(Kind):
    """Two numbers, the lower one first."""

    type: ClassVar[str] = "span"
    metavar: ClassVar[str] = "MIN,MAX"

    def read(self, value: Any) -> tuple[float, float]:
        """Return the two numbers."""
        numbers = [_number(part) for part in _parts(value)]
        if len(numbers) != 2 or not numbers[0] < numbers[1]:
            raise ValueError("give MIN,MAX with MIN below MAX")
        return numbers[0], numbers[1]


@dataclass(frozen=True)
class Numbers(Kind):
    """Several numbers, each within bounds.

    Attributes
    ----------
    each
        What each of them is.
    """

    each: Number
    type: ClassVar[str] = "numbers"
    metavar: ClassVar[str] = "N,N,..."

    def read(self, value: Any) -> tuple[float, ...]:
        """Return the numbers."""
        try:
            numbers = tuple(self.each.read(part) for part in _parts(value))
        except ValueError as error:
            raise ValueError(f"give {self.each.wish('numbers')}") from error
        if not numbers:
            raise ValueError(f"give {self.each.wish('numbers')}")
        return numbers

    def facts(self) -> dict[str, Any]:
        """Return the bounds of each."""
        return self.each.facts()


@dataclass(frozen=True)
class Size(Kind):
    """Bytes, as `1.5GB`, `800MB` or a number of them."""

    type: ClassVar[str] = "size"
    metavar: ClassVar[str] = "SIZE"
    fault: ClassVar[str] = "not a size; "

    def read(self, value: Any) -> float:
        """Return the bytes."""
        upper = value.strip().upper() if isinstance(value, str) else value
        unit = next((u for u in _UNITS if isinstance(upper, str) and upper.endswith(u)), "")
        try:
            number = _number(upper.removesuffix(unit) if unit else upper)
        except ValueError as error:
            raise ValueError("write 1.5GB or 800MB") from error
        size = number * _UNITS.get(unit, 1.0)
        if not 0 < size < 1e15:
            raise ValueError("write 1.5GB or 800MB")
        return size


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | Real):
        raise ValueError("give a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("give a number") from error
    if not math.isfinite(number):
        raise ValueError("give a number")
    return number


def _parts(value: Any) -> Sequence[Any]:
    """Return the parts of `N,N,N`; a value of Python has them already."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("give numbers separated by commas or spaces")
    return parts
