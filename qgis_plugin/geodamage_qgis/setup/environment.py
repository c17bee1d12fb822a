# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's own Python environment: made, repaired and removed, always beside QGIS's Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program.events import Event
from geodamage_qgis.program.executable import Executable, python_in, question, script_in
from geodamage_qgis.program.runner import Run
from geodamage_qgis.setup.makers import OLDEST_PYTHON, Maker
from geodamage_qgis.setup.reasons import reason
from geodamage_qgis.setup.wheels import Package, read_package
from geodamage_qgis.translation import tr

#: What an environment takes, bytes, by what inference runs on, with room to unpack it.
#: Measured on Linux, 2026-11-21: 0.98 GB with cpu and report. That of gpu is an estimate.
SPACE: Mapping[str, float] = {"cpu": 1.5e9, "gpu": 3e9}
#: File in an environment that says that the plugin made it, and of what.
RECORD = "geodamage-environment.json"
#: A lock that nobody has touched for so long was left by a QGIS that is gone, seconds.
STALE = 1800.0


@dataclass(frozen=True)
class Plan:
    """How an environment is to be made.

    Attributes
    ----------
    package
        What is installed.
    maker
        What makes it.
    extra
        `cpu` or `gpu`: what inference runs on.
    report
        Install what reports need, too.
    offline
        Take everything from the package's folder, and nothing from a registry.
    variables
        Environment variables of the programs, e.g. of a proxy. They are not kept.
    """

    package: Package
    maker: Maker
    extra: str = "cpu"
    report: bool = True
    offline: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


