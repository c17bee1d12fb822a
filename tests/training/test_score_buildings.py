import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.training.building_folders import write_masks
from training import score_buildings
from training.building_predictor import Answer
from training.data.building_images import read_building_index
from training.prepare_buildings import main as prepare
from training.score_buildings import Histogram, brightness, count, main, simple_rows, total

PICTURES = arrays(np.uint8, (4, 5))


@pytest.mark.slow
@given(PICTURES, arrays(bool, (4, 5)), st.integers(0, 255))
def test_the_index_at_a_level_is_that_of_the_masks(score, truth, level):
    histogram = Histogram()
    histogram.add(score, truth)
    found = score >= level
    union = (found | truth).sum()
    wanted = (found & truth).sum() / union if union else 0
    assert histogram.jaccard()[level] == pytest.approx(wanted)


@pytest.mark.slow
@given(PICTURES, arrays(bool, (4, 5)))
def test_dark_is_bright_of_the_negative(score, truth):
    one, other = Histogram(), Histogram()
    one.add(score, truth)
    other.add(255 - score, truth)
    assert np.array_equal(one.darker().jaccard(), other.jaccard())


def prepared(tmp_path):
    """Write five scenes whose left, bright half is building; one is tested on."""
    write_masks(tmp_path / "set", ["a", "b", "c", "d", "e"])
    out = tmp_path / "out"
    prepare([str(tmp_path / "set"), "-o", str(out), "--folds", "2", "--test", "e", "--gsd", "0.2"])
    return out


def test_brightness_finds_bright_buildings_and_everything_is_half_right(tmp_path):
    images = [image for image in read_building_index(prepared(tmp_path)) if image.scale == 1]
    learnt = [image for image in images if image.fold >= 0]
    scored = [image for image in images if image.fold < 0]
    bright, everything = simple_rows(learnt, scored)
    assert bright.together > 0.9
    assert everything.together == pytest.approx(0.5)
    assert set(bright.by_source) == {"set"}


def test_sources_add_up_to_all(tmp_path):
    images = read_building_index(prepared(tmp_path))
    whole = total(count(images, brightness))
    assert whole.building.sum() + whole.other.sum() == sum(i.load()[1].size for i in images)


class Stub:
    """A run of fold 0, and what it says: the truth of the folders above, badly calibrated."""

    name, source = "stub", "stub"
    recipe = type("Recipe", (), {"fold": 0})


def ensemble(trained, tta="none", device="auto"):
    return lambda image: Answer(np.where(image[..., 0] > 200, 0.3, 0.1).astype(np.float32), None)


def test_the_command_chooses_its_threshold_on_validation_and_writes_facts(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(score_buildings, "read_trained", lambda source: Stub())
    monkeypatch.setattr(score_buildings, "BuildingEnsemble", ensemble)
    out, facts = prepared(tmp_path), tmp_path / "facts.json"
    arguments = ["run", "--data", str(out), "--facts", str(facts), "--csv", str(tmp_path / "t.csv")]
    main(arguments)
    said = capsys.readouterr().out
    assert "| everything | 0.5000 | 0.5000 |" in said
    written = json.loads(facts.read_text())
    assert 0.1 < written["threshold"] <= 0.3
    assert written["gsd_native"] == pytest.approx(0.2)
    assert (tmp_path / "t.csv").read_text().count("\n") == 4
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 6
    assert "is there; give --overwrite" in capsys.readouterr().err


def test_a_folder_without_a_test_part_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(score_buildings, "read_trained", lambda source: Stub())
    write_masks(tmp_path / "set", ["a", "b"])
    prepare([str(tmp_path / "set"), "-o", str(tmp_path / "out"), "--folds", "2"])
    with pytest.raises(SystemExit) as stop:
        main(["run", "--data", str(tmp_path / "out")])
    assert stop.value.code == 4
    assert "no image of part test" in capsys.readouterr().err
