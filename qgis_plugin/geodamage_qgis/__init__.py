# SPDX-License-Identifier: GPL-2.0-or-later
"""The QGIS plugin of geodamage; GPL-2.0-or-later, see LICENSE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geodamage_qgis.plugin import GeodamagePlugin


def classFactory(iface: Any) -> GeodamagePlugin:
    """Return the plugin; QGIS calls this, `qgis_process` without an interface."""
    from geodamage_qgis.plugin import GeodamagePlugin

    return GeodamagePlugin(iface)