class Cancellation:
    """Ends work of several programs from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._run: Run | None = None

    def cancel(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._cancelled = True
            run = self._run
        if run is not None:
            run.cancel()

    def check(self) -> None:
        """Raise if the work was cancelled.

        Raises
        ------
        CancelledError
            If it was.
        """
        if self._cancelled:
            raise CancelledError(tr("cancelled; no environment was made"))

    def follow(self, run: Run) -> Iterator[Event]:
        """Yield what a program says, and raise if it fails or is cancelled.

        Raises
        ------
        PluginError
            If the program fails.
        CancelledError
            If the work was cancelled.
        """
        with self._lock:
            self._run = run
            if self._cancelled:
                run.cancel()
        for event in run:
            yield event
            step = step_of(event.text)
            if step is not None:
                yield Event("progress", step)
        self.check()
        outcome = run.result()
        if not outcome.succeeded:
            why = reason(outcome.log) or outcome.error or f"code {outcome.code}"
            raise PluginError(tr("the environment could not be made: {why}", why=why), outcome.log)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what an environment was made of, or None if the plugin did not make it."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def describe(folder: Path) -> str:
    """Return the state of an environment in one word: `none`, `ready`, `damaged` or `foreign`."""
    if not folder.exists():
        return "none"
    record = read_record(folder)
    if record is None:
        return "foreign"
    there = script_in(folder).is_file() and python_in(folder).is_file()
    return "ready" if record.get("complete") and there else "damaged"


def step_of(line: str) -> str | None:
    """Return what pip or uv is at, as its line says, or None."""
    found = re.match(r"(Collecting|Downloading|Building wheel for|Preparing)\b:? (\S+)", line)
    if found is None:
        return tr("Unpacking the packages") if line.startswith("Installing collected") else None
    return f"{found[1]} {found[2]}"


def create(
    folder: Path, plan: Plan, *, cancellation: Cancellation | None = None
) -> Generator[Event, None, Executable]:
    """Make the environment; whatever goes wrong, nothing is left of it.

    Parameters
    ----------
    folder
        Where it is to be.
    plan
        How.
    cancellation
        Ends it from another thread.

    Yields
    ------
    Steps as `progress`, with a fraction between them only, and what the programs say as `message`.

    Returns
    -------
    The program in it, which has answered.

    Raises
    ------
    PluginError
        If there is an environment already, another QGIS is making it, space is short, or a step
        fails.
    CancelledError
        If it was cancelled.
    """
    cancellation = cancellation or Cancellation()
    if folder.exists():
        raise PluginError(
            tr("{folder} is there already; repair or remove the environment in it", folder=folder)
        )
    check_space(folder, plan.extra)
    with _locked(folder):
        made = False
        try:
            yield Event("progress", tr("Making an environment with {maker}", maker=plan.maker), 0.0)
            _write_record(folder, plan, complete=False)
            package = _keep(folder, plan.package, plan.offline)
            kept = replace(plan, package=package)
            yield from cancellation.follow(_run(_venv_command(folder, plan.maker), folder, plan))
            yield Event("progress", tr("Installing geodamage and what it needs"), 0.1)
            yield from cancellation.follow(_run(_install_command(folder, kept), folder, plan))
            yield Event("progress", tr("Asking the program for its version"), 0.95)
            executable = question(script_in(folder), origin="environment")
            cancellation.check()
            _write_record(folder, kept, complete=True)
            _discard(folder / "tmp")
            made = True
        finally:
            if not made:
                _discard(folder)
                if plan.package.path is None or _wheels_of(folder) not in plan.package.path.parents:
                    _discard(_wheels_of(folder))
        yield Event("done", str(executable), 1.0, {"path": str(executable.path)})
        return executable


def repair(
    folder: Path,
    maker: Maker,
    *,
    variables: Mapping[str, str] | None = None,
    cancellation: Cancellation | None = None,
) -> Generator[Event, None, Executable]:
    """Make the environment again of what it was made of.

    Parameters
    ----------
    folder
        Of the environment.
    maker
        What makes it now.
    variables, cancellation
        As for `create`.

    Raises
    ------
    PluginError
        As `create`; also if the wheel is gone or is another one now. The old environment is then
        still there.
    """
    record = read_record(folder)
    if record is None:
        raise PluginError(
            tr(
                "{folder}: no record of what this was made of; remove it and make it anew",
                folder=folder,
            )
        )
    plan = _planned(record, maker, variables or {})
    yield Event("message", tr("Removing the damaged environment {folder}", folder=folder))
    remove(folder, keep_wheel=True)
    return (yield from create(folder, plan, cancellation=cancellation))


def _planned(record: Mapping[str, Any], maker: Maker, variables: Mapping[str, str]) -> Plan:
    path = record.get("path")
    package = Package(None, "", "")
    if path:
        package = read_package(path)
        if package.sha256 != record.get("sha256"):
            raise PluginError(
                tr(
                    "{path} is not what the environment was made of (sha256 {sha256}, was "
                    "{former}); remove the environment and make it anew",
                    path=path,
                    sha256=package.sha256[:12],
                    former=str(record.get("sha256"))[:12],
                )
            )
    return Plan(
        package,
        maker,
        extra=str(record.get("extra", "cpu")),
        report=bool(record.get("report", True)),
        offline=bool(record.get("offline", False)),
        variables=variables,
    )


def remove(folder: Path, *, keep_wheel: bool = False) -> None:
    """Remove the environment, and nothing that the plugin did not make.

    Parameters
    ----------
    folder
        Of the environment.
    keep_wheel
        Leave the copy of the wheel that lies beside it, for a repair.

    Raises
    ------
    PluginError
        If the plugin did not make the folder, or something in it is in use.
    """
    if not folder.exists():
        return
    if folder.is_symlink() or read_record(folder) is None:
        raise PluginError(
            tr("{folder} was not made by the plugin and is left as it is", folder=folder)
        )
    # Of an environment in use, Windows would leave half; what can be renamed is in use by nobody.
    doomed = folder.with_name(f"{folder.name}.removed-{os.getpid()}")
    try:
        folder.rename(doomed)
    except OSError as error:
        raise PluginError(
            tr(
                "{folder} cannot be removed: {why}; wait for running assessments to end",
                folder=folder,
                why=error.strerror,
            )
        ) from error
    _discard(doomed)
    if not keep_wheel:
        _discard(_wheels_of(folder))


def check_space(folder: Path, extra: str) -> None:
    """Refuse a disk that is too full for an environment.

    Raises
    ------
    PluginError
        If it is, or the folder cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
    except OSError as error:
        raise PluginError(
            tr("{folder} cannot be used: {why}", folder=folder.parent, why=error.strerror)
        ) from error
    if free < SPACE[extra]:
        raise PluginError(
            tr(
                "{folder} has {free:.1f} GB free, and the environment needs {needed:.1f} GB; free "
                "some space",
                folder=folder.parent,
                free=free / 1e9,
                needed=SPACE[extra] / 1e9,
            )
        )


