# SPDX-License-Identifier: GPL-2.0-or-later
"""The sidecar of a result, `<output>.json`: read, and told as rows and as a page of HTML."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geodamage_qgis.errors import PluginError
from geodamage_qgis.scale import COLOUR_NOT_ASSESSED, COLOURS, TITLES
from geodamage_qgis.translation import tr

STATUSES = ("assessed", "partial", "not_assessed")

NOT_ASSESSED = "not assessed"

NO_SIDECAR = "{path} is not a sidecar of geodamage; run the assessment again"

#: Files of one date that a page names before it says how many more there are.
FILES_NAMED = 3


@dataclass(frozen=True)
class Facts:
    """What the sidecar of a result says.

    Attributes
    ----------
    output
        The result.
    content
        The sidecar as it was read.
    """

    output: Path
    content: Mapping[str, Any] = field(repr=False)

    @property
    def statement(self) -> str:
        """The sentence that belongs to every result."""
        return str(self.content.get("statement") or "")

    @property
    def has_grades(self) -> bool:
        """Whether its buildings were graded, not only found."""
        return self.content.get("result") != "footprints"

    @property
    def grades(self) -> dict[str, int]:
        """Buildings of each grade."""
        return _counts(self.content.get("buildings_per_grade"), COLOURS)

    @property
    def areas(self) -> dict[str, float]:
        """Square metres of the buildings of each grade."""
        areas = self.content.get("area_m2_per_grade")
        areas = areas if isinstance(areas, Mapping) else {}
        return {grade: float(areas.get(grade) or 0.0) for grade in COLOURS}

    @property
    def statuses(self) -> dict[str, int]:
        """Buildings of each status."""
        return _counts(self.content.get("buildings_per_status"), STATUSES)

    @property
    def warnings(self) -> list[str]:
        """What the tool warned of."""
        return [str(warning) for warning in self.content.get("warnings") or ()]

    @property
    def crs(self) -> str | None:
        """The metric CRS that the scene was worked in, where the sidecar names one."""
        crs = _inside(self.content, "scene", "crs")
        return str(crs) if crs else None

    def images(self, date: str) -> list[str]:
        """Return the files of a date, in the order that they were read.

        The date is `pre` or `post`, or `image` where there is only one.
        """
        files = _inside(self.content, "scene", date, "files") or ()
        return [str(file["path"]) for file in files if isinstance(file, Mapping) and "path" in file]


def sidecar_path(output: str | os.PathLike[str]) -> Path:
    """Return the path of the sidecar of a result."""
    return Path(f"{os.fspath(output)}.json")


def read_facts(output: str | os.PathLike[str]) -> Facts:
    """Read the sidecar of a result.

    Raises
    ------
    PluginError
        If there is no sidecar, or it is not one.
    """
    path = sidecar_path(output)
    if path.exists() and not path.is_file():  # a pipe would let QGIS wait for ever
        raise PluginError(tr(NO_SIDECAR, path=path))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PluginError(
            tr(
                "{output} has no sidecar {name}: it is not a finished result; run it again",
                output=output,
                name=path.name,
            )
        ) from error
    except OSError as error:
        raise PluginError(
            tr("cannot read {path}: {why}", path=path, why=error.strerror or error)
        ) from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8, or nested without end
        raise PluginError(tr(NO_SIDECAR, path=path)) from error
    if not isinstance(content, dict):
        raise PluginError(tr(NO_SIDECAR, path=path))
    return Facts(Path(output), content)


def fact_rows(facts: Facts) -> list[tuple[str, str]]:
    """Return what a person asks of a result, as pairs of a title and a text."""
    content = facts.content
    model = content.get("model")
    model = model if isinstance(model, Mapping) else {}
    software = content.get("software")
    version = software.get("geodamage") if isinstance(software, Mapping) else content.get("version")
    rows = [
        ("Result", str(facts.output)),
        ("Made", _moment(content.get("created"))),
        ("Software", f"geodamage {version}" if version else ""),
        ("Model", _words(model.get("name"), model.get("version"))),
        ("Model licence", _words(model.get("licence"))),
        ("Model SHA-256", _words(model.get("sha256"))),
        ("Ran on", _words(model.get("provider"))),
        ("Image", _files(facts.images("image"))),
        ("Before", _files(facts.images("pre"))),
        ("After", _files(facts.images("post"))),
        ("CRS", facts.crs or ""),
        ("Ground sample distance", _number(_inside(content, "scene", "gsd"), "{:.2f} m")),
        ("Footprints", _footprints(content)),
        ("Assessed area", _number(content.get("assessed_km2"), "{:,.3f} km²")),
        ("Buildings", _number(content.get("buildings"), "{:,}")),
        ("Area of the buildings", _number(content.get("area_m2"), "{:,.0f} m²")),
        ("Time taken", _number(content.get("seconds"), "{:,.1f} s")),
    ]
    return [(title, text) for title, text in rows if text]


def summary_html(facts: Facts, files: Mapping[str, str] | None = None) -> str:
    """Return a page about a result: counts for each grade and status, warnings, facts.

    It keeps to the HTML that Qt draws by itself, so that the results viewer, a metadata page and
    a browser show the same.

    Parameters
    ----------
    facts
        Of the result.
    files
        Paths of what was written beside it, by title; they become links.
    """
    parts = [
        f"<h2>{_escape(facts.output.name)}</h2>",
        f"<p><b>{_escape(facts.statement)}</b></p>" if facts.statement else "",
        _grade_table(facts) if facts.has_grades else "",
        _status_line(facts),
        _warning_list(facts.warnings),
        _file_list(files or {}),
        _fact_table(fact_rows(facts)),
    ]
    return "\n".join(part for part in parts if part)


def _grade_table(facts: Facts) -> str:
    graded = sum(facts.grades.values())
    rows = [
        _grade_row(
            COLOURS[grade], tr(TITLES[grade]), count, _share(count, graded), facts.areas[grade]
        )
        for grade, count in facts.grades.items()
    ]
    missing = facts.statuses["not_assessed"]
    if missing:
        rows.append(_grade_row(COLOUR_NOT_ASSESSED, tr(NOT_ASSESSED), missing, "", None))
    head = f'<tr><th></th><th align="left">{tr("Grade")}</th>' + "".join(
        f'<th align="right">{title}</th>'
        for title in (tr("Buildings"), tr("Share"), tr("Area, m²"))
    )
    return f'<table cellpadding="4" cellspacing="0">{head}</tr>{"".join(rows)}</table>'


def _grade_row(colour: str, title: str, count: int, share: str, area: float | None) -> str:
    return (
        f'<tr><td bgcolor="{colour}">&nbsp;&nbsp;&nbsp;</td><td>{_escape(title)}</td>'
        f'<td align="right">{count:,}</td><td align="right">{share}</td>'
        f'<td align="right">{"" if area is None else f"{area:,.0f}"}</td></tr>'
    )


def _status_line(facts: Facts) -> str:
    partial = facts.statuses["partial"]
    if not partial:
        return ""
    seen = tr(
        "{count} of the buildings were seen in part only (status <i>partial</i>).",
        count=f"{partial:,}",
    )
    return f"<p>{seen}</p>"


def _warning_list(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>{_escape(warning)}</li>" for warning in warnings)
    return f"<h3>{tr('Warnings')}</h3><ul>{items}</ul>" if items else ""


def _file_list(files: Mapping[str, str]) -> str:
    items = "".join(
        f'<li>{_escape(title)}: <a href="{_escape(Path(path).absolute().as_uri())}">'
        f"{_escape(Path(path).name)}</a></li>"
        for title, path in files.items()
    )
    return f"<h3>{tr('Written beside it')}</h3><ul>{items}</ul>" if items else ""


def _fact_table(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><td><b>{_escape(tr(title))}</b></td><td>{_escape(text)}</td></tr>"
        for title, text in rows
    )
    return f'<table cellpadding="3" cellspacing="0">{lines}</table>'


def _counts(found: Any, names: Iterable[str]) -> dict[str, int]:
    found = found if isinstance(found, Mapping) else {}
    return {name: int(found.get(name) or 0) for name in names}


def _inside(content: Any, *keys: str) -> Any:
    """Return what lies under keys of nested objects; None where one of them is missing."""
    for key in keys:
        if not isinstance(content, Mapping):
            return None
        content = content.get(key)
    return content


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""


def _moment(text: Any) -> str:
    """Return an ISO 8601 moment for people: without the T, UTC named."""
    return str(text or "").replace("T", " ").replace("+00:00", " UTC")


def _words(*parts: Any) -> str:
    return " ".join(str(part) for part in parts if part)


def _number(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, (int, float)) else ""


def _files(paths: list[str]) -> str:
    named = ", ".join(paths[:FILES_NAMED])
    more = len(paths) - FILES_NAMED
    return tr("{names} and {count} more", names=named, count=more) if more > 0 else named


def _footprints(content: Mapping[str, Any]) -> str:
    """Return where the polygons are from; those of a model are no survey, and are said to be so."""
    footprints = content.get("footprints")
    if isinstance(footprints, Mapping):
        return str(footprints.get("path") or footprints.get("file") or "")
    if footprints is not None:
        return str(footprints)
    found = "footprints" in content or content.get("result") == "footprints"
    return tr("none given: the buildings are candidates that the model found") if found else ""


def _escape(text: str) -> str:
    return html.escape(text)
