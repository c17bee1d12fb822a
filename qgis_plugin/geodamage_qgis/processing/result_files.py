# SPDX-License-Identifier: GPL-2.0-or-later
"""What algorithms that take results have in common: the tool takes the files behind the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterField,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterVectorLayer,
    QgsVectorLayer,
)
from qgis.core import QgsProcessingParameterDefinition as Parameter

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import given, parameters, sources
from geodamage_qgis.processing.tool import ToolAlgorithm, Values
from geodamage_qgis.results.results import output_path
from geodamage_qgis.translation import tr

RESULT = "RESULT"
RESULTS = "RESULTS"
POLYGONS = QgsProcessing.SourceType.TypeVectorPolygon


class ResultAlgorithm(ToolAlgorithm):
    """An algorithm that takes results, as files.

    Attributes
    ----------
    layers
        Parameters of layers, of which the tool takes the files.
    files
        Parameters of files, which must be there.
    """

    layers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, list[str]] = {}

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse files that are not there."""
        for name in self.files:
            for path in paths_of(values.get(name)):
                given.check_file(path)

    def prepareAlgorithm(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Note which files are behind the layers, in the thread that they live in."""
        try:
            self._files = {name: self._sources(values, name, context) for name in self.layers}
        except PluginError as error:
            raise QgsProcessingException(str(error)) from error
        return True

    def _sources(self, values: Values, name: str, context: QgsProcessingContext) -> list[str]:
        if name == RESULTS:
            found = self.parameterAsLayerList(values, name, context)
        else:
            found = [self.parameterAsLayer(values, name, context)]
        return [file_of(layer) for layer in found if layer is not None]

    def file(self, name: str) -> str | None:
        """Return the file of a layer that was given, or None."""
        return next(iter(self._files.get(name, ())), None)


def results() -> Parameter:
    """Return the parameter of several results."""
    return parameters.explained(
        QgsProcessingParameterMultipleLayers(RESULTS, "Results", POLYGONS),
        "Of 'Assess building damage'; a building that several show counts once.",
    )


def areas(title: str) -> list[Parameter]:
    """Return the parameters of administrative areas."""
    layer = QgsProcessingParameterVectorLayer("BY", title, [POLYGONS], None, True)
    field = QgsProcessingParameterField(
        "ADMIN_NAME", "Field with the names of the areas", None, "BY", optional=True
    )
    return [parameters.advanced(layer), parameters.advanced(field)]


def file_of(layer: Any) -> str:
    """Return the file of a layer.

    Raises
    ------
    PluginError
        If it has none.
    """
    if isinstance(layer, QgsVectorLayer):
        path = str(output_path(layer) or "")
    else:
        path = str(sources.raster_path(layer)) if isinstance(layer, QgsMapLayer) else ""
    if not path or not Path(path).is_file():
        raise PluginError(
            tr("{layer}: is no file; give one that was saved to a file", layer=layer.name())
        )
    return path


def paths_of(value: Any) -> list[str]:
    """Return the paths that were given, one or several."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    return [str(path) for path in listed if path]
