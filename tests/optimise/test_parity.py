import dataclasses

import numpy as np
import pytest

from geodamage.model.heads import Heads
from geodamage.model.onnx import Model
from geodamage.optimise import parity
from geodamage.optimise.parity import Parity, ask, compare
from geodamage.scores.evaluation import read_truth
from geodamage.xbd.folders import Pair
from tests.conftest import make_model
from tests.fakes import write_pointwise
from tests.labelled_pairs import write_pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    names = ["storm_1", "storm_2"]
    for name in names:
        write_pair(folder, name)
    return [Pair(name, folder) for name in names]


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    return Model(make_model(tmp_path_factory.mktemp("m") / "bright.onnx"), device="cpu")


class Changed:
    """A model with other heads."""

    has_pixel_rules = False
    resident_bytes = 0

    def __init__(self, model, change):
        self._model, self._change = model, change
        self.card, self.rules = model.card, model.rules

    def __call__(self, pre, post):
        return self._change(*self._model(pre, post))


def found(parent, variant, pairs):
    work = compare(parent, {"v": variant}, pairs)
    assert list(work) == [pair.name for pair in pairs]
    return work.result()["v"]


def test_a_model_agrees_with_itself(bright, pairs):
    same = found(bright, bright, pairs)
    assert (same.buildings, same.agreement, same.largest, same.mean) == (8, 1.0, 0.0, 0.0)
    assert same.shortfalls() == []
    figures = same.figures()
    assert figures["passed"] is True
    assert figures["pairs"] == 2
    assert figures["damage_f1"] == {"parent": 1.0, "variant": 1.0, "loss_points": 0.0}


def test_other_grades_are_counted_and_refused(bright, pairs):
    def swap(localisation, damage):
        return Heads(localisation, damage[:, [1, 0, 2, 3]])

    other = found(bright, Changed(bright, swap), pairs)
    assert other.agreement == 0.5
    assert other.figures()["found_agreement"] == 1.0
    (disagrees, *losses) = other.shortfalls()
    assert disagrees == "agreement 50.00% is below 99.5%"
    assert [loss.split(" loses ")[0] for loss in losses] == ["damage_f1", "score"]
    assert other.figures()["localization_f1"]["loss_points"] == 0
    assert other.largest > 0.3


def test_lost_buildings_are_a_loss_of_localisation(bright, pairs):
    def dim(localisation, damage):
        return Heads(localisation * 0.4, damage)

    dimmed = found(bright, Changed(bright, dim), pairs)
    assert dimmed.agreement == 1.0
    assert dimmed.figures()["found_agreement"] == 0
    assert any(text.startswith("localization_f1 loses") for text in dimmed.shortfalls())


def test_what_is_better_loses_nothing(bright, pairs):
    def dim(localisation, damage):
        return Heads(localisation * 0.4, damage)

    better = found(Changed(bright, dim), bright, pairs)
    assert better.figures()["score"]["loss_points"] < 0
    assert better.shortfalls() == []


def test_without_buildings_nothing_passes():
    assert Parity("assess").shortfalls() == ["there is no building to compare"]


def test_a_figure_that_is_none_does_not_pass(bright, pairs):
    same = found(bright, bright, pairs)
    assert dataclasses.replace(same, same_grade=0).shortfalls()


@pytest.mark.parametrize("task", ["localisation", "damage"])
def test_models_of_one_head_are_compared_by_it(tmp_path, task):
    data = write_pair(tmp_path, "storm_1")
    model = Model(write_pointwise(tmp_path / "m.onnx", task), device="cpu")
    same = found(model, model, [Pair("storm_1", data)])
    assert same.agreement == 1.0
    assert "found_agreement" not in same.figures()
    assert same.shortfalls() == []


def test_a_localising_model_agrees_where_it_finds_the_same(tmp_path):
    data = write_pair(tmp_path, "storm_1")
    model = Model(write_pointwise(tmp_path / "m.onnx", "localisation"), device="cpu")
    blind = Changed(model, lambda localisation, damage: Heads(localisation * 0, damage))
    assert found(model, blind, [Pair("storm_1", data)]).agreement == 0


def test_every_labelled_building_is_asked_about(bright, pairs):
    answers = ask(bright, read_truth(pairs[0]))
    assert answers.grades.tolist() == [1, 2, 3, 4]
    assert answers.found.all()


def test_the_limits_are_those_of_the_documents():
    assert (parity.AGREEMENT, parity.F1_LOSS) == (0.995, 0.005)
    assert np.isclose(100 * parity.F1_LOSS, 0.5)
