import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from geodamage.damage import LABELS
from geodamage.errors import GeodamageError, LabelError, OptionError, OutputError, OutputExistsError
from geodamage.scores.evaluation import EvaluationJob, evaluate, read_truth
from geodamage.scores.pixels import OfficialScore, official_score
from geodamage.xbd.folders import Pair, find_pairs
from tests.conftest import Roof, listing
from tests.data_folder import DATA, needs
from tests.labelled_pairs import (
    DEGREES,
    FOUR,
    graded,
    shrunk,
    write_labels,
    write_pair,
    write_split,
)


def run(folder, model, **options):
    return follow(evaluate(EvaluationJob(folder=folder, model=model, **options)))


def follow(work):
    assert [step.done for step in work] == [*range(1, len(work.result().tallies) + 1)]
    return work.result()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_perfect_model_gets_the_best_score(tmp_path, model, suffix):
    report = run(write_pair(tmp_path, "storm_1", suffix=suffix), model).report()
    assert report["score"] == pytest.approx(1.0000007, abs=1e-9)
    detection = report["buildings"]["detection"]
    assert (detection["precision"], detection["recall"]) == (1, 1)
    assert report["buildings"]["confusion"] == np.eye(4).tolist()
    assert report["footprints"]["confusion"] == np.eye(4).tolist()
    assert report["calibration"]["buildings"] == 4
    assert report["notes"] == []


def test_known_mistakes_are_counted(tmp_path, model):
    drawn = [*FOUR, Roof(100, 100, 12, 12, 3)]
    labelled = [graded(FOUR[0], 2), *FOUR[1:3], graded(FOUR[3], 0), Roof(100, 130, 12, 12, 1)]
    result = run(write_pair(tmp_path, "storm_1", drawn, labelled), model)
    buildings = result.report()["buildings"]
    table = np.zeros((4, 4), int)
    table[1, 0] = table[1, 1] = table[2, 2] = 1
    assert buildings["confusion"] == table.tolist()
    assert buildings["missed"] == {"no-damage": 1, **dict.fromkeys([*LABELS.values()][1:], 0)}
    assert buildings["spurious"]["major-damage"] == 1
    assert buildings["without_grade"]["matched_truth"] == 1
    # The ground under a label without a building is graded, too: by what is likest.
    assert sum(map(sum, result.report()["footprints"]["confusion"])) == 4
    pixels = result.total.official
    assert pixels.damage[1].fn == FOUR[0].height * FOUR[0].width
    assert pixels.localisation.fn == pixels.localisation.fp == 144


def test_labels_without_a_grade_are_buildings_but_not_graded(tmp_path, model):
    labelled = [*FOUR[:3], graded(FOUR[3], 0)]
    pixels = run(write_pair(tmp_path, "storm_1", FOUR, labelled), model).total.official
    assert pixels.localisation.f1 == 1
    assert not pixels.damage[3].defined
    assert sum(counts.tp + counts.fp for counts in pixels.damage) == sum(
        roof.height * roof.width for roof in FOUR[:3]
    )


def test_events_add_up_to_the_total(tmp_path, model):
    write_pair(tmp_path, "storm_1")
    write_pair(tmp_path, "storm_2", FOUR[:2])
    write_pair(tmp_path, "a-fire_1", FOUR, [graded(roof, 4) for roof in FOUR])
    result = run(tmp_path, model)
    report = result.report()
    assert list(report["events"]) == ["a-fire", "storm"]
    assert [event["pairs"] for event in report["events"].values()] == [1, 2]
    assert report["events"]["storm"]["damage_f1_destroyed"] == 1 > report["damage_f1_destroyed"]
    assert report["pairs"] == 3
    assert result.events["a-fire"].plus(result.events["storm"]) == result.total


def test_a_split_chooses_pairs(tmp_path, model):
    split = write_split(tmp_path, storm_1="train", storm_2="test")
    result = run(tmp_path, model, split=split, part="test")
    assert [pair.name for pair in result.tallies] == ["storm_2"]


