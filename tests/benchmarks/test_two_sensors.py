import numpy as np
import pytest

from benchmarks.two_sensors import (
    Scene,
    buildings,
    compare,
    difference,
    figures,
    grade,
    main,
    of_majority,
)
from sample_data.pairs import make_pairs
from training.data.two_sensors import RadarPair


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, make_pairs(folder, 2, 96, sar=True)


@pytest.fixture
def pair(drawn):
    return RadarPair(drawn[1][0], drawn[0]).labelled()


def perfect(pair):
    """Return the answer of one who knows the labels."""
    said = np.zeros((5, *pair.damage.shape), np.float32)
    said[0] = pair.damage > 0
    for level in range(1, 5):
        said[level] = pair.damage == level
    return said


def test_a_building_takes_the_grade_of_its_pixels_together():
    index = np.array([[1, 1, 1, 2]])
    said = np.zeros((4, 1, 4))
    said[0] = [0.4, 0.4, 0.0, 0.0]
    said[3] = [0.1, 0.1, 0.9, 1.0]
    assert grade(said, index, 2).tolist() == [4, 4]


@pytest.mark.slow
def test_the_labels_themselves_are_right_everywhere(pair):
    scene = compare(pair, perfect(pair))
    assert scene.confusion.sum() == len(buildings(pair)[1]) > 0
    assert (scene.confusion == np.diag(np.diag(scene.confusion))).all()
    assert figures([scene])[:2] == [1.0, 1.0]


def test_the_most_frequent_grade_is_right_as_often_as_it_comes(pair):
    truth = buildings(pair)[1]
    scene = compare(pair, of_majority(1)(pair))
    assert figures([scene])[1] == pytest.approx((truth == 1).mean())
    assert figures([scene])[0] == 0


@pytest.mark.slow
def test_the_difference_of_a_thing_to_itself_is_none():
    scene = Scene(np.eye(4, dtype=int) * 3, np.array([5, 1, 2]))
    assert difference([scene] * 4, [scene] * 4, 2) == "+0.000 (+0.000 to +0.000)"


def test_a_run_that_is_not_there_is_an_error_of_one_line(drawn, tmp_path, capsys):
    folder, names = drawn
    split = tmp_path / "split.csv"
    split.write_text(f"pair,part\n{names[0]},train\n{names[1]},test\n")
    arguments = [str(tmp_path / "no"), "--data", str(folder), "--split", str(split)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--teacher", ""])
    assert stop.value.code == 5
    assert capsys.readouterr().err.count("\n") == 1
