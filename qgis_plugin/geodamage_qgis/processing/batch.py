# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm `geodamage:batch`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import parameters
from geodamage_qgis.processing.scene import GradingAlgorithm
from geodamage_qgis.processing.tool import Dresser, Values, scratch_folder, write_page
from geodamage_qgis.program.commands import (
    BatchParameters,
    batch_command,
)
from geodamage_qgis.program.facts import read_facts, summary_html
from geodamage_qgis.program.runner import Outcome
from geodamage_qgis.translation import tr


class Batch(GradingAlgorithm):
    """Assess many scenes, and go on where it stopped."""

    command = "batch"
    title = "Assess a batch of scenes"
    about = (
        "Assesses many scenes unattended. A ledger in the folder of the results records every "
        "scene: after an interruption, the same parameters do what is missing; a changed image, "
        "model or option redoes the scenes that it touches. A scene that fails does not stop the "
        "others.\n\n"
        "Give a folder with pre/ and post/, whose images are paired by where they lie, or a list "
        "of scenes: a table (.csv), features (.geojson), a .toml, or a STAC catalogue.\n\n"
        "A list has the columns pre and post: the images, as a file, a folder of tiles, a pattern "
        "as post/*.tif, or @tiles.txt; several are separated by |. It may have name, date "
        "(2026-02-07), and options of a scene alone: model, footprints, id_field, aoi, tta, vote, "
        "tile, bands, scale, post_sensor, post_bands, post_scale, min_area, simplify, "
        "registration, obscured, pre_unusable, post_unusable, seen_share, nodata, "
        "post_nodata, post_only. Paths are relative to the list. Other columns are an error."
    )

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        vector = QgsProcessingParameterFile(
            "ADMIN", "Administrative areas for totals", optional=True
        )
        declared = [
            *_scenes(),
            *parameters.models(),
            *parameters.footprints(),
            *parameters.areas(),
            parameters.switch("RASTERS", "Write a damage raster of each scene", ""),
            parameters.switch(
                "PROBABILITY_RASTERS", "Write a probability raster of each scene", ""
            ),
            parameters.switch(
                parameters.FEATURES, "Keep features", "'Learn from answers' needs them."
            ),
            parameters.switch("REPORTS", "Write a report of each scene and of the event", ""),
            parameters.switch(
                "MERGE", "Write one layer of the event", "All scenes in one layer.", default=True
            ),
            parameters.switch("LOAD", "Load the layer of the event", "", default=True),
            *parameters.scene_options(),
            *(parameters.advanced(parameter) for parameter in _batch_options()),
            parameters.advanced(parameters.explained(vector, "Polygons, in a file.")),
            parameters.overwrite(),
            QgsProcessingParameterFolderDestination(parameters.OUTPUT, "Folder of the results"),
        ]
        outputs = [
            QgsProcessingOutputVectorLayer("EVENT", "Buildings of the event"),
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
            QgsProcessingOutputHtml(parameters.REPORT, "Report of the event"),
            QgsProcessingOutputNumber("DONE", "Completed scenes"),
            QgsProcessingOutputNumber("FAILED", "Failed scenes"),
        ]
        self.declare(declared, outputs)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a call without scenes, or with both ways to name them, too."""
        super().check(values, context)
        given = [name for name in ("FOLDER", "MANIFEST") if self._is_given(values, name)]
        if len(given) != 1:
            raise PluginError(
                tr("a folder and a list of scenes: give one of the two")
                if given
                else tr("no scenes: give a folder with pre/ and post/, or a list")
            )
        name = self.parameterAsFile(values, given[0], context)
        place = Path(name)
        if "://" not in name and not place.exists():
            raise PluginError(tr("{place}: no such file or folder; check the path", place=place))
        if given[0] == "FOLDER" and not all((place / name).is_dir() for name in ("pre", "post")):
            raise PluginError(
                tr("{place}: has no folders pre and post; give the folder that has", place=place)
            )

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Assess the scenes of a list."""
        executable = self.executable(feedback)
        with scratch_folder() as folder:
            asked = self._asked(values, context, folder, feedback)
            outcome = self.run_tool(batch_command(executable, asked), feedback)
        for scene, why in _failed_scenes(outcome):
            feedback.reportError(f"{scene}: {why}")
        return self._outputs(asked, outcome, self.switch(values, "LOAD", context), context)

    def _asked(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> BatchParameters:
        return BatchParameters(
            manifest=self.parameterAsFile(values, "FOLDER", context)
            or self.parameterAsFile(values, "MANIFEST", context),
            output=self.parameterAsString(values, parameters.OUTPUT, context),
            raster=self.switch(values, "RASTERS", context),
            probabilities=self.switch(values, "PROBABILITY_RASTERS", context),
            report=self.switch(values, "REPORTS", context),
            features=self.switch(values, parameters.FEATURES, context),
            merge=self.switch(values, "MERGE", context),
            admin=self.string(values, "ADMIN", context),
            event_date=self.string(values, "EVENT_DATE", context),
            asset=self.string(values, "ASSET", context),
            workers=self.whole(values, "WORKERS", context),
            memory=self.string(values, parameters.MEMORY, context),
            scene_memory=self.string(values, "SCENE_MEMORY", context),
            retry_failed=self.switch(values, "RETRY_FAILED", context),
            **self.scene_options(values, context, folder, feedback),
        )

    def _outputs(
        self,
        asked: BatchParameters,
        outcome: Outcome,
        load: bool,
        context: QgsProcessingContext,
    ) -> Values:
        facts = outcome.facts
        outputs: Values = {
            parameters.OUTPUT: asked.output,
            "DONE": int(facts.get("done") or 0),
            "FAILED": len(facts.get("failed") or ()),
        }
        if facts.get("report"):
            outputs[parameters.REPORT] = str(facts["report"])
        event = facts.get("event")
        if event:
            outputs["EVENT"] = str(event)
            outputs[parameters.SUMMARY] = write_page(summary_html(read_facts(event)))
            if load and context.project() is not None:
                _load_on_completion(str(event), context)
        return outputs


def _scenes() -> Iterator[QgsProcessingParameterDefinition]:
    yield parameters.explained(
        QgsProcessingParameterFile(
            "FOLDER",
            "Folder with pre/ and post/",
            QgsProcessingParameterFile.Behavior.Folder,
            optional=True,
        ),
        "Its GeoTIFFs are paired by where they lie. Give this or a list.",
    )
    yield parameters.explained(
        QgsProcessingParameterFile("MANIFEST", "List of scenes", optional=True),
        "A .csv, .geojson or .toml with the columns pre and post, or a STAC catalogue. The help "
        "names all columns. Give this or a folder.",
    )


def _batch_options() -> Iterator[QgsProcessingParameterDefinition]:
    yield parameters.text(
        "EVENT_DATE", "Date of the event", "As 2011-05-22; sorts the images of a STAC catalogue."
    )
    yield parameters.text("ASSET", "Asset", "The image among a STAC item's assets.")
    yield parameters.number(
        "WORKERS", "Parallel scenes", "As many as fit unless given.", whole=True, least=1
    )
    yield parameters.text(
        parameters.MEMORY,
        "Memory",
        "Of all scenes at a time, as 8GB; most of what is free unless given.",
    )
    yield parameters.text(
        "SCENE_MEMORY", "Memory of a scene", "What each is planned for; 1.5GB unless given."
    )
    yield parameters.switch("RETRY_FAILED", "Retry failed scenes", "")


def _failed_scenes(outcome: Outcome) -> list[tuple[str, str]]:
    failed = outcome.facts.get("failed") or {}
    return list(failed.items()) if isinstance(failed, dict) else []


def _load_on_completion(path: str, context: QgsProcessingContext) -> None:
    details = QgsProcessingContext.LayerDetails(
        "Buildings of the event", context.project(), "EVENT"
    )
    context.addLayerToLoadOnCompletion(path, details)
    Dresser.attach(context, path)
