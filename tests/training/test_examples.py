import json

import numpy as np
import pytest
import torch

from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, find_pairs, read_split
from tests.training.small_runs import (
    losses,
    options_of,
    write_set,
)
from training.data.samples import sample_of
from training.examples import count_pixels, read_parts
from training.recipe import Recipe
from training.train import set_up

pytestmark = pytest.mark.usefixtures("tiny")


def recipe_of(**values):
    return Recipe(**({"name": "a", "network": "res34_unet", "task": "damage", "steps": 1} | values))


@pytest.mark.slow
def test_parts_are_taken_by_their_names(small_set):
    learnt, held_out = read_parts(recipe_of(), small_set / "split.csv", small_set / "xbd")
    assert (len(learnt), len(held_out)) == (5, 3)
    few = read_parts(recipe_of(subset=2, validate_on=1), small_set / "split.csv", small_set / "xbd")
    assert set(few[0]) < set(learnt)
    assert len(few[0]) == 2
    assert few[1] == held_out[:1]
    assert few == read_parts(
        recipe_of(subset=2, validate_on=1), small_set / "split.csv", small_set / "xbd"
    )
    others = {
        tuple(
            read_parts(recipe_of(subset=2, seed=s), small_set / "split.csv", small_set / "xbd")[0]
        )
        for s in range(9)
    }
    assert len(others) > 1


@pytest.mark.slow
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_validates_and_the_others_train(tmp_path, fold):
    folder = write_set(tmp_path, ("0", "1", "2", "0", "1", "2", "2"))
    split = folder / "split.csv"
    learnt, held_out = read_parts(recipe_of(fold=fold), split, folder / "xbd")
    assert held_out == read_split(split, folder / "xbd", str(fold))
    assert sorted(learnt + held_out) == sorted(read_split(split, folder / "xbd"))
    options = options_of(folder, tmp_path / "runs", f"fold={fold}", "batch=2")
    work, state = set_up(options)
    assert len(losses(work, state)) == 2
    assert work.run.name == f"small-fold{fold}"


def test_a_fold_that_there_is_not_and_a_leaking_split_are_refused(small_set, tmp_path):
    with pytest.raises(LabelError, match="its parts are train, validation"):
        read_parts(recipe_of(fold=0), small_set / "split.csv", small_set / "xbd")
    leaking = tmp_path / "split.csv"
    leaking.write_text("pair,part\na_1,train\nb_1,validation\na_1,validation\n")
    with pytest.raises(LabelError, match="a_1 is in two parts"):
        read_parts(recipe_of(), leaking, tmp_path)


@pytest.mark.slow
def test_pixels_are_counted_by_the_size_of_the_image(tmp_path):
    folder = write_set(tmp_path, ("train", "train"), 96)
    counts = count_pixels(recipe_of(), find_pairs(folder / "xbd"))
    assert counts.shape == (2, 6)
    assert (counts.sum(1) == 96 * 96).all()
    for pair, row in zip(find_pairs(folder / "xbd"), counts, strict=True):
        grades = sample_of(pair, "ignore").grades
        drawn = np.bincount(grades.ravel(), minlength=6)
        # Drawn masks hold the vertices, so each building has a rim more than its area.
        assert (abs(drawn - row) <= 0.35 * drawn + 60).all()


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ("ignore", [800, 100, 0, 0, 0, 0]),
        ("undrawn", [900, 100, 0, 0, 0, 0]),
        ("no-damage", [800, 200, 0, 0, 0, 0]),
        ("own", [800, 100, 0, 0, 0, 100]),
    ],
)
def test_pixels_without_a_grade_are_counted_as_the_recipe_says(tmp_path, rule, counts):
    features = [
        {"properties": {"uid": str(n), "subtype": subtype},
         "wkt": f"POLYGON (({n} 0, {n + 10} 0, {n + 10} 10, {n} 10, {n} 0))"}
        for n, subtype in ((0, "no-damage"), (10, "un-classified"))
    ]  # fmt: skip
    (tmp_path / "labels").mkdir()
    pair = Pair("a_1", tmp_path)
    document = {"features": {"xy": features}, "metadata": {"height": 20, "width": 50}}
    pair.label_file("post").write_text(json.dumps(document))
    assert count_pixels(recipe_of(unclassified=rule), [pair]).tolist() == [counts]


def test_an_image_is_read_where_its_labels_do_not_say_its_size(tmp_path):
    folder = write_set(tmp_path, ("train",), 64)
    pair = find_pairs(folder / "xbd")[0]
    before = count_pixels(recipe_of(), [pair])
    document = json.loads(pair.label_file("post").read_text())
    del document["metadata"]
    pair.label_file("post").write_text(json.dumps(document))
    assert np.array_equal(count_pixels(recipe_of(), [pair]), before)


@pytest.mark.parametrize("sampling", ["once", "oversample", "oversample_any", "weighted"])
def test_each_way_of_sampling_trains(begin, sampling):
    work, state = begin(f'sampling="{sampling}"')
    assert len(losses(work, state)) == 2
    assert (len(work.samples) > 5) == sampling.startswith("oversample")


@pytest.mark.slow
def test_disasters_are_learnt_as_tasks(begin):
    work, state = begin('algorithm="maml"', "batch=6", "meta_inner_lr=0.01")
    before = state.network.res.weight.clone()
    assert len(losses(work, state)) == 2
    assert not torch.equal(before, state.network.res.weight)
