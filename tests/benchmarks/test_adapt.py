"""What a few answers are worth, on events that are drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.adapt import Event, main, stand_in
from benchmarks.event_features import read_places, read_target_pair
from geodamage.xbd.folders import Pair
from tests.adaptation.made_results import make_features, make_said, make_truth

COUNT = 400


def drawn_event(seed, told=3.0):
    """Return an event that its model does not know, and whose features tell the grade."""
    truth = make_truth(COUNT, seed)
    places = np.arange(COUNT) // 40
    said = make_said(truth, 0.0, seed)
    at = np.column_stack([places * 0.01, np.arange(COUNT) % 40 * 1e-5])
    tile = np.array([f"e/{place}" for place in places])
    return Event(make_features(truth, told, seed=seed), said, truth, at, tile, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["strata", "teach", "simple"])
def test_answers_make_up_for_what_a_model_does_not_know(way):
    play = drawn_event(1).play(60, 0, way)
    assert play.auc[1] > play.auc[0] + 0.15
    assert play.taken
    assert play.ece[1] < 0.2


@pytest.mark.slow
def test_nobody_answers_where_it_is_scored(monkeypatch):
    event, seen = drawn_event(2), []
    answered = Event.answered
    monkeypatch.setattr(
        Event, "answered", lambda own, way, rng, rows, count: seen.append(rows) or
        answered(own, way, rng, rows, count),
    )  # fmt: skip
    event.play(40, 0)
    assert 0 < len(set(event.tile[seen[0]])) == len(set(event.tile)) // 2


def test_drawn_grades_come_as_often_as_the_model_says():
    event = drawn_event(3)
    said = np.tile([0.5, 0.3, 0.2, 0.0], (COUNT, 1))
    drawn = replace(event, said=said)
    shares = np.mean([np.bincount(drawn.drawn(n).grades, minlength=5) for n in range(20)], 0)
    assert shares / COUNT == pytest.approx([0, 0.5, 0.3, 0.2, 0], abs=0.02)
    assert np.array_equal(drawn.drawn(1).grades, drawn.drawn(1).grades)
    assert drawn.drawn(1).features is event.features


@pytest.mark.slow
def test_a_head_is_seldom_taken_where_the_model_is_right():
    event = drawn_event(4)
    plays = [event.drawn(seed).play(60, seed) for seed in range(8)]
    assert sum(play.taken for play in plays) <= 1


def test_tiles_that_overlap_are_one_place(tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("pair,event,place,part\nstorm_1,storm,7,train\nstorm_2,storm,7,test\n")
    assert read_places(split) == {"storm_1": "storm/7", "storm_2": "storm/7"}
    assert read_places(None) == {}


@pytest.mark.slow
def test_the_table_has_both_models_of_each_event(tmp_path, capsys):
    events = {name: drawn_event(seed) for name, seed in (("flood", 1), ("storm", 2))}
    columns = {
        "features": "features", "said": "said", "grades": "grades", "place": "place",
        "tile": "tile",
    }  # fmt: skip
    table = {
        key: np.concatenate([getattr(event, own) for event in events.values()])
        for key, own in columns.items()
    }
    table["event"] = np.repeat([*events], COUNT)
    np.savez(tmp_path / "t.npz", threshold=np.array(0.5), **table)
    assert stand_in(table, "flood").shape == (COUNT, 4)
    assert models_of(tmp_path / "t.npz", capsys) == [
        [event, model] for event in events for model in ("at home", "stand-in")
    ]
    np.savez(tmp_path / "t.npz", threshold=np.array(0.5), unseen=table["said"], **table)
    assert models_of(tmp_path / "t.npz", capsys) == [
        [event, model] for event in events for model in ("at home", "unseen")
    ]


def models_of(path, capsys):
    """Return event and model of each row of a table."""
    main(["table", str(path), "--repeats", "2", "--answers", "40"])
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()][2:]
    return [[cell.strip() for cell in row] for row in rows]


def test_areas_of_a_target_are_buildings_at_twice_the_size(tmp_path):
    target = np.zeros((8, 10), np.uint8)
    target[1:3, 1:4], target[1:3, 4:6], target[6:8, 8:10] = 1, 3, 1
    for folder in ("images", "targets"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "targets" / "storm_1_post_disaster_target.png"), target)
    for date in ("pre", "post"):
        image = np.full((8, 10, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"storm_1_{date}_disaster.png"), image)
    truth = read_target_pair(Pair("storm_1", tmp_path))
    assert truth.pre.shape == (16, 20, 3)
    assert truth.grades == {1: 1, 2: 1, 3: 3}
    assert np.bincount(truth.index.ravel()).tolist() == [320 - 24 - 16 - 16, 24, 16, 16]
    assert set(truth.index[2:6, 8:12].ravel()) == {3}
