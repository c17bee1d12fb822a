# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm `geodamage:assess`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFileDestination,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import given, parameters, sources
from geodamage_qgis.processing.scene import GradingAlgorithm, result_outputs
from geodamage_qgis.processing.tool import Dresser, Values, scratch_folder
from geodamage_qgis.program.commands import AssessParameters, assess_command
from geodamage_qgis.program.facts import read_facts
from geodamage_qgis.translation import tr


class Assess(GradingAlgorithm):
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

    images = (parameters.PRE, parameters.POST)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            *parameters.images(),
            *parameters.models(),
            *parameters.footprints(),
            *parameters.areas(),
            *parameters.scene_options(),
            parameters.former(),
            parameters.memory(),
            parameters.overwrite(),
            parameters.result(),
            parameters.raster_file(
                parameters.RASTER, "Damage raster",
                "A cloud-optimised GeoTIFF of the grades 1 to 4.",
            ),
            parameters.raster_file(
                parameters.PROBABILITIES, "Probability raster",
                "A cloud-optimised GeoTIFF of five bands: no building, and the four grades.",
            ),
            _page(),
            _features(),
        ]  # fmt: skip
        outputs = [
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
            QgsProcessingOutputNumber("BUILDINGS", "Buildings"),
            QgsProcessingOutputNumber("DAMAGED", "Damaged buildings"),
        ]
        self.declare(declared, outputs)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse results that are no file, and one image as both dates, too."""
        super().check(values, context)
        self.check_output(values, context)
        self._check_dates(values, context)
        former = self.string(values, parameters.IDS_FROM, context)
        given.check_file(former)
        if former and self._is_given(values, parameters.FOOTPRINTS):
            raise PluginError(
                tr(
                    "an earlier result and footprints, which have ids of their own: give one of "
                    "the two"
                )
            )

    def _check_dates(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse an image that is of both dates: it would show no damage."""
        places: dict[tuple[str, str], str] = {}
        for name in self.images:
            for layer in self.parameterAsLayerList(values, name, context):
                source = sources.raster_source(layer)
                if places.setdefault(source.place, name) != name:
                    raise PluginError(
                        tr(
                            "{source}: given as the image before and as the image after; choose "
                            "another for one of them",
                            source=source.name,
                        )
                    )

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
            self.image(name, name.lower(), values, context, folder, feedback)
            for name in self.images
        )
        output = self.parameterAsOutputLayer(values, parameters.OUTPUT, context)
        features = self.parameterAsFileOutput(values, parameters.FEATURES, context) or None
        if values.get(parameters.FEATURES) == QgsProcessing.TEMPORARY_OUTPUT:
            # The tool finds them beside the result, and QGIS has a folder for each temporary file.
            features = str(Path(output).with_suffix(".npz"))
        return AssessParameters(
            pre=pre,
            post=post,
            output=output,
            raster=self.layer_file(values, parameters.RASTER, context),
            probabilities=self.layer_file(values, parameters.PROBABILITIES, context),
            report=self.parameterAsFileOutput(values, parameters.REPORT, context) or None,
            features=features,
            ids_from=self.string(values, parameters.IDS_FROM, context),
            memory=self.string(values, parameters.MEMORY, context),
            **options,
        )

    def _outputs(self, asked: AssessParameters) -> Values:
        facts = read_facts(asked.output)
        grades = facts.grades
        outputs = result_outputs(asked, facts)
        outputs["DAMAGED"] = sum(grades.values()) - grades.get("no-damage", 0)
        if asked.report:
            outputs[parameters.REPORT] = asked.report
        if asked.features:
            outputs[parameters.FEATURES] = asked.features
        return outputs


def _page() -> QgsProcessingParameterDefinition:
    page = QgsProcessingParameterFileDestination(
        parameters.REPORT, "Report", "HTML (*.html)", None, True, False
    )
    return parameters.explained(page, "A page for people that opens offline.")


def _features() -> QgsProcessingParameterDefinition:
    file = QgsProcessingParameterFileDestination(
        parameters.FEATURES, "Features", tr("Features (*.npz)"), None, True, False
    )
    return parameters.explained(
        file, "What the model can learn this event from; 'Learn from answers' needs them."
    )
