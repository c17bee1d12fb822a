# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithms of a new event: `geodamage:sample`, `:estimate`, `:adapt` and `:regrade`."""

from __future__ import annotations

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterVectorLayer,
)

from geodamage_qgis.processing import parameters
from geodamage_qgis.processing.result_files import (
    POLYGONS,
    RESULT,
    RESULTS,
    ResultAlgorithm,
    areas,
    paths_of,
    results,
)
from geodamage_qgis.processing.tool import Dresser, Values, write_page
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
from geodamage_qgis.translation import tr

SAMPLE = "SAMPLE"
WORDS = ("damage", "sample", "review", "estimate", "adapt", "learn", "accuracy", "interval")


class Sample(ResultAlgorithm):
    """Draw a sample of buildings for a person to review."""

    command = "sample"
    title = "Sample buildings to look at"
    about = (
        "Draws the buildings that a person should look at: strata by predicted grade and by how "
        "sure the model is, spread over the ground. Open the sample in the review, answer by the "
        "keys 1 to 4, X (no building) and U (unclear), then run 'Estimate totals' or 'Learn from "
        "answers'."
    )
    keywords = WORDS
    layers = (RESULTS, "BY")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            results(),
            parameters.number(
                "NUMBER", "Buildings to look at", "100 unless given.", whole=True, least=1
            ),
            parameters.choice(
                "PURPOSE", "Purpose",
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
            *areas("Areas with strata of their own"),
            parameters.advanced(
                parameters.switch(
                    "FAMILIARITY", "Strata of unfamiliar surroundings",
                    "The quarter that looks least like the training imagery; needs features.",
                )
            ),
            parameters.overwrite(),
            parameters.result(),
        ]  # fmt: skip
        outputs = [
            QgsProcessingOutputNumber("BUILDINGS", "Buildings to look at"),
        ]
        self.declare(declared, outputs)

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
            familiarity=self.switch(values, "FAMILIARITY", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(sample_command(self.executable(feedback), asked), feedback)
        drawn = read_facts(asked.output).content.get("drawn_for")
        count = sum(drawn.values()) if isinstance(drawn, dict) else 0
        return {parameters.OUTPUT: asked.output, "BUILDINGS": count}


class Estimate(ResultAlgorithm):
    """Estimate how many buildings have each grade, with intervals."""

    command = "estimate"
    title = "Estimate totals"
    about = (
        "Estimates how many buildings have each grade, with 95 % intervals, by a sample that "
        "people looked at. The answers are those of the sample unless files of answers are given: "
        "tables, journals, or what the form of a report saved."
    )
    keywords = WORDS
    layers = (RESULTS, SAMPLE, "BY", "CELLS")
    files = ("ANSWERS",)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        cells = QgsProcessingParameterVectorLayer(
            "CELLS", "Cells that were looked at in full", [POLYGONS], None, True
        )
        declared = [
            results(),
            QgsProcessingParameterVectorLayer(SAMPLE, "Sample", [POLYGONS]),
            parameters.explained(
                QgsProcessingParameterMultipleLayers(
                    "ANSWERS", "Files of answers", QgsProcessing.SourceType.TypeFile, optional=True
                ),
                "One for each reviewer: .csv, .json or .reviews.jsonl.",
            ),
            parameters.choice(
                "CONFLICTS", "Where reviewers differ", "What counts then.", CONFLICT_CHOICES
            ),
            *areas("Areas to estimate each of"),
            parameters.advanced(parameters.explained(cells, "They show what was missed.")),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "Estimate", "JSON (*.json)", None, True, False
            ),
        ]
        outputs = [
            QgsProcessingOutputNumber("DAMAGED", "Damaged buildings"),
            QgsProcessingOutputNumber("DAMAGED_LOW", "Damaged buildings, lower end"),
            QgsProcessingOutputNumber("DAMAGED_HIGH", "Damaged buildings, upper end"),
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
        ]
        self.declare(declared, outputs)

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Estimate, and show the totals."""
        output = self.parameterAsFileOutput(values, parameters.OUTPUT, context) or None
        asked = EstimateParameters(
            results=self._files[RESULTS],
            reviewed=str(self.file(SAMPLE)),
            answers=paths_of(values.get("ANSWERS")),
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


class Adapt(ResultAlgorithm):
    """Learn from answers what damage looks like in this event."""

    command = "adapt"
    title = "Learn from answers"
    about = (
        "Learns from answers what damage looks like in this event. It is tried on ground that it "
        "has not seen, and nothing is written where that does not show a gain. The results need "
        "features: give a file for them in 'Assess building damage'."
    )
    keywords = WORDS
    layers = (RESULTS,)
    files = ("ANSWERS",)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            results(),
            parameters.explained(
                QgsProcessingParameterFile("ANSWERS", "Answers"),
                "A sample with its answers, a table, a journal, or what the form of a report "
                "saved.",
            ),
            parameters.switch("FORCE", "Write it even where it is not shown to help", ""),
            parameters.overwrite(),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "Event model", tr("Event models (*.toml)")
            ),
        ]
        outputs = [
            QgsProcessingOutputBoolean("HELPS", "Shown to help"),
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
        ]
        self.declare(declared, outputs)

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


class Regrade(ResultAlgorithm):
    """Give a result the grades of an event model."""

    command = "regrade"
    title = "Grade anew by what was learnt"
    about = (
        "Gives a result the grades of an event model, without running the images again. Buildings "
        "that were looked at keep the grade that they were given."
    )
    keywords = WORDS
    layers = (RESULT,)
    files = ("MODEL",)

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            QgsProcessingParameterVectorLayer(RESULT, "Result", [POLYGONS]),
            QgsProcessingParameterFile(
                "MODEL", "Event model", fileFilter=tr("Event models (*.toml)")
            ),
            parameters.overwrite(),
            parameters.result(),
        ]
        outputs = [
            QgsProcessingOutputHtml(parameters.SUMMARY, "Summary"),
        ]
        self.declare(declared, outputs)

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Grade the result again."""
        asked = RegradeParameters(
            result=str(self.file(RESULT)),
            model=self.parameterAsFile(values, "MODEL", context),
            output=self.parameterAsOutputLayer(values, parameters.OUTPUT, context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(regrade_command(self.executable(feedback), asked), feedback)
        Dresser.attach(context, asked.output)
        summary = write_page(summary_html(read_facts(asked.output)))
        return {parameters.OUTPUT: asked.output, parameters.SUMMARY: summary}
