"""Scores: the official xView2 metric, and what an analyst asks per building.

Everything counted here is a value that adds up: `plus` joins two sets, and a rate is taken once,
at the end. `report` turns them into the mapping that `geodamage score --json` and
`geodamage evaluate --json` print, of this form (null where a figure is not defined)::

    score, localization_f1, damage_f1, damage_f1_no_damage, damage_f1_minor_damage,
    damage_f1_major_damage, damage_f1_destroyed     numbers of the official scorer, always there
    damage_f1_defined   harmonic mean over the grades that occur in the targets, or null
    counts              {class: {tp, fn, fp}}, pixels
    classes             {class: {precision, recall, f1, defined}}; `defined` is false, and f1 is
                        the official 0, where no target pixel is of the class
    buildings           optional:
        unit            optional, text: what was taken for a building
        iou, minimum    numbers: least overlap of a match; fewest buildings that give a rate
        detection       {truth, predicted, tp, fn, fp, precision, recall, f1}
        grades          {grade: {truth, matched, f1_matched, f1_end_to_end}}
        damaged         the same of any damage against none
        accuracy, macro_f1_matched, macro_f1_end_to_end, quadratic_kappa
        confusion       4 x 4 counts, rows truth, columns prediction, of matched buildings
        missed          {grade in truth: count} of buildings not found
        spurious        {grade predicted: count} of buildings that are none
        without_grade   {matched_truth, matched_prediction, missed, spurious}: counts
        sizes           optional, [{low, high, truth, found, recall}], one a range of m²; high null
    calibration         optional:
        buildings, ece, brier, brier_skill, damaged_share
        reliability     [{low, high, buildings, confidence, accuracy}], one a bin
    images              optional, number
    official            optional, whether the official scorer would give these numbers
    official_reason     optional, text: why not, or null
    events              optional, {event: mapping of this form}

A class is `localization` or a grade: `no-damage`, `minor-damage`, `major-damage`, `destroyed`.
"""

from typing import Any

from geodamage.scores.buildings import MINIMUM_BUILDINGS, BuildingScore, SizeRecall
from geodamage.scores.calibration import Calibration
from geodamage.scores.pixels import OfficialScore


def report(
    official: OfficialScore,
    buildings: BuildingScore | None = None,
    calibration: Calibration | None = None,
    sizes: SizeRecall | None = None,
    *,
    minimum: int = MINIMUM_BUILDINGS,
) -> dict[str, Any]:
    """Return all figures of a set, ready for JSON; the module says their form.

    Parameters
    ----------
    minimum
        Fewest buildings in truth that give a rate.
    """
    figures: dict[str, Any] = {**official.figures(), **official.extras()}
    if buildings is not None:
        figures["buildings"] = buildings.figures(minimum)
        if sizes is not None:
            figures["buildings"]["sizes"] = sizes.figures(minimum)
    if calibration is not None:
        figures["calibration"] = calibration.figures()
    return figures