def test_without_pre_labels_the_post_labels_say_where_buildings_are(tmp_path, model):
    labelled = [*FOUR[:3], graded(FOUR[3], 0)]
    write_pair(tmp_path, "storm_1", FOUR, labelled)
    (tmp_path / "labels" / "storm_1_pre_disaster.json").unlink()
    report = run(tmp_path, model).report()
    assert report["localization_f1"] == 1
    assert "1 of 1 pairs have no pre labels" in report["notes"][0]
    assert not report["official"]


def test_pre_labels_say_where_buildings_are(tmp_path, model):
    write_pair(tmp_path, "storm_1")
    write_labels(tmp_path / "labels" / "storm_1_pre_disaster.json", FOUR[:3])
    pixels = run(tmp_path, model).total.official
    assert pixels.localisation.fp == FOUR[3].height * FOUR[3].width
    assert pixels.damage[3].f1 == 1


def test_the_labels_say_how_large_a_pixel_is(tmp_path):
    write_pair(tmp_path, "storm_1")
    write_pair(tmp_path, "storm_2", place=None)
    truths = [read_truth(Pair(name, tmp_path)) for name in ("storm_1", "storm_2")]
    assert truths[0].pixel_area == pytest.approx(0.25, rel=1e-3)
    assert truths[1].pixel_area == pytest.approx(0.47**2)
    assert [truth.has_place for truth in truths] == [True, False]


def test_what_is_too_small_is_not_drawn(tmp_path, model):
    write_pair(tmp_path, "storm_1", [*FOUR, Roof(100, 100, 8, 8, 1)])  # 16 m²
    found = [run(tmp_path, model, min_area=area).total.buildings for area in (15, 17)]
    assert [score.detection.tp for score in found] == [5, 4]


def test_notes_say_what_is_odd(tmp_path, model):
    fine = tuple(0.1 * step for step in DEGREES[0]), DEGREES[1]
    write_pair(tmp_path, "storm_1", place=fine)
    write_pair(tmp_path, "storm_2", place=None)
    (tmp_path / "images" / "storm_3_post_disaster.png").touch()
    place, gsd, unlabelled = run(tmp_path, model).report()["notes"]
    assert "1 of 2 pairs do not say where they lie" in place
    assert "1 of 2 pairs have pixels outside 0.3 to 1 m" in gsd
    assert "1 pair has no post labels" in unlabelled


def without(name):
    def spoil(folder):
        (folder / name).unlink()

    return spoil


def stated(folder):
    path = folder / "labels" / "storm_1_pre_disaster.json"
    write_labels(path, FOUR, {"width": 1024, "height": 1024})


