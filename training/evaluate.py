"""Score a localisation and damage predictor on labelled pairs, by pixel and by building."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from geodamage.damage import NOT_ASSESSED
from geodamage.metrics import OfficialScore, match, official_score, quadratic_kappa
from training.chips import LabelledPair

#: uint8 (h, w, 3) twice -> localisation (h, w) in 0..1 and damage (4, h, w), not negative.
Predictor = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class Tally:
    """What was counted over a set of pairs."""

    official: OfficialScore | None = None
    buildings: int = 0
    found: int = 0
    predicted: int = 0
    grades: list[tuple[int, int, str]] = field(default_factory=list)
    """Grade in truth, grade found, name of the pair: of every building found that has a grade."""

    @property
    def recall(self) -> float:
        """Share of true buildings found at IoU 0.5."""
        return self.found / max(self.buildings, 1)

    @property
    def precision(self) -> float:
        """Share of predicted buildings that are one, at IoU 0.5."""
        return self.found / max(self.predicted, 1)

    @property
    def kappa(self) -> float:
        """Quadratic kappa over the buildings found."""
        return quadratic_kappa([t for t, _, _ in self.grades], [p for _, p, _ in self.grades])

    def row(self) -> dict[str, float]:
        """Return the figures for a log."""
        assert self.official is not None
        names = ("f1_none", "f1_minor", "f1_major", "f1_destroyed")
        return {
            "f1_building": self.official.localisation.f1,
            "f1_damage": self.official.damage_f1,
            **{n: c.f1 for n, c in zip(names, self.official.damage, strict=True)},
            "recall": self.recall,
            "precision": self.precision,
            "kappa": self.kappa,
        }


def tally(pairs: Iterable[LabelledPair], predict: Predictor, threshold: float = 0.5) -> Tally:
    """Count what a predictor finds; objects are plain connected components here."""
    result = Tally()
    for pair in pairs:
        p_loc, damage = predict(pair.pre, pair.post)
        add_pair(result, pair, (p_loc > threshold, damage))
    return result


def add_pair(result: Tally, pair: LabelledPair, predicted: tuple[np.ndarray, np.ndarray]) -> None:
    """Add one pair to a tally; `predicted` is building bool (h, w) and damage (4, h, w)."""
    building, damage = predicted
    best = damage.argmax(0) + 1
    truth = np.where(pair.damage == NOT_ASSESSED, 0, pair.damage)
    score = official_score(building.astype(np.uint8), best, pair.buildings, truth)
    result.official = score if result.official is None else result.official.plus(score)
    n_true, index_true = cv2.connectedComponents(pair.buildings, connectivity=4, ltype=cv2.CV_32S)
    n_found, index = cv2.connectedComponents(building.astype(np.uint8), connectivity=4)
    pairs = match(index_true, index)
    votes = np.stack([np.bincount(index.ravel(), d.ravel(), n_found) for d in damage], 1)
    result.buildings += n_true - 1
    result.predicted += int((np.bincount(index.ravel())[1:] >= 16).sum())
    result.found += len(pairs)
    for i, j in pairs:
        grades = np.bincount(pair.damage[index_true == i], minlength=256)
        grade = int(grades[1:5].argmax()) + 1
        if grades[grade] > 0:
            result.grades.append((grade, int(votes[j].argmax()) + 1, pair.name))
