# SPDX-License-Identifier: GPL-2.0-or-later
"""The panel of the review: what is known of a building, and the buttons to grade it."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis.results.journal import NO_BUILDING, UNCLEAR, Review
from geodamage_qgis.review.walk import Building, Walk
from geodamage_qgis.scale import CLASSES, COLOURS, PROBABILITIES, TITLES
from geodamage_qgis.translation import tr

REVIEWER_SETTING = "geodamage/reviewer"


class ReviewPanel(QWidget):
    """Shows a building's grade and probabilities, and has a button for each thing to do.

    Signals: `graded` with the grade, `accepted`, `undone`, `next`, `previous`.
    """

    graded = pyqtSignal(str)
    accepted = pyqtSignal()
    undone = pyqtSignal()
    next = pyqtSignal()
    previous = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(300)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        self.where = QLabel()
        self.said = QLabel()
        self.said.setWordWrap(True)
        layout.addWidget(self.where)
        layout.addWidget(self.said)
        layout.addLayout(self._grades())
        layout.addLayout(self._others())
        layout.addLayout(self._steps())
        layout.addStretch(1)
        layout.addLayout(self._choices())

    def show_building(self, walk: Walk, building: Building) -> None:
        """Show what the model said of a building, and what a person did."""
        review = walk.review_of(building)
        self.where.setText(
            tr(
                "<b>Building {position} of {count}</b>, {reviewed} reviewed",
                position=walk.position,
                count=len(walk),
                reviewed=walk.reviewed,
            )
        )
        hidden = walk.hides(building)
        self.said.setText(_last_told(walk) if hidden else _told(building, review))
        for damage, (button, bar) in self.rows.items():
            probability = 0.0 if hidden else building.probabilities.get(damage, 0.0)
            bar.setValue(round(1000 * probability))
            self.shares[damage].setText("" if hidden else f"{100 * probability:.0f} %")
            button.setChecked(review is not None and review.reviewed_damage == damage)
        for answer, button in self.others.items():
            button.setChecked(review is not None and review.reviewed_damage == answer)
        self.accept_button.setVisible(not walk.blind)
        self.undo_button.setEnabled(walk.can_undo())

    def _grades(self) -> QGridLayout:
        """Return a row for each grade: a button with its key, a bar with its probability."""
        grid = QGridLayout()
        grid.setVerticalSpacing(3)
        self.rows: dict[str, tuple[QPushButton, QProgressBar]] = {}
        # Beside the bars: no ink is readable on both the bar and its ground, light or dark.
        self.shares: dict[str, QLabel] = {}
        for row, damage in enumerate(PROBABILITIES):
            button = _button(
                f"{CLASSES[damage]}  {tr(TITLES[damage])}", tr("Key {key}", key=CLASSES[damage])
            )
            button.setCheckable(True)
            button.setStyleSheet(_button_style(COLOURS[damage]))
            button.clicked.connect(lambda _checked=False, damage=damage: self.graded.emit(damage))
            bar = QProgressBar()
            bar.setRange(0, 1000)
            bar.setStyleSheet(_bar_style(COLOURS[damage]))
            bar.setTextVisible(False)
            share = QLabel()
            share.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            share.setMinimumWidth(share.fontMetrics().horizontalAdvance("100 %"))
            grid.addWidget(button, row, 0)
            grid.addWidget(bar, row, 1)
            grid.addWidget(share, row, 2)
            self.shares[damage] = share
            self.rows[damage] = (button, bar)
        return grid

    def _others(self) -> QHBoxLayout:
        """Return the buttons of answers that are no grade."""
        row = QHBoxLayout()
        self.others: dict[str, QPushButton] = {}
        tips = {
            NO_BUILDING: ("X", tr("The outline was no building before, either (key X)")),
            UNCLEAR: ("U", tr("The images do not show it (key U)")),
        }
        for answer, (key, tip) in tips.items():
            button = _button(f"{key}  {tr(answer)}", tip)
            button.setCheckable(True)
            button.setStyleSheet(_button_style("#888888"))
            button.clicked.connect(lambda _checked=False, answer=answer: self.graded.emit(answer))
            row.addWidget(button)
            self.others[answer] = button
        return row

    def _steps(self) -> QHBoxLayout:
        self.previous_button = _button("◀", tr("Previous building (Left or P)"))
        self.accept_button = _button(tr("Accept") + "  ⏎", tr("Accept the model's grade (Enter)"))
        self.undo_button = _button(
            tr("Undo"), tr("Take back the last correction (Ctrl+Z or Backspace)")
        )
        self.next_button = _button("▶", tr("Next building (Right or N)"))
        self.previous_button.clicked.connect(lambda _checked=False: self.previous.emit())
        self.accept_button.clicked.connect(lambda _checked=False: self.accepted.emit())
        self.undo_button.clicked.connect(lambda _checked=False: self.undone.emit())
        self.next_button.clicked.connect(lambda _checked=False: self.next.emit())
        row = QHBoxLayout()
        for button, stretch in (
            (self.previous_button, 0),
            (self.accept_button, 2),
            (self.undo_button, 1),
            (self.next_button, 0),
        ):
            row.addWidget(button, stretch)
        self.previous_button.setFixedWidth(36)
        self.next_button.setFixedWidth(36)
        return row

    def _choices(self) -> QFormLayout:
        self.skip = QCheckBox(tr("Skip reviewed"))
        self.skip.setChecked(True)
        self.follow = QCheckBox(tr("Main map follows"))
        self.follow.setChecked(True)
        for box in (self.skip, self.follow):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.reviewer = QLineEdit(_reviewer())
        self.reviewer.setPlaceholderText(tr("your name, written with each correction"))
        self.reviewer.editingFinished.connect(self._keep_reviewer)
        ticks = QHBoxLayout()
        ticks.addWidget(self.skip)
        ticks.addWidget(self.follow)
        form = QFormLayout()
        form.addRow(ticks)
        form.addRow(tr("Reviewer"), self.reviewer)
        return form

    def _keep_reviewer(self) -> None:
        QgsSettings().setValue(REVIEWER_SETTING, self.reviewer.text().strip())


def _reviewer() -> str:
    """Return who reviews: the name given before, else that of the account."""
    name = QgsSettings().value(REVIEWER_SETTING, "", type=str)
    return str(name or QgsApplication.userFullName() or QgsApplication.userLoginName())


def _seen_in_part(building: Building) -> str:
    reason = building.status_reason.replace("_", " ")
    return tr(", seen in part ({reason})", reason=reason) if reason else tr(", seen in part")


def _told(building: Building, review: Review | None) -> str:
    seen = "" if building.status == "assessed" else _seen_in_part(building)
    return (
        tr(
            "The model: <b>{grade}</b>, {confidence} % sure",
            grade=_title(building.damage),
            confidence=f"{100 * building.confidence:.0f}",
        )
        + f"{seen}<br>"
        + (_said(review) if review else tr("Not reviewed yet"))
    )


def _last_told(walk: Walk) -> str:
    """Return what a panel says where the model's grade is hidden: that of the last building."""
    last = walk.last
    review = walk.review_of(last) if last is not None else None
    if last is None or review is None or not review.reviewed_damage:
        return tr("What do you see? The model's grade is shown once you have answered.")
    return tr(
        "Last: you said <b>{answer}</b>,<br>the model <b>{grade}</b>.",
        answer=_title(review.reviewed_damage),
        grade=_title(last.damage),
    )


