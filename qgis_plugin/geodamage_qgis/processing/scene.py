# SPDX-License-Identifier: GPL-2.0-or-later
"""What the algorithms that run a model on imagery have in common, and those that grade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProperty,
    QgsVectorLayer,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import given, parameters, polygons, sources
from geodamage_qgis.processing.tool import ToolAlgorithm, Values, write_page
from geodamage_qgis.program.commands import (
    ENGINE_CHOICES,
    OBSCURED_CHOICES,
    REGISTRATION_CHOICES,
    SENSOR_CHOICES,
    VECTOR_EXTENSIONS,
    AssessParameters,
    BuildingsParameters,
)
from geodamage_qgis.program.facts import Facts, summary_html
from geodamage_qgis.translation import tr


class SceneAlgorithm(ToolAlgorithm):
    """What finding buildings and grading them, in one scene or many, have in common.

    Attributes
    ----------
    images
        Parameters of the images; none where a list of scenes names them.
    """

    images: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._vectors: dict[str, str | None] = {}
        self._images: dict[str, list[sources.RasterSource]] = {}

    def scene_options(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> Values:
        """Return the options of a scene by their names in the parameters of a command."""
        named = {
            "model": self.string(values, parameters.MODEL_FILE, context)
            or self.string(values, parameters.MODEL, context),
            "device": self.string(values, parameters.DEVICE, context),
            "engine": _chosen(
                self.parameterAsEnumString(values, parameters.ENGINE, context), ENGINE_CHOICES
            ),
            "tta": self.parameterAsEnumString(values, parameters.TTA, context),
            "bands": parameters.read_bands(self.string(values, parameters.BANDS, context) or ""),
            "scale": parameters.read_scale(self.string(values, parameters.SCALE, context) or ""),
            "nodata": self.decimal(values, parameters.NODATA, context),
            "min_area": self.decimal(values, parameters.MIN_AREA, context),
            "simplify": self.decimal(values, parameters.SIMPLIFY, context),
            "regularise": self.switch(values, parameters.REGULARISE, context),
            "tile": self.whole(values, parameters.TILE, context),
            "batch_size": self.whole(values, parameters.BATCH_SIZE, context),
            "threads": self.whole(values, parameters.THREADS, context),
            "allow_remote": self.switch(values, parameters.ALLOW_REMOTE, context),
            "overwrite": self.switch(values, parameters.OVERWRITE, context),
            "aoi": self._polygons(values, parameters.AOI, context, folder, feedback),
        }
        if self._is_given(values, parameters.AOI_EXTENT):
            named["aoi"] = self._extent(values, context, folder)
        return named

    def image(
        self,
        name: str,
        word: str,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> str:
        """Return the image of a parameter as the tool takes it; `word` is for its files."""
        return sources.image_argument(
            self._images[name],
            folder,
            word,
            allow_remote=self.switch(values, parameters.ALLOW_REMOTE, context),
            feedback=feedback,
            say=feedback.pushInfo,
        )

    def layer_file(self, values: Values, name: str, context: QgsProcessingContext) -> str | None:
        """Return the file of a layer that is to be written, or None."""
        return self.parameterAsOutputLayer(values, name, context) or None

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse images that are not there, and options that contradict or cannot be read."""
        if all(self._is_given(values, name) for name in (parameters.AOI, parameters.AOI_EXTENT)):
            raise PluginError(
                tr("an area of interest as polygons and as an extent: give one of them")
            )
        if all(self._is_given(values, name) for name in (parameters.MODEL, parameters.MODEL_FILE)):
            raise PluginError(tr("a model by its name and a model file: give one of them"))
        if self.switch(values, parameters.REGULARISE, context) and self.decimal(
            values, parameters.SIMPLIFY, context
        ):
            raise PluginError(
                tr("right-angled outlines and simplified polygons: give one of the two")
            )
        parameters.read_bands(self.string(values, parameters.BANDS, context) or "")
        parameters.read_scale(self.string(values, parameters.SCALE, context) or "")
        for name in self.images:
            for item in _items_of(values.get(name)):
                given.check_image(_layer_of(item, context) or item)
        for name in (parameters.AOI, parameters.FOOTPRINTS):
            given.check_vector(values.get(name))

    def check_output(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a result that is no file, or is there and to be kept."""
        _check_output(
            _destination_of(values.get(parameters.OUTPUT)),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )

    def prepareAlgorithm(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Look at the layers, in the thread that they live in."""
        try:
            self.prepare_layers(values, context)
        except PluginError as error:
            raise QgsProcessingException(str(error)) from error
        return True

    def prepare_layers(self, values: Values, context: QgsProcessingContext) -> None:
        """Note which files are behind the layers."""
        if self.switch(values, parameters.ALLOW_REMOTE, context):
            self._variables = settings.network_variables()
        self._vectors[parameters.AOI] = self._file_of(values, parameters.AOI, context)
        for name in self.images:
            found = self.parameterAsLayerList(values, name, context)
            self._images[name] = [sources.raster_source(layer) for layer in found]

    def _file_of(
        self,
        values: Values,
        name: str,
        context: QgsProcessingContext,
        id_field: str | None = None,
    ) -> str | None:
        if not self._is_given(values, name) or getattr(values[name], "selectedFeaturesOnly", False):
            return None
        if getattr(values[name], "featureLimit", -1) >= 0 or getattr(
            values[name], "filterExpression", ""
        ):
            return None
        layer = self.parameterAsVectorLayer(values, name, context)
        if not isinstance(layer, QgsVectorLayer):
            return None
        return sources.vector_path(layer, id_field=id_field)

    def _polygons(
        self,
        values: Values,
        name: str,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> str | None:
        """Return the file of a layer of polygons, written first where there is none."""
        if not self._is_given(values, name):
            return None
        if self._vectors.get(name):
            return self._vectors[name]
        found = self.parameterAsSource(values, name, context)
        if found is None:
            raise PluginError(
                tr("{name}: the layer cannot be read; repair its data source", name=name)
            )
        feedback.pushInfo(
            tr(
                "{layer}: exported first, {count:,} polygons",
                layer=found.sourceName(),
                count=found.featureCount(),
            )
        )
        return polygons.export_features(
            found,
            folder / f"{name.lower()}.gpkg",
            transforms=context.transformContext(),
            feedback=feedback,
        )

    def _extent(self, values: Values, context: QgsProcessingContext, folder: Path) -> str:
        return polygons.export_extent(
            self.parameterAsExtent(values, parameters.AOI_EXTENT, context),
            self.parameterAsExtentCrs(values, parameters.AOI_EXTENT, context),
            folder / "aoi_extent.gpkg",
            transforms=context.transformContext(),
        )

    def _is_given(self, values: Values, name: str) -> bool:
        return values.get(name) not in (None, "")


class GradingAlgorithm(SceneAlgorithm):
    """What assessing one scene and many have in common."""

    def scene_options(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> Values:
        """Return the options of grading, too."""
        named = super().scene_options(values, context, folder, feedback)
        sensor, registration, obscured = (
            self.parameterAsEnumString(values, name, context)
            for name in (parameters.POST_SENSOR, parameters.REGISTRATION, parameters.OBSCURED)
        )
        return {
            **named,
            "vote": self.parameterAsEnumString(values, parameters.VOTE, context),
            "post_sensor": _chosen(sensor, SENSOR_CHOICES),
            "registration": _chosen(registration, REGISTRATION_CHOICES),
            "obscured": _chosen(obscured, OBSCURED_CHOICES),
            "pre_unusable": self.string(values, parameters.PRE_UNUSABLE, context),
            "post_unusable": self.string(values, parameters.POST_UNUSABLE, context),
            "unusable_band": self.whole(values, parameters.UNUSABLE_BAND, context),
            "seen_share": self.decimal(values, parameters.SEEN_SHARE, context),
            "post_nodata": self.decimal(values, parameters.POST_NODATA, context),
            "footprints": self._polygons(values, parameters.FOOTPRINTS, context, folder, feedback),
            "id_field": self.string(values, parameters.ID_FIELD, context),
            "keep": self.string(values, parameters.KEEP, context),
            "skip_broken": self.switch(values, parameters.SKIP_BROKEN, context),
        }

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse the identity of footprints without footprints, too."""
        super().check(values, context)
        named = self._is_given(values, parameters.ID_FIELD)
        if named and not self._is_given(values, parameters.FOOTPRINTS):
            raise PluginError(tr("a building ID field, but no footprints: give both"))
        for name in (parameters.PRE_UNUSABLE, parameters.POST_UNUSABLE):
            given.check_file(self.string(values, name, context))

    def prepare_layers(self, values: Values, context: QgsProcessingContext) -> None:
        """Note which file is behind the footprints, too."""
        super().prepare_layers(values, context)
        id_field = self.string(values, parameters.ID_FIELD, context)
        self._vectors[parameters.FOOTPRINTS] = self._file_of(
            values, parameters.FOOTPRINTS, context, id_field
        )


def result_outputs(asked: AssessParameters | BuildingsParameters, facts: Facts) -> Values:
    """Return the outputs that every result has: its files, its summary, its buildings."""
    files = {
        parameters.OUTPUT: asked.output,
        parameters.RASTER: asked.raster,
        parameters.PROBABILITIES: asked.probabilities,
    }
    return {
        **{name: path for name, path in files.items() if path},
        parameters.SUMMARY: write_page(summary_html(facts)),
        "BUILDINGS": sum(facts.statuses.values()),
    }


def _chosen(word: str, choices: Sequence[str]) -> str | None:
    """Return a word, or None for the default, which is left to the tool."""
    return None if word == choices[0] else word


def _items_of(value: Any) -> list[Any]:
    """Return what was given for images, one by one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _layer_of(item: Any, context: QgsProcessingContext) -> QgsMapLayer | None:
    """Return the layer of the project that has an id, broken ones, too."""
    project = context.project()
    return project.mapLayer(item) if project is not None and isinstance(item, str) else None


def _destination_of(value: Any) -> str | None:
    """Return the file of a destination, where it is said in words."""
    sink = getattr(value, "sink", value)
    if isinstance(sink, QgsProperty):
        sink = sink.staticValue()  # None where it is computed
    return sink if isinstance(sink, str) else None


def _check_output(path: str | None, *, overwrite: bool) -> None:
    if not path or path == QgsProcessing.TEMPORARY_OUTPUT:
        return
    if path.startswith(("ogr:", "postgis:", "memory:")) or path.endswith(":"):
        raise PluginError(
            tr("{path}: a result is a file of its own; name one, as buildings.gpkg", path=path)
        )
    if Path(path).suffix.lower() not in VECTOR_EXTENSIONS:
        raise PluginError(
            tr(
                "{path}: the result is one of {listed}; rename it",
                path=path,
                listed=", ".join(VECTOR_EXTENSIONS),
            )
        )
    if Path(path).exists() and not overwrite:
        raise PluginError(
            tr(
                "{path}: is there already; choose another name, or switch on 'Overwrite existing "
                "files' (OVERWRITE)",
                path=path,
            )
        )
