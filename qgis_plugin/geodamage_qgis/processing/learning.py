# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithms of a new event: `geodamage:sample`, `:estimate`, `:adapt` and `:regrade`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterVectorLayer,
    QgsVectorLayer,
)
from qgis.core import QgsProcessingParameterDefinition as Parameter

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import given, parameters
from geodamage_qgis.processing.tool import Dresser, ToolAlgorithm, Values, write_page
from geodamage_qgis.program.facts import read_facts, summary_html
from geodamage_qgis.program.learning import (
    CONFLICT_CHOICES,
    DESIGN_CHOICES,
    PURPOSE_CHOICES,
    AdaptParameters,
    EstimateParameters,
    RegradeParameters,
    SampleParameters,
    adapt_command,
    adapt_html,
    estimate_command,
    estimate_html,
    read_figures,
    regrade_command,
    sample_command,
)
from geodamage_qgis.results.results import output_path

RESULTS = "RESULTS"
SAMPLE = "SAMPLE"
_POLYGONS = QgsProcessing.SourceType.TypeVectorPolygon


class LearningAlgorithm(ToolAlgorithm):
    """What the algorithms of a new event have in common: they take results, as files."""

    keywords = ("damage", "sample", "review", "estimate", "adapt", "learn", "accuracy", "interval")
    #: Parameters of layers: the tool takes their files.
    layers: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, list[str]] = {}

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse files that are not there."""
        for name in ("ANSWERS", "AREAS", "MODEL"):
            if self.parameterDefinition(name) is not None:
                for path in _paths_of(values.get(name)):
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
            found = [self.parameterAsVectorLayer(values, name, context)]
        return [_file_of(layer) for layer in found if layer is not None]

    def file(self, name: str) -> str | None:
        """Return the file of a layer that was given, or None."""
        return next(iter(self._files.get(name, ())), None)


class Sample(LearningAlgorithm):
    """Draw a sample of buildings for a person to review."""

    command = "sample"
    title = "Sample buildings to look at"
    about = (
        "Draws the buildings that a person should look at: strata by predicted grade and by how "
        "sure the model is, spread over the ground. Open the sample in the review, answer by the "
        "keys 1 to 4, X (no building) and U (unclear), then run 'Estimate totals' or 'Learn from "
        "answers'."
    )
    layers = (RESULTS, "BY")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            _results(),
            parameters.number(
                "NUMBER", "Buildings to look at", "100 unless given.", whole=True, least=1
            ),
            parameters.choice(
                "PURPOSE", "For",
                "estimate: drawn by chance, for totals; adapt: those that teach a model most.",
                PURPOSE_CHOICES,
            ),
            parameters.number(
                "ESTIMATE_SHARE", "Share for an estimate",
                "Of a sample for adapt: what is drawn by chance, so that it serves both.", most=1,
            ),
            parameters.choice(
                "DESIGN", "Design",
                "stratified: by grade and certainty; simple: each with the same chance.",
                DESIGN_CHOICES,
            ),
            parameters.number(
                "SEED", "Seed", "The same draws the same sample; 0 unless given.", whole=True
            ),
            *_areas("Areas with strata of their own"),
            parameters.overwrite(),
            parameters.result(),
        ]  # fmt: skip
        for parameter in declared:
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputNumber("BUILDINGS", "Buildings to look at"))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Draw the sample."""
        asked = SampleParameters(
            results=self._files[RESULTS],
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            number=self.whole(values, "NUMBER", context),
            design=self.parameterAsEnumString(values, "DESIGN", context),
            purpose=self.parameterAsEnumString(values, "PURPOSE", context),
            estimate_share=self.decimal(values, "ESTIMATE_SHARE", context),
            seed=self.whole(values, "SEED", context),
            by=self.file("BY"),
            admin_name=self.string(values, "ADMIN_NAME", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(sample_command(self.executable(feedback), asked), feedback)
        drawn = read_facts(asked.output).content.get("drawn_for")
        count = sum(drawn.values()) if isinstance(drawn, dict) else 0
        return {parameters.OUTPUT: asked.output, "BUILDINGS": count}


class Estimate(LearningAlgorithm):
    """Estimate how many buildings have each grade, with intervals."""

    command = "estimate"
    title = "Estimate totals"
    about = (
        "Estimates how many buildings have each grade, with 95 % intervals, by a sample that "
        "people looked at. The answers are those of the sample unless files of answers are given: "
        "tables, journals, or what the form of a report saved."
    )
    layers = (RESULTS, SAMPLE, "BY", "CELLS")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        cells = QgsProcessingParameterVectorLayer(
            "CELLS", "Cells that were looked at in full", [_POLYGONS], None, True
        )
        declared = [
            _results(),
            QgsProcessingParameterVectorLayer(SAMPLE, "Sample", [_POLYGONS]),
            parameters.explained(
                QgsProcessingParameterMultipleLayers(
                    "ANSWERS", "Files of answers", QgsProcessing.SourceType.TypeFile, optional=True
                ),
                "One for each reviewer: .csv, .json or .reviews.jsonl.",
            ),
            parameters.choice(
                "CONFLICTS", "Where reviewers differ", "What counts then.", CONFLICT_CHOICES
            ),
            *_areas("Areas to estimate each of"),
            parameters.advanced(parameters.explained(cells, "They show what was missed.")),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "Estimate", "JSON (*.json)", None, True, False
            ),
        ]
        for parameter in declared:
            self.addParameter(parameter)
        for name in ("DAMAGED", "DAMAGED_LOW", "DAMAGED_HIGH"):
            title = name.replace("_", ", ").capitalize()
            self.addOutput(QgsProcessingOutputNumber(name, title))
        self.addOutput(QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Estimate, and show the totals."""
        output = self.parameterAsFileOutput(values, parameters.OUTPUT, context) or None
        asked = EstimateParameters(
            results=self._files[RESULTS],
            reviewed=str(self.file(SAMPLE)),
            answers=_paths_of(values.get("ANSWERS")),
            conflicts=self.parameterAsEnumString(values, "CONFLICTS", context),
            by=self.file("BY"),
            admin_name=self.string(values, "ADMIN_NAME", context),
            areas=self.file("CELLS"),
            output=output,
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        argv = estimate_command(self.executable(feedback), asked)
        figures = read_figures(self.run_tool(argv, feedback).output)
        damaged = figures["damaged"]
        outputs: Values = {
            "DAMAGED": damaged["total"],
            "DAMAGED_LOW": damaged["low"],
            "DAMAGED_HIGH": damaged["high"],
            parameters.SUMMARY: write_page(estimate_html(figures)),
        }
        return {**outputs, parameters.OUTPUT: output} if output else outputs


class Adapt(LearningAlgorithm):
    """Learn from answers what damage looks like in this event."""

    command = "adapt"
    title = "Learn from answers"
    about = (
        "Learns from answers what damage looks like in this event. It is tried on ground that it "
        "has not seen, and nothing is written where that does not show a gain. The results need "
        "features: give a file for them in 'Assess building damage'."
    )
    layers = (RESULTS,)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            _results(),
            parameters.explained(
                QgsProcessingParameterFile("ANSWERS", "Answers"),
                "A sample with its answers, a table, a journal, or what the form of a report "
                "saved.",
            ),
            parameters.switch("FORCE", "Write it even where it is not shown to help", ""),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "Event model", "Event models (*.toml)"
            ),
        ]
        for parameter in declared:
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputBoolean("HELPS", "Shown to help"))
        self.addOutput(QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Learn, and show what it gained."""
        asked = AdaptParameters(
            results=self._files[RESULTS],
            reviewed=self.parameterAsFile(values, "ANSWERS", context),
            output=self.parameterAsFileOutput(values, parameters.OUTPUT, context),
            force=self.switch(values, "FORCE", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        argv = adapt_command(self.executable(feedback), asked)
        figures = read_figures(self.run_tool(argv, feedback).output)
        return {
            parameters.OUTPUT: asked.output,
            "HELPS": bool(figures.get("helps", True)),
            parameters.SUMMARY: write_page(adapt_html(figures)),
        }


class Regrade(LearningAlgorithm):
    """Give a result the grades of an event model."""

    command = "regrade"
    title = "Grade anew by what was learnt"
    about = (
        "Gives a result the grades of an event model, without running the images again. Buildings "
        "that were looked at keep the grade that they were given."
    )
    layers = ("RESULT",)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            QgsProcessingParameterVectorLayer("RESULT", "Result", [_POLYGONS]),
            QgsProcessingParameterFile("MODEL", "Event model", fileFilter="Event models (*.toml)"),
            parameters.overwrite(),
            parameters.result(),
        ]
        for parameter in declared:
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Grade the result anew."""
        asked = RegradeParameters(
            result=str(self.file("RESULT")),
            model=self.parameterAsFile(values, "MODEL", context),
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(regrade_command(self.executable(feedback), asked), feedback)
        Dresser.attach(context, asked.output)
        summary = write_page(summary_html(read_facts(asked.output)))
        return {parameters.OUTPUT: asked.output, parameters.SUMMARY: summary}


def _results() -> Parameter:
    return parameters.explained(
        QgsProcessingParameterMultipleLayers(RESULTS, "Results", _POLYGONS),
        "Of 'Assess building damage'; a building that several show counts once.",
    )


def _areas(title: str) -> list[Parameter]:
    """Return the parameters of administrative areas."""
    layer = QgsProcessingParameterVectorLayer("BY", title, [_POLYGONS], None, True)
    field = QgsProcessingParameterField(
        "ADMIN_NAME", "Field with the names of the areas", None, "BY", optional=True
    )
    return [parameters.advanced(layer), parameters.advanced(field)]


def _file_of(layer: Any) -> str:
    """Return the file of a layer.

    Raises
    ------
    PluginError
        If it has none.
    """
    path = output_path(layer) if isinstance(layer, QgsVectorLayer) else None
    if path is None or not Path(path).is_file():
        raise PluginError(f"{layer.name()}: is no file; give a result that was written to one")
    return str(path)


def _paths_of(value: Any) -> list[str]:
    listed = value if isinstance(value, (list, tuple)) else [value]
    return [str(path) for path in listed if path]
