import numpy as np
import pytest

from benchmarks.post_only import NEUTRAL, interval, main
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
        assert (image is truth.pre) == (name == "the image before")
    assert np.ptp(NEUTRAL["its mean colour"](truth), axis=(0, 1)).max() == 0


@pytest.mark.slow
def test_the_table_has_each_neutral_image_by_event(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="test", storm_2="test")
    main([str(split), str(model), "--data", str(tmp_path)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()][2:]
    assert [(row[2].strip(), row[3].strip()) for row in rows] == [
        (name, event) for name in NEUTRAL for event in ("all", "storm")
    ]


def test_an_interval_is_that_of_pairs():
    table = np.zeros((6, 6), int)
    table[1, 1] = table[4, 4] = 5
    assert interval([BuildingScore.of(table)] * 3) == (1.0, 1.0)
    assert interval([BuildingScore.empty()]) == (None, None)
