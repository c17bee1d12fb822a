# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a new event in the review: look at some buildings, estimate, learn, grade again."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QTextOption
from qgis.PyQt.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.background import Workers
from geodamage_qgis.program.facts import read_facts
from geodamage_qgis.program.learning import (
    MODEL_END,
    REGRADED_END,
    SAMPLE_END,
    AdaptParameters,
    EstimateParameters,
    RegradeParameters,
    SampleParameters,
    adapt_command,
    adapt_html,
    beside,
    estimate_command,
    estimate_html,
    grades_html,
    read_figures,
    regrade_command,
    sample_command,
)
from geodamage_qgis.program.runner import Outcome, Run
from geodamage_qgis.results.journal import journal_path
from geodamage_qgis.review.walk import Walk
from geodamage_qgis.translation import tr

#: Buildings to look at unless somebody wants others: most people take less than half an hour.
USUAL = 60
ABOUT = (
    "Look at some buildings that are drawn by chance. Your answers give totals with intervals,"
    " and they can teach the model this event."
)
ABOUT_SAMPLE = (
    "Say what you see, by the keys 1 to 4, X and U. Those who stop early have looked at a fair"
    " part."
)
#: Fewest answers that the program learns from.
FEWEST = 10


class EventPanel(QWidget):
    """The steps of a new event, each a button, and what came of the last one.

    Signals: `drawn` with the path of a sample, `regraded` with the paths of new results.

    Parameters
    ----------
    results
        Files that the review's layer stands for.
    reviewed
        File that the answers are written to: the sample, or the result itself.
    in_sample
        Whether that is a sample.
    """

    drawn = pyqtSignal(str)
    regraded = pyqtSignal(list)

    def __init__(self, results: Sequence[Path], reviewed: Path | None, *, in_sample: bool) -> None:
        super().__init__()
        self._results, self._reviewed, self._in_sample = list(results), reviewed, in_sample
        self._workers = Workers()
        self._answered = 0
        self._build()
        self._enable()

    def show_progress(self, walk: Walk) -> None:
        """Show how many buildings are answered."""
        self._answered = walk.reviewed
        self.bar.setRange(0, max(len(walk), 1))
        self.bar.setValue(walk.reviewed)
        self.bar.setFormat(
            tr("{answered} of {count} answered", answered=walk.reviewed, count=len(walk))
        )
        self._enable()

    def finish(self) -> None:
        """End what runs, and hear of nothing any more."""
        self._workers.forget()

    # The steps -------------------------------------------------------------------------------

    def look(self) -> None:
        """Draw a sample of the result; one that was drawn before is gone on with."""
        path = beside(self._results[0], SAMPLE_END)
        if path.is_file():
            self.drawn.emit(str(path))
            return
        asked = SampleParameters(self._names(), str(path), self.number.value())
        self._run(
            tr("Drawing the sample …"),
            lambda program: [sample_command(program, asked)],
            lambda _outcomes: self.drawn.emit(str(path)),
        )

    def estimate(self) -> None:
        """Estimate the totals by the answers, and show them."""
        asked = EstimateParameters(self._names(), str(self._reviewed))
        self._run(
            tr("Estimating …"),
            lambda program: [estimate_command(program, asked)],
            lambda outcomes: self._tell(estimate_html(read_figures(outcomes[0].output))),
        )

    def learn(self) -> None:
        """Learn from the answers, and show what that gains."""
        path = beside(self._results[0], MODEL_END)
        asked = AdaptParameters(self._names(), str(self._answers()), str(path), overwrite=True)
        self._run(
            tr("Learning …"),
            lambda program: [adapt_command(program, asked)],
            lambda outcomes: self._show_learnt(outcomes[0], path),
            may_fail=True,
        )

    def grade_anew(self) -> None:
        """Give the results the grades of what was learnt."""
        model = beside(self._results[0], MODEL_END)
        asked = [
            RegradeParameters(str(path), str(model), str(beside(path, REGRADED_END)), True)
            for path in self._results
        ]
        self._run(
            tr("Grading anew …"),
            lambda program: [regrade_command(program, one) for one in asked],
            lambda _outcomes: self._show_regraded([one.output for one in asked]),
        )

    def _show_learnt(self, outcome: Outcome, path: Path) -> None:
        page = adapt_html(read_figures(outcome.output)) if outcome.output.strip() else ""
        if outcome.error is not None:
            # What to say on a command line is of no use to who has a window.
            why = html.escape(outcome.error.removesuffix(", or give --force"))
            page += "<p>" + tr("<b>Not taken:</b> {why}", why=why) + "</p>"
        else:
            page += "<p>" + tr("It helps; written to {file}.", file=html.escape(path.name)) + "</p>"
        self._tell(page)

    def _show_regraded(self, outputs: list[str]) -> None:
        before = [read_facts(path).grades for path in self._results]
        after = [read_facts(path).grades for path in outputs]
        self._tell(grades_html(before, after))
        self.regraded.emit(outputs)

    # Running ---------------------------------------------------------------------------------

    def _run(
        self,
        words: str,
        commands: Callable[[str], list[list[str]]],
        done: Callable[[list[Outcome]], None],
        *,
        may_fail: bool = False,
    ) -> None:
        """Run commands one after the other, beside QGIS; what they came to is shown at the end."""
        runs: list[Run] = []

        def job() -> list[Outcome]:
            outcomes = []
            for argv in commands(str(settings.find().path)):
                runs.append(Run(argv))
                outcome = runs[-1].result()
                outcomes.append(outcome if may_fail and not outcome.cancelled else outcome.check())
            return outcomes

        def cancel() -> None:
            for run in runs:
                run.cancel()

        def end(outcomes: list[Outcome]) -> None:
            try:
                done(outcomes)
            except PluginError as error:
                self._fail(error)
            self._enable()

        self._tell(f"<p>{words}</p>")
        self._workers.begin(
            job,
            succeeded=end,
            failed=self._fail,
            cancel=cancel,
        )
        self._enable()

    def _fail(self, error: PluginError) -> None:
        self._tell(f"<p><b>{html.escape(str(error))}</b></p>")
        self._enable()

    def _tell(self, page: str) -> None:
        self.told.setHtml(page)

    def _names(self) -> list[str]:
        return [str(path) for path in self._results]

    def _answers(self) -> Path | None:
        """Return what answers are read from: a sample says by its design what each stands for."""
        if self._reviewed is None or self._in_sample:
            return self._reviewed
        return journal_path(self._reviewed)

    def _enable(self) -> None:
        """Let only those steps be taken that can be."""
        idle = self._workers.idle and bool(self._results) and self._reviewed is not None
        enough = self._answered >= FEWEST
        self.look_button.setEnabled(idle and not self._in_sample)
        self.number.setEnabled(idle and not self._in_sample)
        self.estimate_button.setEnabled(idle and self._in_sample and enough)
        self.learn_button.setEnabled(idle and enough)
        there = bool(self._results) and beside(self._results[0], MODEL_END).is_file()
        self.regrade_button.setEnabled(idle and there)
        why = "" if enough else " " + tr("({count} answers are the fewest)", count=FEWEST)
        self.estimate_button.setToolTip(
            tr("Totals of each grade with intervals of 95 %, by the answers") + why
            if self._in_sample
            else tr("Totals come from a sample: review some buildings first")
        )
        self.learn_button.setToolTip(
            tr("Teach the model this event; nothing is used that does not help") + why
        )

    # Construction ----------------------------------------------------------------------------

    def _build(self) -> None:
        self.setMinimumWidth(280)
        self.number = QSpinBox()
        self.number.setRange(FEWEST, 9999)
        self.number.setValue(USUAL)
        self.number.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.look_button = _button("", tr("Draw buildings by chance, and answer what each is"))
        self.number.valueChanged.connect(self._name_look)
        self._name_look(USUAL)
        self.bar = QProgressBar()
        self.bar.setVisible(self._in_sample)
        self.estimate_button = _button(tr("Estimate the totals"), "")
        self.learn_button = _button(tr("Learn from answers"), "")
        self.regrade_button = _button(
            tr("Grade all anew"),
            tr("Grade every building with what was learnt, in a new layer"),
        )
        self.told = QTextBrowser()
        self.told.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.told.setMinimumHeight(40)
        # A number that is broken in two is another number.
        self.told.setWordWrapMode(QTextOption.WrapMode.WordWrap)
        font = self.told.font()
        font.setPointSizeF(0.87 * font.pointSizeF())
        self.told.setFont(font)
        self.told.setHtml(f"<p>{tr(ABOUT_SAMPLE if self._in_sample else ABOUT)}</p>")
        steps: tuple[tuple[QPushButton, Callable[[], None]], ...] = (
            (self.look_button, self.look),
            (self.estimate_button, self.estimate),
            (self.learn_button, self.learn),
            (self.regrade_button, self.grade_anew),
        )
        for button, step in steps:
            button.clicked.connect(lambda _checked=False, step=step: step())
        self._arrange()

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        first = QHBoxLayout()
        first.addWidget(self.look_button, 1)
        first.addWidget(self.number)
        for widget in (self.look_button, self.number):
            widget.setVisible(not self._in_sample)
        second = QHBoxLayout()
        second.addWidget(self.learn_button, 1)
        second.addWidget(self.regrade_button, 1)
        layout.addLayout(first)
        layout.addWidget(self.bar)
        layout.addWidget(self.estimate_button)
        layout.addLayout(second)
        layout.addWidget(self.told, 1)

    def _name_look(self, number: int) -> None:
        drawn = bool(self._results) and beside(self._results[0], SAMPLE_END).is_file()
        self.look_button.setText(
            tr("Go on with the sample") if drawn else tr("Look at {count} buildings", count=number)
        )


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    # Else Enter and Space would press the button that was clicked last.
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button