def broken(folder):
    (folder / "labels" / "storm_1_post_disaster.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            without("images/storm_1_pre_disaster.png"),
            "1 of 1 labelled pairs lack an image.*storm_1",
        ),
        (without("labels/storm_1_post_disaster.json"), "give the folder of an xBD download"),
        (shrunk, "storm_1: pre has 128 x 160 pixels and post 100 x 160"),
        (stated, "of 1024 x 1024 pixels and the images of storm_1 have 128 x 160"),
        (broken, "not an xBD label file"),
    ],
)
def test_a_folder_that_cannot_be_scored_is_refused(tmp_path, model, spoil, why):
    spoil(write_pair(tmp_path, "storm_1"))
    with pytest.raises(LabelError, match=why):
        run(tmp_path, model)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("storm_1,a\nstorm_2,a\nstorm_3,a\n", "names 2 of 3 pairs that have no post.*storm_2, s"),
        ("storm_1,a\nstorm_1,b\n", "names storm_1 more than once"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(tmp_path, model, rows, why):
    split = write_pair(tmp_path, "storm_1") / "split.csv"
    split.write_text(f"pair,part\n{rows}")
    with pytest.raises(LabelError, match=why):
        run(tmp_path, model, split=split)


def test_a_part_of_no_split_is_refused(tmp_path):
    with pytest.raises(OptionError, match="give --split"):
        EvaluationJob(folder=tmp_path, part="test")
    with pytest.raises(OptionError, match="not negative"):
        EvaluationJob(folder=tmp_path, min_area=-1)


ORIGINAL = DATA / "xbd_original"


@pytest.mark.slow
@pytest.mark.data
@needs("xbd_original")
def test_targets_are_the_official_ones():
    for pair in find_pairs(ORIGINAL):
        truth = read_truth(pair)
        for date, drawn in (("pre", truth.localisation), ("post", truth.damage)):
            target = read(ORIGINAL / "targets" / f"{pair.name}_{date}_disaster_target.png")
            # Of some pre targets a few pixels on ties of the rounding differ.
            assert np.count_nonzero(drawn != target) <= (4 if date == "pre" else 0)
        assert 0.3 < truth.pixel_area**0.5 < 0.6


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def official_of(folder, number):
    """Score the masks of a pair as they were written."""
    masks = [
        read(folder / f"{kind}s" / f"test_{name}_{number}_{kind}.png")
        for kind in ("prediction", "target")
        for name in ("localization", "damage")
    ]
    assert {mask.dtype for mask in masks} == {np.dtype(np.uint8)}
    return official_score(*masks)


def test_masks_are_written_in_the_official_layout(tmp_path, model):
    data = write_pair(tmp_path / "data", "storm_1", FOUR, [graded(roof, 2) for roof in FOUR])
    write_pair(data, "storm_2", FOUR[1:])
    folder = tmp_path / "masks"
    result = run(data, model, predictions=folder)
    assert listing(folder) == ["predictions", "targets"]
    assert listing(folder / "predictions") == [
        f"test_{name}_0000{number}_prediction.png"
        for name in ("damage", "localization")
        for number in (1, 2)
    ]
    with (folder / "targets" / "names.csv").open() as file:
        assert [*csv.reader(file)] == [["id", "pair"], ["00001", "storm_1"], ["00002", "storm_2"]]
    again = OfficialScore.empty().plus(official_of(folder, "00001"))
    assert again.plus(official_of(folder, "00002")) == result.total.official


def test_masks_replace_others_only_where_asked(tmp_path, model):
    data = write_pair(tmp_path / "data", "storm_1")
    folder = tmp_path / "masks"
    run(data, model, predictions=folder)
    with pytest.raises(OutputExistsError, match="give --overwrite"):
        run(data, model, predictions=folder)
    write_pair(data, "storm_2")
    run(data, model, predictions=folder, overwrite=True)
    assert len(listing(folder / "predictions")) == 4
    (folder / "targets" / "thesis.txt").touch()
    with pytest.raises(OutputError, match=re.escape("holds thesis.txt")):
        run(data, model, predictions=folder, overwrite=True)


def test_a_run_that_stops_leaves_no_masks(tmp_path, model):
    data = write_pair(tmp_path / "data", "storm_1")
    write_pair(data, "storm_2")
    (data / "images" / "storm_2_pre_disaster.png").write_bytes(b"")
    with pytest.raises(GeodamageError):
        run(data, model, predictions=tmp_path / "masks")
    work = evaluate(EvaluationJob(folder=data, model=model, predictions=tmp_path / "masks"))
    next(work)
    work.close()
    assert listing(tmp_path) == ["data"]


def test_a_folder_for_masks_that_cannot_be_made_is_refused(tmp_path, model):
    data = write_pair(tmp_path / "data", "storm_1")
    with pytest.raises(OutputError, match="cannot write"):
        run(data, model, predictions=tmp_path / "no" / "masks")
    assert not Path(tmp_path / "no").exists()


@pytest.mark.slow
def test_intervals_come_where_asked(tmp_path, model):
    write_pair(tmp_path, "storm_1")
    write_pair(tmp_path, "storm_2", FOUR, [graded(roof, 4) for roof in FOUR])
    assert "interval_95" not in run(tmp_path, model).report()
    report = run(tmp_path, model, bootstrap=50).report()
    low, high = report["interval_95"]["score"]
    assert low < report["score"] < high
    assert report["interval_95"]["buildings_recall"] == [1, 1]
