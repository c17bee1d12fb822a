# SPDX-License-Identifier: GPL-2.0-or-later
"""The form of the assistant: what it shows, and the buttons that it offers."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QCheckBox,
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

from geodamage_qgis.translation import tr

_WHAT = (
    "The plugin runs the program <b>geodamage</b> beside QGIS and installs nothing into QGIS "
    "itself. Let it make an environment for the program, or name one that is installed."
)
CHOOSE = "Choose the wheel of geodamage (geodamage-*.whl), or a folder with it."


class SetupForm(QWidget):
    """The widgets of the assistant, which listens to them.

    Parameters
    ----------
    by_name
        Offer to install geodamage by its name.
    """

    def __init__(self, *, by_name: bool) -> None:
        super().__init__()
        self.sign, self.verdict = QLabel(), QLabel()
        self.verdict.setWordWrap(True)
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        what = QLabel(tr(_WHAT))
        what.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(_row(self.sign, self.verdict, wide=self.verdict))
        layout.addWidget(what)
        layout.addWidget(self._build_environment(by_name))
        layout.addWidget(self._build_named())
        layout.addStretch(1)

    def _build_environment(self, by_name: bool) -> QGroupBox:
        box = QGroupBox(tr("An environment of the plugin's own"))
        form = QFormLayout(box)
        form.addRow(tr("Install from"), self._build_source(by_name))
        form.addRow("", self.hash)
        form.addRow("", self.by_name)
        form.addRow(tr("Made with"), self._build_maker())
        form.addRow(tr("Runs on"), self._build_devices())
        self.report = QCheckBox(tr("with what reports (HTML pages) need"))
        self.report.setChecked(True)
        self.offline = QCheckBox(tr("without a network: take all packages from the wheel's folder"))
        form.addRow("", self.report)
        form.addRow("", self.offline)
        self.needs = _Note()
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

    def _build_source(self, by_name: bool) -> QWidget:
        self.source = QLineEdit()
        self.source.setPlaceholderText("geodamage-*.whl")
        self.hash = _Note()
        self.hash.setText(tr(CHOOSE))
        self.hash.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.by_name = QCheckBox(tr("by its name from the package index, instead of a file"))
        self.by_name.setVisible(by_name)
        self.file_button, self.folder_button = _button(tr("File …")), _button(tr("Folder …"))
        return _widget(_row(self.source, self.file_button, self.folder_button, wide=self.source))

    def _build_maker(self) -> QWidget:
        self.maker_label = _Note()
        self.maker_button = _button(tr("Other …"))
        self.maker_button.setToolTip(tr("Name a Python of at least 3.11, or uv"))
        return _widget(_row(self.maker_label, self.maker_button, wide=self.maker_label))

    def _build_devices(self) -> QWidget:
        self.cpu, self.gpu = QRadioButton("CPU"), QRadioButton("NVIDIA GPU")
        self.cpu.setChecked(True)
        self.gpu_label = _Note()
        return _widget(_row(self.cpu, self.gpu, self.gpu_label, wide=self.gpu_label))

    def _build_buttons(self) -> QWidget:
        self.make_button = QPushButton(tr("Make environment"))
        self.make_button.setDefault(True)
        self.repair_button, self.remove_button = _button(tr("Repair")), _button(tr("Remove"))
        row = _row(self.make_button, self.repair_button, self.remove_button)
        row.addStretch(1)
        return _widget(row)

    def _build_progress(self) -> QWidget:
        self.bar, self.step = QProgressBar(), _Note()
        self.cancel_button = _button(tr("Cancel"))
        self.bar.hide()
        self.cancel_button.hide()
        layout = QVBoxLayout()
        layout.addWidget(self.step)
        layout.addLayout(_row(self.bar, self.cancel_button, wide=self.bar))
        return _widget(layout)

    def _build_named(self) -> QGroupBox:
        box = QGroupBox(tr("Or a geodamage that is installed"))
        self.program = QLineEdit()
        self.program.setPlaceholderText(tr("found by itself: the plugin's environment, then PATH"))
        self.program_button, self.use_button = _button(tr("File …")), _button(tr("Use"))
        row = _row(self.program, self.program_button, self.use_button, wide=self.program)
        QVBoxLayout(box).addLayout(row)
        return box


class _Note(QLabel):
    """A text of several lines, none of which is cut: a row of a form has the height of one."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)

    def setText(self, text: str) -> None:
        """Show a text."""
        super().setText(text)
        self._grow()

    def resizeEvent(self, event: Any) -> None:
        """Take the height that the text has in this width."""
        super().resizeEvent(event)
        self._grow()

    def _grow(self) -> None:
        self.setMinimumHeight(0)  # else it never shrinks
        self.setMinimumHeight(self.heightForWidth(self.width()) if self.text() else 0)


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
