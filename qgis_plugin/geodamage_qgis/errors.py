# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin raises on purpose.

A message is one line: what, which file, why, what to do. It is shown as it is.
"""

from __future__ import annotations

from geodamage_qgis.translation import tr


class PluginError(Exception):
    """Something that the plugin was asked for cannot be done.

    Parameters
    ----------
    message
        One line for the message bar.
    details
        Lines for the log panel: what a program said.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.details = details


class MissingError(PluginError):
    """There is no geodamage program yet: the assistant makes one."""


class CancelledError(PluginError):
    """The user cancelled the work."""

    def __init__(self, message: str = "", details: str = "") -> None:
        super().__init__(message or tr("cancelled; nothing was written"), details)
