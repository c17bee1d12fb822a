import json

import numpy as np
import pytest

from benchmarks.post_only import NEUTRAL, interval, main, telling_event
from geodamage.post_only import measured
from geodamage.scores.buildings import BuildingScore
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from tests.labelled_pairs import write_pair, write_split


@pytest.mark.slow
def test_neutral_images_tell_nothing_of_before(tmp_path):
    write_pair(tmp_path, "storm_1")
    (pair,) = choose_pairs(EvaluationJob(folder=tmp_path))
    truth = read_truth(pair)
    for name, make in NEUTRAL.items():
        image = make(truth)
        assert image.shape == truth.post.shape
        assert image.dtype == np.uint8
        assert (image is truth.pre) == (name == "the pre image")
    assert np.ptp(NEUTRAL["its mean colour"](truth), axis=(0, 1)).max() == 0


@pytest.mark.slow
def test_the_table_has_each_neutral_image_by_event(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="test", storm_2="test")
    kept = tmp_path / "facts.json"
    main([str(split), str(model), "--data", str(tmp_path), "--keep", str(kept)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()][2:]
    assert [(row[2].strip(), row[3].strip()) for row in rows] == [
        (name, event) for name in NEUTRAL for event in ("all", "storm")
    ]
    facts = json.loads(kept.read_text())
    assert facts.keys() == measured().keys()
    assert (facts["network"], facts["without"]) == ("bright 1", "storm")
    assert facts["kappa_without"] is None


def test_the_event_that_all_owe_most_to_is_left_out():
    good, bad = (np.zeros((6, 6), int) for _ in range(2))
    good[1, 1] = good[4, 4] = 50
    bad[1, 4] = bad[4, 1] = bad[1, 1] = 5
    scores = [(name, BuildingScore.of(table)) for name, table in (("fire", good), ("flood", bad))]
    assert telling_event(scores) == "fire"


def test_an_interval_is_that_of_pairs():
    table = np.zeros((6, 6), int)
    table[1, 1] = table[4, 4] = 5
    assert interval([BuildingScore.of(table)] * 3) == (1.0, 1.0)
    assert interval([BuildingScore.empty()]) == (None, None)
