# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm `geodamage:buildings`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
)

from geodamage_qgis.processing import given, parameters
from geodamage_qgis.processing.scene import SceneAlgorithm, result_outputs
from geodamage_qgis.processing.tool import Values, scratch_folder
from geodamage_qgis.program.commands import BuildingsParameters, buildings_command
from geodamage_qgis.program.facts import read_facts


class Buildings(SceneAlgorithm):
    """Find the buildings of one image."""

    command = "buildings"
    title = "Find buildings"
    about = (
        "Finds the buildings of one image. The result is one polygon per building with the "
        "probability that it is one and a status, and without a grade; its facts are in a file "
        "beside it (OUTPUT.json). 'Assess building damage' takes it as footprints. "
        "Preliminary, automatic, not validated in the field.\n\n"
        "Runs the geodamage program; where it is, is set in GeoDamage > Set up."
    )
    keywords = ("building", "footprint", "outline", "roof", "localisation", "mapping")
    images = (parameters.IMAGE,)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            parameters.image(),
            *parameters.models(),
            *parameters.areas(),
            *parameters.building_options(),
            parameters.former(),
            parameters.memory(),
            parameters.overwrite(),
            parameters.result(),
            parameters.raster_file(
                parameters.RASTER, "Building raster",
                "A cloud-optimised GeoTIFF: 1 where there is a building.",
            ),
            parameters.raster_file(
                parameters.PROBABILITIES, "Probability raster",
                "A cloud-optimised GeoTIFF of the probability of a building.",
            ),
        ]  # fmt: skip
        outputs = [
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
            QgsProcessingOutputNumber("BUILDINGS", "Buildings"),
        ]
        self.declare(declared, outputs)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse results that are no file, too."""
        super().check(values, context)
        given.check_file(self.string(values, parameters.IDS_FROM, context))
        self.check_output(values, context)

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Find the buildings; they have no grade, so their layer is not dressed as a result."""
        executable = self.executable(feedback)
        with scratch_folder() as folder:
            asked = self._asked(values, context, folder, feedback)
            argv = buildings_command(executable, asked)
            self.run_tool(argv, feedback, outputs=asked.outputs)
        return result_outputs(asked, read_facts(asked.output))

    def _asked(
        self,
        values: Values,
        context: QgsProcessingContext,
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> BuildingsParameters:
        options = self.scene_options(values, context, folder, feedback)
        return BuildingsParameters(
            image=self.image(parameters.IMAGE, "input", values, context, folder, feedback),
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            threshold=self.decimal(values, parameters.THRESHOLD, context),
            raster=self.layer_file(values, parameters.RASTER, context),
            probabilities=self.layer_file(values, parameters.PROBABILITIES, context),
            ids_from=self.string(values, parameters.IDS_FROM, context),
            memory=self.string(values, parameters.MEMORY, context),
            **options,
        )
