# SPDX-License-Identifier: GPL-2.0-or-later
"""The Processing provider: what the toolbox, models, batches and `qgis_process` find."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from geodamage_qgis.processing.algorithms import ALGORITHMS
from geodamage_qgis.processing.tool import ICON
from geodamage_qgis.program.commands import VECTOR_EXTENSIONS
from geodamage_qgis.translation import tr


class GeodamageProvider(QgsProcessingProvider):
    """The algorithms: `geodamage:assess`, and the others of `ALGORITHMS`."""

    def id(self) -> str:
        """Return the first half of the algorithms' names."""
        return "geodamage"

    def name(self) -> str:
        """Return the name for people."""
        return "GeoDamage"

    def longName(self) -> str:
        """Return what the toolbox says of the provider."""
        return tr("GeoDamage: building damage from images before and after a disaster")

    def icon(self) -> QIcon:
        """Return the plugin's icon."""
        return QIcon(str(ICON))

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Return the formats that the tool writes, the usual one first."""
        return [extension.lstrip(".") for extension in VECTOR_EXTENSIONS]

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the one format of images that the tool writes."""
        return ["tif"]

    def supportsNonFileBasedOutput(self) -> bool:
        """Return False: results are files, with their facts beside them."""
        return False
