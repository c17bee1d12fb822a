"""How far a batch is, and what it came to."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geodamage.damage import GRADES


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is.

    Attributes
    ----------
    stage
        `open`, `assess`, `merge` or `done`.
    done, failed, running, total
        Scenes.
    share
        Share of the work that is finished, 0-1, by the size of the images.
    km2
        Ground that was assessed, of all scenes that are done.
    eta
        Seconds that are left, as far as can be told.
    scene
        That the message is about.
    message
        A line for the user, or None; `warning` says that it is one.
    """

    stage: str
    done: int = 0
    failed: int = 0
    running: int = 0
    total: int = 0
    share: float = 0.0
    km2: float = 0.0
    eta: float | None = None
    scene: str | None = None
    message: str | None = None
    warning: bool = False


@dataclass
class BatchSummary:
    """What a batch came to.

    Attributes
    ----------
    done
        Names of the scenes that are done, also by earlier runs.
    assessed
        How many of them this run did.
    failed
        One line for each scene that failed, by name.
    elsewhere
        Names of the scenes that another process is working on.
    counts, areas
        Buildings and m² by the name of their grade.
    km2
        Ground that was assessed; what two scenes show counts twice.
    event, report
        The layer of the event and its page, where they were written.
    seconds
        Seconds of this run.
    """

    done: list[str] = field(default_factory=list)
    assessed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    km2: float = 0.0
    event: Path | None = None
    report: Path | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 if all is well, 3 if some scenes failed."""
        return 3 if self.failed else 0

    def facts(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {
            "done": len(self.done),
            "assessed": self.assessed,
            "failed": self.failed,
            "elsewhere": self.elsewhere,
            "assessed_km2": round(self.km2, 6),
            "buildings": sum(self.counts.values()),
            "buildings_per_grade": {grade.label: self.counts[grade.label] for grade in GRADES},
            "event": None if self.event is None else str(self.event),
            "report": None if self.report is None else str(self.report),
            "seconds": round(self.seconds, 2),
        }
