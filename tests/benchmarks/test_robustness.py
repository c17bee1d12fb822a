import json

import numpy as np
import pytest

from benchmarks.robustness import GSDS, SHIFTS, brought_back, coarse, main, moved
from geodamage.arrays import Prediction
from geodamage.model.loading import load_model
from tests.labelled_pairs import write_split


@pytest.mark.parametrize(
    ("number", "place"), [(0, (10, 14)), (1, (14, 10)), (2, (10, 6)), (3, (6, 10)), (4, (10, 14))]
)
def test_the_image_moves_along_the_axis_of_its_number(number, place):
    image = np.zeros((32, 32, 3), np.uint8)
    image[10, 10] = 255
    assert list(zip(*np.nonzero(moved(image, 4, number)[..., 0]), strict=True)) == [place]


def test_a_shift_of_nothing_is_the_image():
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    assert (moved(image, 0, 1) == image).all()


def test_a_coarser_sensor_averages_within_the_models_range_and_is_drawn_out_beyond(model):
    card = load_model(model).card  # native 0.5 m, up to 1 m
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(200)
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    within = coarse(image, 0.625, card, 0.5)
    assert within.shape == (51, 51, 3)
    beyond = coarse(image, 1.0, card, 0.5)
    assert beyond.shape == (64, 64, 3)
    assert (beyond == 100).all()


def test_an_answer_comes_back_to_the_pixels_of_the_labels():
    planes = np.full((4, 8, 8), 0.25, np.float32)
    small = Prediction(planes[0], planes, np.full((5, 8, 8), 0.2, np.float32))
    back = brought_back(small, (16, 20))
    assert (back.localisation.shape, back.damage.shape) == ((16, 20), (4, 16, 20))
    assert np.allclose(back.probabilities, 0.2)


@pytest.mark.slow
def test_the_table_has_a_row_for_every_condition(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="test", storm_2="test")
    main([str(model), str(split), "--data", str(tmp_path)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == 2 + len(SHIFTS) + len(GSDS)
    rows = {name.strip(): cells for _, name, *cells, _ in (line.split("|") for line in lines)}
    score, located, *_ = map(float, rows["as it is"])
    assert score > 0.95
    # Where the houses of post lie elsewhere, they are found as before and graded worse.
    assert float(rows["shift of 32 pixels"][1]) == located
    assert float(rows["shift of 32 pixels"][2]) < 0.7


@pytest.mark.slow
def test_the_figures_are_added_to_the_facts_of_a_card(tmp_path, model, capsys):
    split, facts = write_split(tmp_path, storm_1="test"), tmp_path / "facts.json"
    facts.write_text('{"threshold": 0.4, "scores": {"test": {"pairs": 1}}}')
    main([str(model), str(split), "--data", str(tmp_path), "--facts", str(facts)])
    content = json.loads(facts.read_text())
    assert (content["threshold"], content["scores"]["test"]) == (0.4, {"pairs": 1})
    told = content["scores"]["robustness"]
    assert told["as it is"]["xview2_score"] > 0.95
    assert len(told) == 1 + 2 + len(SHIFTS) + len(GSDS)
    facts.write_text("[")
    with pytest.raises(SystemExit):
        main([str(model), str(split), "--data", str(tmp_path), "--facts", str(facts)])
    assert "no JSON of facts" in capsys.readouterr().err


def test_a_wrong_model_is_an_error_of_one_line(tmp_path, capsys):
    split = tmp_path / "split.csv"
    split.write_text("pair,part\n")
    with pytest.raises(SystemExit) as stop:
        main(["nothing", str(split), "--data", str(tmp_path)])
    assert stop.value.code == 5
    assert capsys.readouterr().err.count("\n") == 1
