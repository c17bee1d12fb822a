# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithms `geodamage:score` and `geodamage:masks`, for labelled pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing import parameters
from geodamage_qgis.processing.tool import ToolAlgorithm, Values, write_page
from geodamage_qgis.program.commands import (
    UNCLASSIFIED_CHOICES,
    MasksParameters,
    ScoreParameters,
    masks_command,
    score_command,
)
from geodamage_qgis.translation import tr

#: Figures of `geodamage score`, as the official scorer names them.
_SCORES = {
    "score": "Score",
    "localization_f1": "Localisation F1",
    "damage_f1": "Damage F1",
    "damage_f1_no_damage": "No damage F1",
    "damage_f1_minor_damage": "Minor damage F1",
    "damage_f1_major_damage": "Major damage F1",
    "damage_f1_destroyed": "Destroyed F1",
}


class Score(ToolAlgorithm):
    """Score predictions against labels."""

    command = "score"
    title = "Score against labels"
    about = (
        "Scores predicted masks against target masks by the official xView2 metric. The folders "
        "hold PNGs of one 8-bit channel with the values 0 to 4: "
        "{test|hold}_{localization|damage}_ID_prediction.png, and ..._target.png."
    )
    keywords = ("damage", "xview2", "xbd", "metric", "f1", "accuracy", "validation")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        declared = [
            QgsProcessingParameterFile("PREDICTIONS", "Folder of predictions", folder),
            QgsProcessingParameterFile("TARGETS", "Folder of targets", folder),
            parameters.switch(
                "PER_EVENT", "Scores per event",
                "Needs names.csv with the columns id and pair among the targets.",
            ),
            parameters.switch(
                "STRICT", "Require masks of 1024 x 1024", "As the official scorer does."
            ),
            QgsProcessingParameterFileDestination(
                parameters.OUTPUT, "Scores", "JSON (*.json)", None, True, False
            ),
        ]  # fmt: skip
        figures = [QgsProcessingOutputNumber(key.upper(), title) for key, title in _SCORES.items()]
        self.declare(declared, [*figures, QgsProcessingOutputHtml(parameters.SUMMARY, "Summary")])

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Score masks."""
        asked = ScoreParameters(
            predictions=self.parameterAsFile(values, "PREDICTIONS", context),
            targets=self.parameterAsFile(values, "TARGETS", context),
            per_event=self.switch(values, "PER_EVENT", context),
            strict=self.switch(values, "STRICT", context),
        )
        outcome = self.run_tool(score_command(self.executable(feedback), asked), feedback)
        figures = _read_json(outcome.output)
        if not asked.per_event:
            figures.pop("events", None)
        for key, title in _SCORES.items():
            feedback.pushInfo(f"{title}: {_figure(figures.get(key))}")
        outputs = {key.upper(): figures[key] for key in _SCORES if key in figures}
        outputs[parameters.SUMMARY] = write_page(_score_page(figures))
        path = self.parameterAsFileOutput(values, parameters.OUTPUT, context)
        if path:
            outputs[parameters.OUTPUT] = _write_json(path, figures)
        return outputs


class Masks(ToolAlgorithm):
    """Draw labels as masks."""

    command = "masks"
    title = "Labels to masks"
    about = (
        "Draws xBD labels as masks, exactly like the official targets. Labels of before become 0 "
        "and 1, labels of after 0 and the grades 1 to 4."
    )
    keywords = ("damage", "xview2", "xbd", "label", "target", "training")

    def initAlgorithm(self, configuration: Values | None = None) -> None:
        """Declare the parameters and outputs."""
        declared = [
            parameters.explained(
                QgsProcessingParameterMultipleLayers(
                    "LABELS", "Label files", QgsProcessing.SourceType.TypeFile, optional=True
                ),
                "xBD labels (.json).",
            ),
            parameters.explained(
                QgsProcessingParameterFile(
                    "FOLDER",
                    "Folder of labels",
                    QgsProcessingParameterFile.Behavior.Folder,
                    optional=True,
                ),
                "A folder of label files, or an xBD download with train, tier3, test and hold.",
            ),
            QgsProcessingParameterEnum(
                "UNCLASSIFIED", "Labels without a grade", list(UNCLASSIFIED_CHOICES), False,
                UNCLASSIFIED_CHOICES[0], False, True,
            ),
            parameters.overwrite(),
            QgsProcessingParameterFolderDestination(parameters.OUTPUT, "Folder of the masks"),
        ]  # fmt: skip
        outputs = [
            QgsProcessingOutputNumber("MASKS", "Masks in the folder"),
        ]
        self.declare(declared, outputs)

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse a call without labels."""
        if not values.get("LABELS") and not values.get("FOLDER"):
            raise PluginError(tr("no labels: give label files or a folder of them"))

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Draw the masks."""
        # QGIS makes one empty name of none.
        labels = [name for name in self.parameterAsFileList(values, "LABELS", context) if name]
        folder = self.string(values, "FOLDER", context)
        asked = MasksParameters(
            labels=[*labels, folder] if folder else labels,
            output=self.parameterAsString(values, parameters.OUTPUT, context),
            unclassified=self.parameterAsEnumString(values, "UNCLASSIFIED", context),
            overwrite=self.switch(values, parameters.OVERWRITE, context),
        )
        self.run_tool(masks_command(self.executable(feedback), asked), feedback)
        masks = sum(1 for _ in Path(asked.output).glob("*_target.png"))
        return {parameters.OUTPUT: asked.output, "MASKS": masks}


def _read_json(text: str) -> Values:
    try:
        figures = json.loads(text)
    except ValueError as error:
        raise PluginError(tr("the scores cannot be read; update geodamage"), text) from error
    return dict(figures)


def _write_json(path: str, figures: Values) -> str:
    try:
        Path(path).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PluginError(
            tr("{path}: cannot be written ({why})", path=path, why=error.strerror)
        ) from error
    return path


def _score_page(figures: Values) -> str:
    rows = [("All", figures), *sorted((figures.get("events") or {}).items())]
    heads = "".join(f'<th align="right">{title}</th>' for title in _SCORES.values())
    lines = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f'<td align="right">{_figure(row.get(key))}</td>' for key in _SCORES)
        + "</tr>"
        for name, row in rows
    )
    return f'<table cellpadding="4"><tr><th></th>{heads}</tr>{lines}</table>'


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"
