# SPDX-License-Identifier: GPL-2.0-or-later
"""What somebody needs to know who helps: what was found, what runs, and on what machine."""

from __future__ import annotations

import html
import locale
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.executable import ORIGINS, Executable, find_executable, inspect, on_path
from geodamage_qgis.program.proxy import without_logins
from geodamage_qgis.setup.environment import describe, read_record
from geodamage_qgis.setup.makers import find_gpu, find_maker
from geodamage_qgis.translation import tr

#: What the state of the plugin's own environment means.
_STATES: Mapping[str, str] = {
    "none": "not made",
    "ready": "made",
    "damaged": "damaged; repair it in GeoDamage > Set up",
    "foreign": "the folder is there, and the plugin did not make it",
}


@dataclass(frozen=True)
class Fact:
    """One line of the report.

    Attributes
    ----------
    name, value
        What, and what was found.
    good
        Whether the plugin can work with it; None where that is no question.
    """

    name: str
    value: str
    good: bool | None = None


@dataclass(frozen=True)
class Section:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    verdict
        One line: whether the plugin can work, and if not, what to do.
    ready
        Whether it can.
    sections
        All facts.
    """

    verdict: str
    ready: bool
    sections: tuple[Section, ...]


def collect(
    setting: str | None,
    environment: Path,
    *,
    desktop: Sequence[tuple[str, str]] = (),
    variables: Mapping[str, str] | None = None,
    maker: str | None = None,
) -> Report:
    """Look at everything that the plugin needs; takes some seconds, and changes nothing.

    Parameters
    ----------
    setting
        Path of the program that the user named, or None.
    environment
        Folder of the plugin's own environment.
    desktop
        What only QGIS knows of itself, by name.
    variables
        Environment variables of the network, e.g. of a proxy.
    maker
        Path of the Python or uv that the user named, or None.
    """
    program, verdict, ready = _program(setting, environment)
    sections = (
        Section(tr("The program"), program),
        Section(tr("The plugin's own environment"), _environment(environment, maker)),
        Section("QGIS", tuple(Fact(*pair) for pair in desktop)),
        Section(tr("The machine"), _machine(environment)),
        Section(tr("The network"), _network(variables or {})),
    )
    shown = tuple(_private(section) for section in sections if section.facts)
    return Report(_discreet(verdict), ready, shown)


def _program(setting: str | None, environment: Path) -> tuple[tuple[Fact, ...], str, bool]:
    named = Fact(tr("named in the settings"), setting or tr("no"))
    paths = [str(path) for path in on_path()]
    others = Fact(tr("on the search path"), ", ".join(paths) or tr("no"))
    try:
        executable = find_executable(setting, environment)
    except PluginError as error:
        return (Fact("geodamage", str(error), False), named, others), str(error), False
    facts, verdict, ready = _installation(executable)
    return (*facts, named, others), verdict, ready


def _installation(executable: Executable) -> tuple[list[Fact], str, bool]:
    """Return facts of a program that answers, a verdict, and whether it can assess."""
    facts = [
        Fact("geodamage", executable.version, True),
        Fact(tr("path"), str(executable.path)),
        Fact(tr("found"), tr(ORIGINS[executable.origin])),
    ]
    try:
        found = inspect(executable.path)
    except PluginError as error:
        facts.append(Fact(tr("inference"), tr("not known: {why}", why=error)))
        verdict = tr("geodamage {version} is ready; {why}", version=executable.version, why=error)
        return facts, verdict, True
    runs = found.provider is not None
    text = found.provider or tr("does not start: {why}", why=found.error)
    packages = ", ".join(f"{name} {version}" for name, version in found.packages.items())
    facts += [
        Fact(tr("inference runs on"), text, runs),
        Fact(tr("its Python"), f"{found.python}, {found.interpreter}"),
        Fact(tr("its packages"), packages),
    ]
    verdict = (
        tr("geodamage {version} is ready: {engine}", version=executable.version, engine=text)
        if runs
        else tr(
            "geodamage {version} is there, but inference {fault}; repair it in GeoDamage > Set up",
            version=executable.version,
            fault=text,
        )
    )
    return facts, verdict, runs


def _environment(folder: Path, maker: str | None) -> tuple[Fact, ...]:
    state = describe(folder)
    record = read_record(folder) or {}
    facts = [
        Fact(tr("state"), tr(_STATES[state]), None if state == "none" else state == "ready"),
        Fact(tr("folder"), str(folder)),
    ]
    if record:
        source = record.get("path") or tr("a registry, by name")
        facts += [
            Fact(tr("made of"), f"geodamage {record.get('version')}, {source}"),
            Fact("sha256", str(record.get("sha256") or tr("none"))),
            Fact(tr("extra"), str(record.get("extra"))),
        ]
    try:
        facts.append(Fact(tr("can be made by"), str(find_maker(maker)), True))
    except PluginError as error:
        facts.append(Fact(tr("can be made by"), str(error)))
    return tuple(facts)


def _machine(environment: Path) -> tuple[Fact, ...]:
    facts = [
        Fact(tr("system"), f"{platform.platform()}, {platform.machine()}"),
        Fact(tr("processors"), str(os.cpu_count() or tr("not known"))),
        Fact(tr("memory"), _memory()),
        Fact(tr("NVIDIA GPU"), find_gpu() or tr("none found (nvidia-smi)")),
        Fact(tr("free space"), _free(environment)),
        Fact(
            tr("encoding"), f"{sys.getfilesystemencoding()}, {locale.getpreferredencoding(False)}"
        ),
    ]
    return tuple(facts)


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return tr("not known")
    return f"{size / 1e9:.1f} GB"


def _free(folder: Path) -> str:
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is None:
        return tr("not known")
    try:
        free = shutil.disk_usage(there).free / 1e9
        return tr("{size} GB in {folder}", size=f"{free:.1f}", folder=there)
    except OSError as error:
        return tr("not known: {why}", why=error.strerror)


def _network(variables: Mapping[str, str]) -> tuple[Fact, ...]:
    proxy = variables.get("HTTPS_PROXY")
    facts = [Fact(tr("proxy of QGIS"), proxy or tr("none, or the system's"))]
    if "NO_PROXY" in variables:
        facts.append(Fact(tr("not through it"), variables["NO_PROXY"]))
    return tuple(facts)


def _private(section: Section) -> Section:
    facts = (replace(fact, value=_discreet(fact.value)) for fact in section.facts)
    return replace(section, facts=tuple(facts))


def _discreet(text: str) -> str:
    """Return a text without passwords and without the user's name in their home folder."""
    home = str(Path.home())
    text = without_logins(text)
    # The root folder is nobody's name.
    return text.replace(home, "~") if len(home) > 1 else text


def to_text(report: Report) -> str:
    """Return a report as text, to be sent to somebody."""
    lines = [report.verdict, ""]
    for section in report.sections:
        lines += [section.title, "-" * len(section.title)]
        lines += [f"{fact.name}: {fact.value}" for fact in section.facts] + [""]
    return "\n".join(lines)


def to_html(report: Report) -> str:
    """Return the sections of a report as a page; marks are signs, not colours alone."""
    return "".join(_section_html(section) for section in report.sections)


def _section_html(section: Section) -> str:
    rows = "".join(
        f"<tr><td width='20'>{_MARKS[fact.good]}</td>"
        f"<td width='170'>{html.escape(fact.name)}</td>"
        f"<td>{html.escape(fact.value)}</td></tr>"
        for fact in section.facts
    )
    return f"<h4>{html.escape(section.title)}</h4><table cellpadding='3'>{rows}</table>"


_MARKS: Mapping[bool | None, str] = {
    True: "<b style='color:#2e7d32'>&#10003;</b>",
    False: "<b style='color:#c62828'>&#10007;</b>",
    None: "",
}
