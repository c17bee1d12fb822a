# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm `geodamage:assess`, and what it shares with that of many scenes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
    QgsProperty,
    QgsVectorLayer,
)

from . import parameters, settings, sources
from .commands import (
    VECTOR_EXTENSIONS,
    AssessParameters,
    assess_command,
)
from .errors import PluginError
from .facts import read_facts, summary_html
from .tool import Dresser, ToolAlgorithm, Values, scratch_folder, write_page


class SceneAlgorithm(ToolAlgorithm):
    """What assessing one scene and many have in common."""

    def __init__(self) -> None:
        super().__init__()
        self._vectors: dict[str, str | None] = {}

    def scene_options(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> Values:
        """Return the options of a scene by their names in the parameters of a command."""
        named = {
            "model": self.string(values, parameters.MODEL, context),
            "device": self.string(values, parameters.DEVICE, context),
            "tta": self.parameterAsEnumString(values, parameters.TTA, context),
            "vote": self.parameterAsEnumString(values, parameters.VOTE, context),
            "bands": parameters.read_bands(self.string(values, parameters.BANDS, context) or ""),
            "scale": parameters.read_scale(self.string(values, parameters.SCALE, context) or ""),
            "min_area": self.decimal(values, parameters.MIN_AREA, context),
            "simplify": self.decimal(values, parameters.SIMPLIFY, context),
            "tile": self.whole(values, parameters.TILE, context),
            "batch_size": self.whole(values, parameters.BATCH_SIZE, context),
            "threads": self.whole(values, parameters.THREADS, context),
            "allow_remote": self.switch(values, parameters.ALLOW_REMOTE, context),
            "overwrite": self.switch(values, parameters.OVERWRITE, context),
        }
        for option, name in (("footprints", parameters.FOOTPRINTS), ("aoi", parameters.AOI)):
            named[option] = self._polygons(values, name, context, folder, feedback)
        named["id_field"] = self.string(values, parameters.ID_FIELD, context)
        if self._is_given(values, parameters.AOI_EXTENT):
            named["aoi"] = self._extent(values, context, folder)
        return named

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse options that contradict each other or cannot be read."""
        given = {name for name in _AREAS if self._is_given(values, name)}
        if {parameters.AOI, parameters.AOI_EXTENT} <= given:
            raise PluginError("an area of interest as polygons and as an extent: give one of them")
        if parameters.ID_FIELD in given and parameters.FOOTPRINTS not in given:
            raise PluginError(
                "a field with the identity of footprints, but no footprints: give both"
            )
        parameters.read_bands(self.string(values, parameters.BANDS, context) or "")
        parameters.read_scale(self.string(values, parameters.SCALE, context) or "")

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
        id_field = self.string(values, parameters.ID_FIELD, context)
        for name, field in ((parameters.FOOTPRINTS, id_field), (parameters.AOI, None)):
            self._vectors[name] = self._file_of(values, name, context, field)

    def _file_of(
        self, values: Values, name: str, context: QgsProcessingContext, id_field: str | None
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
            raise PluginError(f"{name}: the layer cannot be read; repair its data source")
        feedback.pushInfo(
            f"{found.sourceName()}: exported first, {found.featureCount():,} polygons"
        )
        return sources.export_features(
            found,
            folder / f"{name.lower()}.gpkg",
            transforms=context.transformContext(),
            feedback=feedback,
        )

    def _extent(self, values: Values, context: QgsProcessingContext, folder: Path) -> str:
        return sources.export_extent(
            self.parameterAsExtent(values, parameters.AOI_EXTENT, context),
            self.parameterAsExtentCrs(values, parameters.AOI_EXTENT, context),
            folder / "aoi_extent.gpkg",
            transforms=context.transformContext(),
        )

    def _is_given(self, values: Values, name: str) -> bool:
        return values.get(name) not in (None, "")


_AREAS = (parameters.FOOTPRINTS, parameters.ID_FIELD, parameters.AOI, parameters.AOI_EXTENT)


class Assess(SceneAlgorithm):
    """Grade the damage of every building between two images."""

    command = "assess"
    title = "Assess building damage"
    about = (
        "Grades the damage of every building between an image from before and one from after a "
        "disaster. The result is one polygon per building with its grade, its probabilities, "
        "its confidence and a status; its facts are in a file beside it (OUTPUT.json). "
        "Preliminary, automatic, not validated in the field.\n\n"
        "Runs the geodamage program; where it is, is set in GeoDamage > Set up."
    )

    def __init__(self) -> None:
        super().__init__()
        self._images: dict[str, list[sources.RasterSource]] = {}

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            *parameters.images(),
            parameters.model(),
            *parameters.areas(),
            *parameters.scene_options(),
            parameters.advanced(
                parameters.text(
                    parameters.MEMORY, "Memory",
                    "As 800MB: what the work is planned for; 1.5GB unless given.",
                )
            ),
            parameters.overwrite(),
            _vector_destination(),
            *_further_destinations(),
        ]  # fmt: skip
        for parameter in declared:
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"))
        self.addOutput(QgsProcessingOutputNumber("BUILDINGS", "Buildings"))
        self.addOutput(QgsProcessingOutputNumber("DAMAGED", "Buildings of a grade above no damage"))

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse images that are not there, too, and results that are no file."""
        super().check(values, context)
        for name in (parameters.PRE, parameters.POST):
            for path in _paths_in(values.get(name)):
                _check_image_file(path)
        _check_output(
            _destination_of(values.get(parameters.OUTPUT)),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )

    def prepare_layers(self, values: Values, context: QgsProcessingContext) -> None:
        """Note which files are behind the images, too."""
        super().prepare_layers(values, context)
        for name in (parameters.PRE, parameters.POST):
            found = self.parameterAsLayerList(values, name, context)
            self._images[name] = [sources.raster_source(layer) for layer in found]

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Assess a scene."""
        executable = self.executable(feedback)
        with scratch_folder() as folder:
            asked = self._asked(values, context, folder, feedback)
            argv = assess_command(executable, asked)
            self.run_tool(argv, feedback, outputs=asked.outputs)
        Dresser.attach(context, asked.output)
        return self._outputs(asked)

    def _asked(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> AssessParameters:
        options = self.scene_options(values, context, folder, feedback)
        pre, post = (
            sources.image_argument(
                self._images[name],
                folder,
                name.lower(),
                allow_remote=options["allow_remote"],
                feedback=feedback,
                say=feedback.pushInfo,
            )
            for name in (parameters.PRE, parameters.POST)
        )
        return AssessParameters(
            pre=pre,
            post=post,
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            raster=self._file(values, parameters.RASTER, context),
            probabilities=self._file(values, parameters.PROBABILITIES, context),
            report=self.parameterAsFileOutput(values, parameters.REPORT, context) or None,
            memory=self.string(values, parameters.MEMORY, context),
            **options,
        )

    def _file(self, values: Values, name: str, context: QgsProcessingContext) -> str | None:
        return self.parameterAsOutputLayer(values, name, context) or None

    def _outputs(self, asked: AssessParameters) -> Values:
        facts = read_facts(asked.output)
        grades = facts.grades
        outputs: Values = {
            parameters.OUTPUT: asked.output,
            parameters.SUMMARY: write_page(summary_html(facts)),
            "BUILDINGS": sum(facts.statuses.values()),
            "DAMAGED": sum(grades.values()) - grades.get("no-damage", 0),
        }
        for name, path in (
            (parameters.RASTER, asked.raster),
            (parameters.PROBABILITIES, asked.probabilities),
            (parameters.REPORT, asked.report),
        ):
            if path:
                outputs[name] = path
        return outputs


def _vector_destination() -> QgsProcessingParameterDefinition:
    return parameters.explained(
        QgsProcessingParameterVectorDestination(
            parameters.OUTPUT, "Buildings", QgsProcessing.TypeVectorPolygon
        ),
        f"A file: {', '.join(VECTOR_EXTENSIONS)}. Its facts come beside it, in OUTPUT.json.",
    )


def _further_destinations() -> list[QgsProcessingParameterDefinition]:
    raster = QgsProcessingParameterRasterDestination
    page = QgsProcessingParameterFileDestination(
        parameters.REPORT, "Report", "HTML (*.html)", None, True, False
    )
    return [
        parameters.explained(
            raster(parameters.RASTER, "Grades as an image", None, True, False),
            "A cloud-optimised GeoTIFF of the grades 1 to 4.",
        ),
        parameters.explained(
            raster(parameters.PROBABILITIES, "Probabilities as an image", None, True, False),
            "A cloud-optimised GeoTIFF of five channels: no building, and the four grades.",
        ),
        parameters.explained(page, "A page for people that opens offline."),
    ]


def _paths_in(value: Any) -> Iterator[str]:
    """Yield the words among what was given for images; layers are left out."""
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(item, str) and ("/" in item or "\\" in item):
            yield item


def _check_image_file(path: str) -> None:
    if path.startswith("/vsi") or "://" in path or "|" in path or ":" in path[2:]:
        return  # a source of QGIS's, which says itself whether it can be opened
    if not Path(path).exists():
        raise PluginError(f"{path}: no such file; check the path")
    if Path(path).is_dir():
        raise PluginError(f"{path}: a folder; give its images, one by one or as a .vrt")


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
        raise PluginError(f"{path}: a result is a file of its own; name one, as buildings.gpkg")
    if Path(path).suffix.lower() not in VECTOR_EXTENSIONS:
        raise PluginError(f"{path}: the result is one of {', '.join(VECTOR_EXTENSIONS)}; rename it")
    if Path(path).exists() and not overwrite:
        raise PluginError(
            f"{path}: is there already; choose another name, or switch on 'Replace results that "
            "are there' (OVERWRITE)"
        )
