# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm `geodamage:import`: weights of others become a model in the list of models."""

from __future__ import annotations

import re

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import given, parameters
from geodamage_qgis.processing.tool import ToolAlgorithm, Values
from geodamage_qgis.program.exchange import ImportParameters, import_command
from geodamage_qgis.translation import tr

FILES = "FILES"
NAME = "NAME"


class ImportModel(ToolAlgorithm):
    """Make a model of weights that others publish, and put it into the list of models."""

    command = "import"
    title = "Import a model"
    about = (
        "Makes a model of weights that others publish, or of an ONNX file of another program, and "
        "puts it into the list of models. 'geodamage models list --published' says which weights "
        "there are and where; nothing is downloaded. Respect their licences."
    )
    keywords = ("model", "weights", "onnx", "import", "checkpoint")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        files = QgsProcessingParameterMultipleLayers(
            FILES, "Weights", QgsProcessing.SourceType.TypeFile
        )
        declared = [
            parameters.explained(files, "A checkpoint or an ONNX file, or those of an ensemble."),
            parameters.explained(
                QgsProcessingParameterString(NAME, "Name of the model"),
                "Letters, digits, hyphens and underscores.",
            ),
            parameters.text("LICENCE", "Licence of the weights", "It stands in every result."),
            parameters.text(
                "CONVENTION",
                "Convention of an ONNX file",
                "Name or .toml file: how it takes images, and what its channels mean.",
            ),
            parameters.overwrite(),
        ]
        self.declare(declared, [QgsProcessingOutputString(parameters.MODEL, "Model")])

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse files that are not there, and names that are no names."""
        for path in self._files(values, context):
            given.check_file(path)
        name = self.string(values, NAME, context) or ""
        if not re.fullmatch(r"\w[\w-]*", name):
            raise PluginError(
                tr(
                    "{name}: no name of a model; take letters, digits, hyphens and underscores",
                    name=name,
                )
            )
        if name in settings.KNOWN_MODELS:
            raise PluginError(
                tr("{name}: a model of the program has this name; take another", name=name)
            )

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Import the model."""
        name = self.parameterAsString(values, NAME, context).strip()
        asked = ImportParameters(
            files=self._files(values, context),
            output=name,
            licence=self.string(values, "LICENCE", context),
            convention=self.string(values, "CONVENTION", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(import_command(self.executable(feedback), asked), feedback)
        settings.set_models([*settings.models(), name])
        return {parameters.MODEL: name}

    def _files(self, values: Values, context: QgsProcessingContext) -> list[str]:
        # QGIS makes one empty name of none.
        return [path for path in self.parameterAsFileList(values, FILES, context) if path]
