# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs of the plugin's windows: told apart by their shape, not by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QLabel


@dataclass(frozen=True)
class Sign:
    """A sign in a circle.

    Attributes
    ----------
    text
        One character.
    colour
        Of the circle.
    """

    text: str
    colour: str

    def show_in(self, label: QLabel) -> None:
        """Make a label this sign."""
        label.setText(self.text)
        label.setFixedSize(28, 28)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        label.setStyleSheet(
            f"background: {self.colour}; color: white; border-radius: 14px; "
            "font-weight: bold; font-size: 15px;"
        )


GOOD = Sign("✓", "#2e7d32")
BAD = Sign("!", "#b3261e")
MISSING = Sign("?", "#8a5a00")
WAITING = Sign("…", "#5f6368")
