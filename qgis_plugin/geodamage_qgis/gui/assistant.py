# SPDX-License-Identifier: GPL-2.0-or-later
"""The first-run assistant: finds the geodamage program, or makes an environment for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsMessageLog
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import CancelledError, MissingError, PluginError
from geodamage_qgis.gui.background import Workers
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

LOG = "GeoDamage"

_WHAT = (
    "The plugin runs the program <b>geodamage</b> beside QGIS and installs nothing into QGIS "
    "itself. Let it make an environment for the program, or name one that is installed."
)
_CHOOSE = "Choose the wheel of geodamage (geodamage-*.whl), or a folder with it."


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
        self.setWindowTitle("Set up GeoDamage")
        self.resize(720, 480)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.executable: Executable | None = None
        self.package: Package | None = None
        self.maker: Maker | None = None
        self._folder = settings.environment_folder()
        self._workers = Workers()
        self._build()
        self._fill()
        self.look()

    # What the user does.

    def look(self) -> None:
        """Look for the program, for what can make an environment, and for a GPU."""
        self._say(WAITING, "Looking for geodamage …")
        job = partial(_look, settings.executable(), self._folder, settings.maker())
        self._begin(job, self._found)

    def choose(self, path: str) -> None:
        """Read the wheel or folder that is to be installed, and show its hash."""
        self.source.setText(path)
        self.package = None
        self.hash.setText("Reading …" if path else _CHOOSE)
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
        """Make the environment anew of what it was made of."""
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
        self._say(WAITING, "Removing the environment …")
        self._begin(partial(remove, self._folder), self._removed)

    def cancel(self) -> None:
        """End the work that runs; nothing is left of it."""
        self.step.setText("Cancelling …")
        self._workers.cancel()

    def use(self) -> None:
        """Use the program that is named; none goes back to looking for it."""
        path = self.program.text().strip()
        if not path:
            settings.set_executable(None)
            self.changed.emit()
            self.look()
            return
        self._say(WAITING, f"Asking {path} …")
        self._begin(partial(find_executable, path, self._folder), self._named)

    def done(self, result: int) -> None:
        """Close the window; work that runs is cancelled."""
        self._workers.forget()
        super().done(result)

    # What comes of it.

    def _found(self, found: tuple[Any, Any, Any]) -> None:
        executable, maker, gpu = found
        self.maker = maker if isinstance(maker, Maker) else None
        self.maker_label.setText(str(maker))
        self._offer(gpu)
        self._settle(executable)

    def _settle(self, executable: Executable | PluginError) -> None:
        self.executable = executable if isinstance(executable, Executable) else None
        if self.executable is not None:
            self._say(GOOD, f"Ready: {executable}")
        else:
            missing = isinstance(executable, MissingError)
            text = "There is no geodamage on this computer yet, as far as the plugin can see."
            self._say(MISSING if missing else BAD, text if missing else _capital(str(executable)))
        self._update()

    def _offer(self, gpu: str | None) -> None:
        self.gpu.setEnabled(gpu is not None)
        self.gpu_label.setText(gpu or "No NVIDIA GPU was found (nvidia-smi).")
        if gpu is not None and not self.gpu.isChecked():
            self.gpu.setChecked(True)

    def _show_package(self, path: str, package: Package | PluginError) -> None:
        if path != self.source.text():
            return  # another one has been chosen meanwhile
        if isinstance(package, PluginError):
            self.hash.setText(_capital(str(package)))
            self._update()
            return
        self.package = package
        settings.set_package(path)
        self.hash.setText(f"geodamage {package.version}, sha256\n{package.sha256}")
        self._grow(620)
        self._update()

    def _made(self, executable: Executable) -> None:
        # It was made to be used.
        settings.set_executable(None)
        self.program.clear()
        self._end_work("Done.")
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
        self._end_work("Cancelled." if isinstance(error, CancelledError) else "Failed.")
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
            self.log.appendPlainText(without_logins(event.text))
            self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())
            return
        self.step.setText(event.text)
        if event.fraction is not None:
            # How many packages pip will find is not known before: the bar says that it works.
            self.bar.setRange(0, 0 if 0.1 <= event.fraction < 0.9 else 100)
            self.bar.setValue(round(100 * event.fraction))

    # How it runs.

    def _plan(self) -> Plan:
        if self.maker is None:
            raise PluginError(self.maker_label.text())
        package = self.package
        if self.by_name.isChecked():
            package = package_by_name(allowed=settings.allow_registry())
        if package is None:
            raise PluginError("nothing to install is chosen; choose the wheel of geodamage")
        return Plan(
            package,
            self.maker,
            extra="gpu" if self.gpu.isChecked() else "cpu",
            report=self.report.isChecked(),
            offline=self.offline.isChecked(),
            variables=settings.network_variables(),
        )

    def _work(self, job: Callable[[], Any], cancellation: Cancellation) -> None:
        self._say(WAITING, "Making the environment; you can go on working in QGIS.")
        self.log.clear()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel_button.show()
        self.log.show()
        self._grow(790)
        self._begin(job, self._made, self._stopped, cancel=cancellation.cancel)

    def _end_work(self, text: str) -> None:
        self.step.setText(text)
        self.bar.hide()
        self.cancel_button.hide()

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
        self.sign, self.verdict = QLabel(), QLabel()
        self.verdict.setWordWrap(True)
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        what = QLabel(_WHAT)
        what.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(_row(self.sign, self.verdict, wide=self.verdict))
        layout.addWidget(what)
        layout.addWidget(self._build_environment())
        layout.addWidget(self._build_named())
        layout.addStretch(1)
        layout.addWidget(buttons)

    def _build_environment(self) -> QGroupBox:
        box = QGroupBox("An environment of the plugin's own")
        form = QFormLayout(box)
        form.addRow("Install from", self._build_source())
        form.addRow("", self.hash)
        form.addRow("", self.by_name)
        form.addRow("Made with", self._build_maker())
        form.addRow("Runs on", self._build_devices())
        self.report = QCheckBox("with what reports (HTML pages) need")
        self.report.setChecked(True)
        self.offline = QCheckBox("without a network: take all packages from the wheel's folder")
        for choice in (self.offline, self.gpu):
            choice.toggled.connect(self._update)
        form.addRow("", self.report)
        form.addRow("", self.offline)
        self.needs = _note()
        form.addRow("", self.needs)
        form.addRow("", self._build_buttons())
        form.addRow("", self._build_progress())
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(5000)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setMinimumHeight(110)
        self.log.hide()
        form.addRow(self.log)
        return box

    def _build_source(self) -> QWidget:
        self.source = QLineEdit()
        self.source.setPlaceholderText("geodamage-*.whl")
        self.source.editingFinished.connect(self._source_edited)
        self.hash = _note()
        self.hash.setText(_CHOOSE)
        self.hash.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.by_name = QCheckBox("by its name from the package index, instead of a file")
        self.by_name.setVisible(settings.allow_registry())
        self.by_name.toggled.connect(self._update)
        file, folder = _button("File …"), _button("Folder …")
        file.clicked.connect(self._browse_file)
        folder.clicked.connect(self._browse_folder)
        return _widget(_row(self.source, file, folder, wide=self.source))

    def _build_maker(self) -> QWidget:
        self.maker_label = _note()
        other = _button("Other …")
        other.setToolTip("Name a Python of at least 3.11, or uv")
        other.clicked.connect(self._browse_maker)
        return _widget(_row(self.maker_label, other, wide=self.maker_label))

    def _build_devices(self) -> QWidget:
        self.cpu, self.gpu = QRadioButton("CPU"), QRadioButton("NVIDIA GPU")
        self.cpu.setChecked(True)
        self.gpu_label = _note()
        return _widget(_row(self.cpu, self.gpu, self.gpu_label, wide=self.gpu_label))

    def _build_buttons(self) -> QWidget:
        self.make_button = QPushButton("Make environment")
        self.make_button.setDefault(True)
        self.make_button.clicked.connect(self.make)
        self.repair_button, self.remove_button = _button("Repair"), _button("Remove")
        self.repair_button.clicked.connect(self.repair)
        self.remove_button.clicked.connect(self.remove)
        row = _row(self.make_button, self.repair_button, self.remove_button)
        row.addStretch(1)
        return _widget(row)

    def _build_progress(self) -> QWidget:
        self.bar, self.step = QProgressBar(), _note()
        self.cancel_button = _button("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.bar.hide()
        self.cancel_button.hide()
        layout = QVBoxLayout()
        layout.addWidget(self.step)
        layout.addLayout(_row(self.bar, self.cancel_button, wide=self.bar))
        return _widget(layout)

    def _build_named(self) -> QGroupBox:
        box = QGroupBox("Or a geodamage that is installed")
        self.program = QLineEdit()
        self.program.setPlaceholderText("found by itself: the plugin's environment, then PATH")
        browse, self.use_button = _button("File …"), _button("Use")
        browse.clicked.connect(self._browse_program)
        self.use_button.clicked.connect(self.use)
        QVBoxLayout(box).addLayout(_row(self.program, browse, self.use_button, wide=self.program))
        return box

    def _fill(self) -> None:
        """Fill in what was chosen before."""
        self.program.setText(settings.executable() or "")
        package = settings.package()
        if package and Path(package).exists():
            self.source.setText(package)
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
        chosen = self.package is not None or self.by_name.isChecked()
        self.needs.clear()
        if chosen:
            self._tell_needs()
        self.make_button.setEnabled(idle and can_make and chosen and state == "none")
        self.make_button.setVisible(not there)
        self.repair_button.setEnabled(idle and can_make)
        self.repair_button.setVisible(there)
        self.remove_button.setEnabled(idle)
        self.remove_button.setVisible(there)
        self.use_button.setEnabled(idle)

    def _tell_needs(self) -> None:
        """Say what is installed with geodamage, from where, and how much room it takes."""
        names = self.package.requires if self.package is not None else ()
        needs = ", ".join(names) or "all that it names"
        space = SPACE["gpu" if self.gpu.isChecked() else "cpu"]
        where = (
            "They are taken from the wheel's folder."
            if self.offline.isChecked()
            else "They are downloaded from the package index that pip uses on this computer."
        )
        self.needs.setText(
            f"Installed with it: {needs}, and what these need. {where} It takes up to "
            f"{space / 1e9:.1f} GB in {self._folder}."
        )

    def _grow(self, height: int) -> None:
        # Qt cuts texts of several lines off rather than making their window larger.
        self.resize(self.width(), max(self.height(), height))

    def _say(self, sign: Sign, text: str) -> None:
        sign.show_in(self.sign)
        self.verdict.setText(text)

    def _source_edited(self) -> None:
        path = self.source.text().strip()
        if path != (settings.package() or "") or (path and self.package is None):
            self.choose(path)

    def _browse_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "The wheel of geodamage", self.source.text(), "Wheels (*.whl)"
        )
        if path:
            self.choose(path)

    def _browse_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(
            self, "A folder with the wheel, or with the sources", self.source.text()
        )
        if path:
            self.choose(path)

    def _browse_maker(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "A Python of at least 3.11, or uv")
        if path:
            settings.set_maker(path)
            self.look()

    def _browse_program(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "The geodamage program", self.program.text())
        if path:
            self.program.setText(path)


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


def _note() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _button(text: str) -> QPushButton:
    button = QPushButton(text)
    # Enter makes the environment, and presses nothing else.
    button.setAutoDefault(False)
    return button


def _row(*widgets: QWidget, wide: QWidget | None = None) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget, 1 if widget is wide else 0)
    return row


def _widget(layout: Any) -> QWidget:
    widget = QWidget()
    layout.setContentsMargins(0, 0, 0, 0)
    widget.setLayout(layout)
    return widget
