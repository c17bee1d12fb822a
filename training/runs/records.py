"""Records: the tables and the status that a run writes into its folder."""

import csv
import dataclasses
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from geodamage.errors import GeodamageError


class RecordError(GeodamageError):
    """A record of a run cannot be used."""


def replace_text(path: Path, text: str) -> None:
    """Write a file beside the one that is there, then in its place."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)


def read_rows(path: Path, *, until: int) -> list[dict[str, str]]:
    """Return the rows of a table whose `step` is at most `until`; none where there is no file.

    A last row that was cut off when the run was killed is left out.

    Raises
    ------
    RecordError
        If it is no table of steps.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()
        rows = list(csv.DictReader(whole, restkey="", restval=""))
        if "" in {key for row in rows for key in row}:
            raise ValueError("a row is longer than the first")
        return [row for row in rows if int(row["step"]) <= until]
    except (KeyError, ValueError, csv.Error) as error:
        raise RecordError(f"{path}: not a table of steps ({error!r}); move it away") from error


class StepTable:
    """One row for every step, in `steps.csv`; what was written is safe from a kill of the process.

    Parameters
    ----------
    path
        Table; rows beyond `resumed_at` are removed, as they will come again.
    resumed_at
        Steps done before.

    Attributes
    ----------
    steps, losses
        The columns, from the first step of the run on.
    """

    COLUMNS = ("step", "lr", "loss")

    def __init__(self, path: Path, *, resumed_at: int) -> None:
        rows = read_rows(path, until=resumed_at)
        try:
            self.steps = array("q", (int(row["step"]) for row in rows))
            self.losses = array("d", (float(row["loss"]) for row in rows))
            lines = [",".join(row[column] for column in self.COLUMNS) for row in rows]
        except (KeyError, ValueError) as error:
            raise RecordError(f"{path}: not a table of losses ({error!r}); move it away") from error
        replace_text(path, "\n".join([",".join(self.COLUMNS), *lines, ""]))
        # Line by line: the system has a row before a checkpoint can be written after it.
        self._file = path.open("a", buffering=1, encoding="utf-8", newline="")

    def add(self, step: int, loss: float, lr: float) -> None:
        """Append a row; the shortest digits that give the very same numbers again."""
        self.steps.append(step)
        self.losses.append(loss)
        self._file.write(f"{step},{float(lr)!r},{float(loss)!r}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ValidationLog:
    """One row for every validation, in `log.csv`.

    The last column, `better`, is 1 where the best checkpoint was replaced.

    Parameters
    ----------
    path
        Table; rows beyond `resumed_at` are removed.
    resumed_at
        Steps done before.

    Attributes
    ----------
    rows
        Values as they are in the file, by their columns.
    """

    def __init__(self, path: Path, *, resumed_at: int) -> None:
        self._path = path
        self.rows = read_rows(path, until=resumed_at)
        self._write()

    def add(self, step: int, values: Mapping[str, float], *, better: bool) -> None:
        """Add a row; a run that goes on with other columns leaves the missing ones empty."""
        texts = {name: repr(float(value)) for name, value in values.items()}
        self.rows.append({"step": str(step), **texts, "better": str(int(better))})
        self._write()

    def best(self, metric: str) -> tuple[int, float] | None:
        """Return step and value of the best checkpoint so far."""
        found = [row for row in self.rows if row.get("better") == "1" and row.get(metric)]
        return (int(found[-1]["step"]), float(found[-1][metric])) if found else None

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """Return steps and values of every column of figures."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row in self.rows:
            for name, text in row.items():
                if name not in ("step", "better") and text:
                    found.setdefault(name, []).append((int(row["step"]), float(text)))
        return found

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        columns = [name for name in columns if name != "better"] + ["better"]
        if not self.rows:
            columns = ["step", "better"]
        lines = [",".join(row.get(name, "") for name in columns) for row in self.rows]
        replace_text(self._path, "\n".join([",".join(columns), *lines, ""]))


@dataclass
class Status:
    """How a run stands, in `status.json`."""

    name: str
    status: str = "running"
    """`running`, `finished`, `interrupted` or `failed`."""
    started: str = ""
    """UTC, ISO 8601; of the first start."""
    ended: str = ""
    seconds: float = 0.0
    """Spent training and validating, over all starts; what a kill cut off since the last validation
    is not in it."""
    steps: int = 0
    total: int = 0
    metric: str = ""
    best: float | None = None
    best_step: int | None = None
    commit: str = ""
    error: str = ""
    """Why it failed, in one line."""

    def write(self, path: Path) -> None:
        """Write or replace the file."""
        replace_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Status":
        """Read the file.

        Raises
        ------
        RecordError
            If it is missing or is no status; keys that we do not know are left alone.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            hints = get_type_hints(cls)
            known = {key: value for key, value in content.items() if key in hints}
            odd = [key for key, value in known.items() if not isinstance(value, hints[key])]
            if odd:
                raise TypeError(f"{odd[0]} = {known[odd[0]]!r}")
            return cls(**known)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RecordError(f"{path}: not the status of a run ({error})") from error