def _title(answer: str) -> str:
    return tr(TITLES.get(answer, answer))


def _said(review: Review) -> str:
    title = _title(review.reviewed_damage or "")
    if review.reviewer:
        return tr("Reviewed by {name}: <b>{grade}</b>", name=review.reviewer, grade=title)
    return tr("Reviewed: <b>{grade}</b>", grade=title)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    # Else Enter and Space would press the button that was clicked last.
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return button


def _button_style(colour: str) -> str:
    return (
        f"QPushButton {{ text-align: left; padding: 4px 8px; border: 1px solid #888;"
        f" border-left: 12px solid {colour}; }}"
        f"QPushButton:checked {{ background: {colour}; color: {_ink(colour)};"
        f" border: 2px solid #1a1a1a; border-left: 12px solid {colour}; font-weight: bold; }}"
        "QPushButton:hover { border-color: #1a1a1a; }"
    )


def _bar_style(colour: str) -> str:
    return (
        "QProgressBar { border: 1px solid #999; background: palette(base); }"
        f"QProgressBar::chunk {{ background: {colour}; }}"
    )


def _ink(colour: str) -> str:
    """Return black or white, whichever reads better on a colour."""
    red, green, blue = QColor(colour).red(), QColor(colour).green(), QColor(colour).blue()
    # Source: ITU-R BT.601, luma.
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "#ffffff"