def _write_record(folder: Path, plan: Plan, *, complete: bool) -> None:
    record = {
        "complete": complete,
        "path": None if plan.package.path is None else str(plan.package.path),
        "version": plan.package.version,
        "sha256": plan.package.sha256,
        "extra": plan.extra,
        "report": plan.report,
        "offline": plan.offline,
        "maker": {name: str(value) for name, value in asdict(plan.maker).items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    except OSError as error:
        raise PluginError(
            tr("{folder} cannot be written to: {why}", folder=folder, why=error.strerror)
        ) from error


def _keep(folder: Path, package: Package, offline: bool) -> Package:
    """Copy the wheel beside the environment, so that it can be repaired when the user's is gone."""
    if package.path is None or package.path.is_dir() or offline:
        return package
    target = _wheels_of(folder) / package.path.name
    if target != package.path:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package.path, target)
        except OSError as error:
            raise PluginError(
                tr("{target} cannot be written: {why}", target=target, why=error.strerror)
            ) from error
    return replace(package, path=target)


def _wheels_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-wheel")


def _venv_command(folder: Path, maker: Maker) -> list[str]:
    if maker.kind == "uv":
        # Beside the record that is there already.
        return [
            str(maker.path), "venv", "--allow-existing", "--python",
            f">={OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}", str(folder),
        ]  # fmt: skip
    return [str(maker.path), "-I", "-m", "venv", str(folder)]


def _install_command(folder: Path, plan: Plan) -> list[str]:
    python = str(python_in(folder))
    if plan.maker.kind == "uv":
        command = [str(plan.maker.path), "pip", "install", "--python", python]
    else:
        command = [
            python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
            "--progress-bar", "off", "--no-warn-script-location",
        ]  # fmt: skip
    if plan.offline:
        if plan.package.path is None:
            raise PluginError(tr("without a network, choose the folder of the wheels"))
        command += ["--no-index", "--find-links", str(plan.package.path.parent)]
    return [*command, requirement(plan)]


def requirement(plan: Plan) -> str:
    """Return what pip or uv is asked to install; of a wheel, with its hash, which they check."""
    extras = plan.extra + (",report" if plan.report else "")
    package = plan.package
    if package.path is None:
        return f"geodamage[{extras}]"
    address = package.path.as_uri()
    if package.path.is_file():
        address += f"#sha256={package.sha256}"
    return f"geodamage[{extras}] @ {address}"


def _run(command: Sequence[str], folder: Path, plan: Plan) -> Run:
    # What they leave behind when they are ended lies in the environment, and goes with it.
    temporary = {name: str(folder / "tmp") for name in ("TMPDIR", "TEMP", "TMP")}
    return Run(command, environment_variables={**temporary, **plan.variables}, echo=True, grace=5.0)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep another QGIS from making the same environment."""
    lock = folder.with_name(f"{folder.name}.lock")
    with contextlib.suppress(OSError):
        if time.time() - lock.stat().st_mtime > STALE:
            lock.unlink()
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        raise PluginError(
            tr(
                "another QGIS is making this environment; wait for it, or delete {lock} if none is",
                lock=lock,
            )
        ) from error
    except OSError as error:
        raise PluginError(
            tr("{lock} cannot be written: {why}", lock=lock, why=error.strerror)
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def _discard(folder: Path) -> None:
    """Remove a folder of ours; what is still open on Windows is tried for a while."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.3)
