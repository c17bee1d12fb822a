# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program says, as events: progress, messages, warnings, its error and its result."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geodamage_qgis.translation import tr

#: Share of the bar that is full when every window of the images is graded; the rest is writing.
PREDICTED = 0.97

#: How the tool says warnings and errors where it does not speak JSON.
_SAID = re.compile(r"geodamage: (?P<level>error|warning): (?P<text>.*)")
#: How far `score` and `masks` are.
_COUNTED = re.compile(r"(?P<done>[\d,]+) of (?P<total>[\d,]+) (?:images|masks)\b.*")

_STAGES = {
    "open": "Opening the images",
    "predict": "Analysing the images",
    "assess": "Assessing",
    "write": "Writing",
    "merge": "Merging the scenes",
    "done": "Finished",
}


@dataclass(frozen=True)
class Event:
    """One thing that a running program said.

    Attributes
    ----------
    kind
        `progress`, `message`, `warning`, `error`, or `done` with the result of the program.
    text
        One line for people.
    fraction
        Of the work that is done, 0 to 1; None where the line does not say.
    data
        The JSON object as the program wrote it; empty for plain lines.
    """

    kind: str
    text: str = ""
    fraction: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class Parser:
    """Turns the lines of a program into events; what it says of progress never goes back."""

    def __init__(self) -> None:
        self._fraction = 0.0

    def parse(self, line: str) -> Event | None:
        """Return what a line says, or None for an empty one."""
        line = line.strip()
        if not line:
            return None
        values = _json_object(line)
        return self._plain(line) if values is None else self._stage(values)

    def _stage(self, values: dict[str, Any]) -> Event:
        stage, message = str(values["stage"]), values.get("message")
        if stage == "error":
            return Event("error", str(message), data=values)
        if stage == "result":
            return Event("done", _describe_result(values), self._advance(1.0), values)
        if message is not None:
            scene = values.get("scene")
            text = str(message) if scene is None else f"{scene}: {message}"
            kind = "warning" if values.get("level") == "warning" else "message"
            return Event(kind, text, data=values)
        fraction = self._advance(_fraction(values))
        return Event("progress", _describe_progress(values), fraction, values)

    def _plain(self, line: str) -> Event:
        said = _SAID.fullmatch(line)
        if said is not None:
            return Event(said["level"], said["text"])
        counted = _COUNTED.fullmatch(line)
        if counted is not None:
            done, total = (int(counted[name].replace(",", "")) for name in ("done", "total"))
            return Event("progress", line, self._advance(done / max(total, 1)))
        return Event("message", line)

    def _advance(self, fraction: float) -> float:
        self._fraction = max(self._fraction, min(fraction, 1.0))
        return self._fraction


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and "stage" in values else None


def _fraction(values: Mapping[str, Any]) -> float:
    """Return the share of the work that a line of `--progress json` says is done."""
    if values["stage"] == "done":
        return 1.0
    if "share" in values:  # of a batch, by the size of its images
        return PREDICTED * float(values["share"])
    total = float(values.get("total") or 0)
    if values["stage"] == "write":
        return PREDICTED
    return PREDICTED * float(values.get("done") or 0) / total if total else 0.0


def _describe_progress(values: Mapping[str, Any]) -> str:
    stage = tr(_STAGES.get(str(values["stage"]), str(values["stage"])))
    if values.get("buildings"):
        return tr("{stage}: {count:,} buildings", stage=stage, count=values["buildings"])
    if "share" in values and values.get("total"):
        done, total, failed = (values.get(name) or 0 for name in ("done", "total", "failed"))
        text = tr("{stage}: {done:,} of {total:,} scenes", stage=stage, done=done, total=total)
        return text if not failed else tr("{text}, {count:,} failed", text=text, count=failed)
    return stage


def _describe_result(values: Mapping[str, Any]) -> str:
    buildings = values.get("buildings")
    output = values.get("output") or tr("the result")
    if not isinstance(buildings, int):
        return str(output)
    return tr("{count:,} buildings in {output}", count=buildings, output=output)
