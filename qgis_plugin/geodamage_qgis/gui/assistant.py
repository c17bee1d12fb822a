# SPDX-License-Identifier: GPL-2.0-or-later
"""The first-run assistant: finds the geodamage program, or makes an environment for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsMessageLog
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QVBoxLayout, QWidget

from geodamage_qgis import settings
from geodamage_qgis.errors import CancelledError, MissingError, PluginError
from geodamage_qgis.gui.background import Workers
from geodamage_qgis.gui.setup_form import CHOOSE, SetupForm
from geodamage_qgis.gui.signs import BAD, GOOD, MISSING, WAITING, Sign
from geodamage_qgis.program.events import Event
from geodamage_qgis.program.executable import Executable, find_executable
from geodamage_qgis.program.proxy import without_logins
from geodamage_qgis.setup.environment import (
    SPACE,
    Cancellation,
    Plan,
    create,
    describe,
    remove,
    repair,
)
from geodamage_qgis.setup.makers import Maker, find_gpu, find_maker
from geodamage_qgis.setup.wheels import Package, package_by_name, read_package
from geodamage_qgis.translation import tr

LOG = "GeoDamage"


class Assistant(QDialog):
    """Finds, makes, repairs and removes what the plugin runs.

    Signals: `changed`, when another program is used from now on.

    Parameters
    ----------
    parent
        Window that it belongs to.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Set up GeoDamage"))
        self.resize(720, 480)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.executable: Executable | None = None
        self.package: Package | None = None
        self.maker: Maker | None = None
        self._folder = settings.environment_folder()
        self._workers = Workers()
        self._build()
        self._connect()
        self._fill()
        self.look()

    # What the user does.

    def look(self) -> None:
        """Look for the program, for what can make an environment, and for a GPU."""
        self._say(WAITING, tr("Looking for geodamage …"))
        job = partial(_look, settings.executable(), self._folder, settings.maker())
        self._begin(job, self._found)

    def choose(self, path: str) -> None:
        """Read the wheel or folder that is to be installed, and show its hash."""
        self.form.source.setText(path)
        self.package = None
        self.form.hash.setText(tr("Reading …") if path else tr(CHOOSE))
        self._update()
        if path:
            shown = partial(self._show_package, path)
            self._begin(partial(read_package, path), shown, shown)

    def make(self) -> None:
        """Make the environment."""
        try:
            plan = self._plan()
        except PluginError as error:
            self._say(BAD, str(error))
            return
        cancellation = Cancellation()
        job = partial(create, self._folder, plan, cancellation=cancellation)
        self._work(job, cancellation)

    def repair(self) -> None:
        """Make the environment again of what it was made of."""
        if self.maker is None:
            return
        cancellation = Cancellation()
        variables = settings.network_variables()
        job = partial(
            repair, self._folder, self.maker, variables=variables, cancellation=cancellation
        )
        self._work(job, cancellation)

    def remove(self) -> None:
        """Remove the environment."""
        self._say(WAITING, tr("Removing the environment …"))
        self._begin(partial(remove, self._folder), self._removed)

    def cancel(self) -> None:
        """End the work that runs; nothing is left of it."""
        self.form.step.setText(tr("Cancelling …"))
        self._workers.cancel()

    def use(self) -> None:
        """Use the program that is named; none goes back to looking for it."""
        path = self.form.program.text().strip()
        if not path:
            settings.set_executable(None)
            self.changed.emit()
            self.look()
            return
        self._say(WAITING, tr("Asking {path} …").format(path=path))
        self._begin(partial(find_executable, path, self._folder), self._named)

    def done(self, result: int) -> None:
        """Close the window; work that runs is cancelled."""
        self._workers.forget()
        super().done(result)

    # What comes of it.

    def _found(self, found: tuple[Any, Any, Any]) -> None:
        executable, maker, gpu = found
        self.maker = maker if isinstance(maker, Maker) else None
        self.form.maker_label.setText(str(maker))
        self._offer(gpu)
        self._settle(executable)

    def _settle(self, executable: Executable | PluginError) -> None:
        self.executable = executable if isinstance(executable, Executable) else None
        if self.executable is not None:
            self._say(GOOD, tr("Ready: {program}").format(program=executable))
        else:
            missing = isinstance(executable, MissingError)
            text = tr("There is no geodamage on this computer yet, as far as the plugin can see.")
            self._say(MISSING if missing else BAD, text if missing else _capital(str(executable)))
        self._update()

    def _offer(self, gpu: str | None) -> None:
        self.form.gpu.setEnabled(gpu is not None)
        self.form.gpu_label.setText(gpu or tr("No NVIDIA GPU was found (nvidia-smi)."))
        if gpu is not None and not self.form.gpu.isChecked():
            self.form.gpu.setChecked(True)

    def _show_package(self, path: str, package: Package | PluginError) -> None:
        if path != self.form.source.text():
            return  # another one has been chosen meanwhile
        if isinstance(package, PluginError):
            self.form.hash.setText(_capital(str(package)))
            self._update()
            return
        self.package = package
        settings.set_package(path)
        self.form.hash.setText(f"geodamage {package.version}, sha256\n{package.sha256}")
        self._grow(620)
        self._update()

    def _made(self, executable: Executable) -> None:
        # It was made to be used.
        settings.set_executable(None)
        self.form.program.clear()
        self._end_work(tr("Done."))
        self._settle(executable)
        self.changed.emit()

    def _removed(self, _: None) -> None:
        self.changed.emit()
        self.look()

    def _named(self, executable: Executable) -> None:
        settings.set_executable(str(executable.path))
        self._settle(executable)
        self.changed.emit()

    def _stopped(self, error: PluginError) -> None:
        self._end_work(tr("Cancelled.") if isinstance(error, CancelledError) else tr("Failed."))
        self._fail(error)

    def _fail(self, error: PluginError) -> None:
        if error.details:
            QgsMessageLog.logMessage(
                f"{error}\n{without_logins(error.details)}", LOG, Qgis.MessageLevel.Warning
            )
        self._say(MISSING if isinstance(error, CancelledError) else BAD, _capital(str(error)))
        self._update()

    def _heard(self, event: Event) -> None:
        if event.kind != "progress":
            self.form.log.appendPlainText(without_logins(event.text))
            self.form.log.verticalScrollBar().setValue(self.form.log.verticalScrollBar().maximum())
            return
        self.form.step.setText(event.text)
        if event.fraction is not None:
            # How many packages pip will find is not known before: the bar says that it works.
            self.form.bar.setRange(0, 0 if 0.1 <= event.fraction < 0.9 else 100)
            self.form.bar.setValue(round(100 * event.fraction))

    # How it runs.

    def _plan(self) -> Plan:
        if self.maker is None:
            raise PluginError(self.form.maker_label.text())
        package = self.package
        if self.form.by_name.isChecked():
            package = package_by_name(allowed=settings.allow_registry())
        if package is None:
            raise PluginError(tr("nothing to install is chosen; choose the wheel of geodamage"))
        return Plan(
            package,
            self.maker,
            extra="gpu" if self.form.gpu.isChecked() else "cpu",
            report=self.form.report.isChecked(),
            offline=self.form.offline.isChecked(),
            variables=settings.network_variables(),
        )

    def _work(self, job: Callable[[], Any], cancellation: Cancellation) -> None:
        self._say(WAITING, tr("Making the environment; you can go on working in QGIS."))
        self.form.log.clear()
        self.form.bar.setRange(0, 0)
        self.form.bar.show()
        self.form.cancel_button.show()
        self.form.log.show()
        self._grow(790)
        self._begin(job, self._made, self._stopped, cancel=cancellation.cancel)

    def _end_work(self, text: str) -> None:
        self.form.step.setText(text)
        self.form.bar.hide()
        self.form.cancel_button.hide()

    def _begin(
        self,
        job: Callable[[], Any],
        succeeded: Callable[[Any], None],
        failed: Callable[[PluginError], None] | None = None,
        *,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        self._workers.begin(
            job,
            succeeded=succeeded,
            failed=failed or self._fail,
            said=self._heard,
            cancel=cancel,
        )
        self._update()

    # How it looks.

    def _build(self) -> None:
        self.form = SetupForm(by_name=settings.allow_registry())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.form, 1)
        layout.addWidget(buttons)

    def _connect(self) -> None:
        form = self.form
        form.source.editingFinished.connect(self._source_edited)
        for choice in (form.by_name, form.offline, form.gpu):
            choice.toggled.connect(self._update)
        for button, slot in (
            (form.file_button, self._browse_file),
            (form.folder_button, self._browse_folder),
            (form.maker_button, self._browse_maker),
            (form.program_button, self._browse_program),
            (form.make_button, self.make),
            (form.repair_button, self.repair),
            (form.remove_button, self.remove),
            (form.cancel_button, self.cancel),
            (form.use_button, self.use),
        ):
            # `clicked` says whether the button is checked, which no slot asks.
            button.clicked.connect(lambda checked=False, slot=slot: slot())

    def _fill(self) -> None:
        """Fill in what was chosen before."""
        self.form.program.setText(settings.executable() or "")
        package = settings.package()
        if package and Path(package).exists():
            self.form.source.setText(package)
            try:
                self._show_package(package, read_package(package))
            except PluginError as error:
                self._show_package(package, error)

    def _update(self) -> None:
        """Enable what can be done now."""
        idle = self._workers.idle
        state = describe(self._folder)
        there = state in ("ready", "damaged")
        can_make = self.maker is not None
        chosen = self.package is not None or self.form.by_name.isChecked()
        self.form.needs.clear()
        if chosen:
            self._tell_needs()
        self.form.make_button.setEnabled(idle and can_make and chosen and state == "none")
        self.form.make_button.setVisible(not there)
        self.form.repair_button.setEnabled(idle and can_make)
        self.form.repair_button.setVisible(there)
        self.form.remove_button.setEnabled(idle)
        self.form.remove_button.setVisible(there)
        self.form.use_button.setEnabled(idle)

    def _tell_needs(self) -> None:
        """Say what is installed with geodamage, from where, and how much room it takes."""
        names = self.package.requires if self.package is not None else ()
        needs = ", ".join(names) or tr("all that it names")
        space = SPACE["gpu" if self.form.gpu.isChecked() else "cpu"]
        where = (
            tr("They are taken from the wheel's folder.")
            if self.form.offline.isChecked()
            else tr("They are downloaded from the package index that pip uses on this computer.")
        )
        self.form.needs.setText(
            tr(
                "Installed with it: {needs}, and what these need. {where} It takes up to "
                "{space} GB in {folder}."
            ).format(needs=needs, where=where, space=f"{space / 1e9:.1f}", folder=self._folder)
        )

    def _grow(self, height: int) -> None:
        # Qt cuts texts of several lines off rather than making their window larger.
        self.resize(self.width(), max(self.height(), height))

    def _say(self, sign: Sign, text: str) -> None:
        sign.show_in(self.form.sign)
        self.form.verdict.setText(text)

    def _source_edited(self) -> None:
        path = self.form.source.text().strip()
        if path != (settings.package() or "") or (path and self.package is None):
            self.choose(path)

    def _browse_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, tr("The wheel of geodamage"), self.form.source.text(), tr("Wheels (*.whl)")
        )
        if path:
            self.choose(path)

    def _browse_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(
            self, tr("A folder with the wheel, or with the sources"), self.form.source.text()
        )
        if path:
            self.choose(path)

    def _browse_maker(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, tr("A Python of at least 3.11, or uv"))
        if path:
            settings.set_maker(path)
            self.look()

    def _browse_program(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, tr("The geodamage program"), self.form.program.text()
        )
        if path:
            self.form.program.setText(path)


def _look(setting: str | None, folder: Path, maker: str | None) -> tuple[Any, Any, str | None]:
    """Return the program, what can make an environment, and the GPU; errors in their places."""
    found: list[Any] = []
    for look in (partial(find_executable, setting, folder), partial(find_maker, maker)):
        try:
            found.append(look())
        except PluginError as error:
            found.append(error)
    return found[0], found[1], find_gpu()


def _capital(text: str) -> str:
    # A path keeps its first letter.
    word = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if word.rstrip(",;:").isalpha() else text
