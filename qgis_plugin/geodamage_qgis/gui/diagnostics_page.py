# SPDX-License-Identifier: GPL-2.0-or-later
"""The window that shows what the plugin found, and copies it for somebody who helps."""

from __future__ import annotations

import sys
from functools import partial

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtCore import PYQT_VERSION_STR, QT_VERSION_STR, Qt
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.background import Workers
from geodamage_qgis.gui.signs import BAD, GOOD, WAITING, Sign
from geodamage_qgis.setup.diagnostics import Report, collect, to_html, to_text
from geodamage_qgis.translation import tr
from geodamage_qgis.version import plugin_version


def desktop_facts() -> list[tuple[str, str]]:
    """Return what QGIS knows of itself."""
    return [
        (tr("plugin"), plugin_version()),
        ("QGIS", f"{Qgis.QGIS_VERSION}, {QgsApplication.platform()}"),
        ("Qt", f"{QT_VERSION_STR}, PyQt {PYQT_VERSION_STR}"),
        (tr("Python of QGIS"), sys.version.split()[0]),
        (tr("profile"), QgsApplication.qgisSettingsDirPath()),
    ]


class DiagnosticsPage(QDialog):
    """Shows what was found; looks again when asked.

    Parameters
    ----------
    parent
        Window that it belongs to.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("GeoDamage diagnostics"))
        self.resize(820, 680)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.report: Report | None = None
        self._workers = Workers()
        self._build()
        self.look()

    def look(self) -> None:
        """Look at everything again, beside the window."""
        if not self._workers.idle:
            return
        self.report = None
        self.copy_button.setEnabled(False)
        self.look_button.setEnabled(False)
        self._say(WAITING, tr("Looking; this takes some seconds …"))
        # Settings and QGIS are asked here: other threads may not.
        job = partial(
            collect,
            settings.executable(),
            settings.environment_folder(),
            desktop=desktop_facts(),
            variables=settings.network_variables(),
            maker=settings.maker(),
        )
        self._workers.begin(job, succeeded=self._show, failed=self._fail)

    def copy(self) -> None:
        """Copy the report to the clipboard."""
        if self.report is not None:
            QgsApplication.clipboard().setText(to_text(self.report))
            self.copied.setText(tr("Copied. Look through it before you send it."))

    def done(self, result: int) -> None:
        """Close the window."""
        self._workers.forget()
        super().done(result)

    def _build(self) -> None:
        self.sign, self.verdict = QLabel(), QLabel()
        self.verdict.setWordWrap(True)
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        head = QHBoxLayout()
        head.addWidget(self.sign)
        head.addWidget(self.verdict, 1)
        self.page = QTextBrowser()
        self.copied = QLabel()
        self.copy_button = QPushButton(tr("Copy report"))
        self.copy_button.clicked.connect(self.copy)
        self.look_button = QPushButton(tr("Look again"))
        self.look_button.clicked.connect(self.look)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.addButton(self.copy_button, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(self.look_button, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(head)
        layout.addWidget(self.page, 1)
        layout.addWidget(self.copied)
        layout.addWidget(buttons)

    def _show(self, report: Report) -> None:
        self._ended()
        self.report = report
        self.copy_button.setEnabled(True)
        self.page.setHtml(to_html(report))
        self._say(GOOD if report.ready else BAD, report.verdict)

    def _fail(self, error: PluginError) -> None:
        self._ended()
        self.page.setPlainText(error.details)
        self._say(BAD, str(error))

    def _ended(self) -> None:
        self.copied.clear()
        self.look_button.setEnabled(True)

    def _say(self, sign: Sign, text: str) -> None:
        sign.show_in(self.sign)
        self.verdict.setText(text)
