# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Processing algorithms have in common: each runs a command of the tool."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
)
from qgis.PyQt.QtGui import QIcon

from geodamage_qgis import settings
from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.processing.following import follow
from geodamage_qgis.program.commands import SHAPEFILE
from geodamage_qgis.program.executable import on_path
from geodamage_qgis.program.runner import Outcome, Run
from geodamage_qgis.results import layers
from geodamage_qgis.translation import tr

ICON = Path(__file__).parents[1] / "icon.svg"

Values = dict[str, Any]


class Dresser(QgsProcessingLayerPostProcessorInterface):
    """Styles and describes a layer that Processing has loaded."""

    @classmethod
    def attach(cls, context: QgsProcessingContext, output: str) -> None:
        """Dress a layer as soon as it is loaded, if it is going to be; a Shapefile lacks names."""
        if not output.lower().endswith(SHAPEFILE) and context.willLoadLayerOnCompletion(output):
            dresser = cls()
            _dressers.append(dresser)
            context.layerToLoadOnCompletionDetails(output).setPostProcessor(dresser)

    def postProcessLayer(
        self, layer: Any, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Dress a layer, or say why not."""
        try:
            layers.dress(layer)
        except PluginError as error:
            feedback.pushWarning(str(error))


#: QGIS keeps no reference to the Python half of what it is given; the last hundred are enough.
_dressers: deque[Dresser] = deque(maxlen=100)


class ToolAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that runs a command of the tool; the others fill it in.

    Attributes
    ----------
    command
        Of the tool; the name of the algorithm, too.
    title, about
        Its name for people, and what it does.
    """

    command = ""
    title = ""
    about = ""
    _variables: Mapping[str, str] = {}
    keywords: tuple[str, ...] = (
        "damage",
        "disaster",
        "building",
        "change",
        "earthquake",
        "storm",
        "flood",
        "fire",
    )

    def name(self) -> str:
        """Return the name without the provider's."""
        return self.command

    def displayName(self) -> str:
        """Return the name for people."""
        return tr(self.title)

    def shortHelpString(self) -> str:
        """Return what the dialog and `qgis_process help` show."""
        return tr(self.about)

    def tags(self) -> list[str]:
        """Return words by which it is found, too."""
        return list(self.keywords)

    def icon(self) -> QIcon:
        """Return the plugin's icon."""
        return QIcon(str(ICON))

    def createInstance(self) -> ToolAlgorithm:
        """Return a new one."""
        return type(self)()

    def declare(self, declared: Iterable[Any], outputs: Iterable[Any] = ()) -> None:
        """Add parameters and outputs, with their words in the language of QGIS."""
        for parameter in declared:
            parameter.setDescription(tr(parameter.description()))
            parameter.setHelp(tr(parameter.help()))
            self.addParameter(parameter)
        for output in outputs:
            output.setDescription(tr(output.description()))
            self.addOutput(output)

    def canExecute(self) -> tuple[bool, str]:
        """Say whether there is a program to run; whether it works is found out when it runs."""
        try:
            _check_located()
        except PluginError as error:
            return False, str(error)
        return True, ""

    def checkParameterValues(
        self, values: Values, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Say whether what was filled in can be used, by the first thing that cannot."""
        try:
            self.check(values, context)
        except PluginError as error:
            return False, str(error)
        return super().checkParameterValues(values, context)

    def processAlgorithm(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Run the command; an error is its one line, and what else it said is in the log."""
        try:
            return self.work(values, context, feedback)
        except CancelledError as error:
            if not feedback.isCanceled():  # by a signal, of which QGIS knows nothing
                raise QgsProcessingException(str(error)) from error
            feedback.pushInfo(str(error))
            return {}
        except PluginError as error:
            if error.details:
                feedback.pushDebugInfo(error.details)
            raise QgsProcessingException(str(error)) from error

    def check(self, values: Values, context: QgsProcessingContext) -> None:
        """Refuse by a `PluginError` what cannot be used."""

    def work(
        self, values: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Values:
        """Do the work and return the outputs; errors are `PluginError`s."""
        raise NotImplementedError

    def run_tool(
        self, argv: list[str], feedback: QgsProcessingFeedback, *, outputs: Iterable[str] = ()
    ) -> Outcome:
        """Run a command line; see `follow`."""
        feedback.pushCommandInfo(" ".join(_quoted(word) for word in argv))
        run = Run(argv, outputs=outputs, environment_variables=self._variables)
        return follow(run, feedback)

    def executable(self, feedback: QgsProcessingFeedback) -> str:
        """Return the program, after it has said that it is one."""
        found = settings.find()
        feedback.pushInfo(str(found))
        return str(found.path)

    def string(self, values: Values, name: str, context: QgsProcessingContext) -> str | None:
        """Return words that were filled in, or None."""
        if self._is_unset(values, name):
            return None
        return self.parameterAsString(values, name, context).strip() or None

    def whole(self, values: Values, name: str, context: QgsProcessingContext) -> int | None:
        """Return a whole number that was filled in, or None."""
        return None if self._is_unset(values, name) else self.parameterAsInt(values, name, context)

    def decimal(self, values: Values, name: str, context: QgsProcessingContext) -> float | None:
        """Return a number that was filled in, or None."""
        if self._is_unset(values, name):
            return None
        return self.parameterAsDouble(values, name, context)

    def switch(self, values: Values, name: str, context: QgsProcessingContext) -> bool:
        """Return whether something is switched on."""
        return bool(self.parameterAsBoolean(values, name, context))

    def _is_unset(self, values: Values, name: str) -> bool:
        definition = self.parameterDefinition(name)
        given = values.get(name, definition.defaultValue() if definition else None)
        return given is None or given == ""


def _check_located() -> None:
    """Refuse where there is no program; starts nothing, for it is asked often."""
    named, own = settings.executable(), settings.environment_folder()
    there = Path(named).expanduser().exists() if named else own.exists() or any(on_path())
    if not there:
        settings.find()


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word or not word else word


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for what only a run needs, and remove it after."""
    folder = Path(tempfile.mkdtemp(prefix="geodamage_", dir=QgsProcessingUtils.tempFolder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_page(body: str) -> str:
    """Write a page for the results viewer, and return its path."""
    path = QgsProcessingUtils.generateTempFilename("geodamage.html")
    head = '<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>'
    Path(path).write_text(f"{head}\n{body}\n</body></html>\n", encoding="utf-8")
    return path
