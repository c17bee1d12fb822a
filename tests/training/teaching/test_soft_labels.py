from pathlib import Path

import pytest

from geodamage.errors import OptionError
from geodamage.xbd.folders import Pair
from training.export import training_data
from training.recipe import Recipe
from training.teaching.soft_labels import DistilOptions

COMPACT = {"name": "a", "network": "compact", "task": "assess", "sampling": "chips", "steps": 1}


@pytest.mark.parametrize(
    ("kind", "teachers", "said"),
    [
        ("single", ("a", "b"), "takes 1 of distil_teachers, and 2 are named"),
        ("dual", ("a",), "takes 2 of distil_teachers, and 1 are named"),
        ("ensemble", ("a",), "takes 2 or more of distil_teachers, and 1 are named"),
    ],
)
def test_each_kind_takes_its_number_of_teachers(kind, teachers, said):
    with pytest.raises(OptionError, match=said):
        DistilOptions(kind=kind, teachers=teachers, kl=1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"teachers": ("a",)}, "nothing is asked of them; give a weight to distil_response"),
        ({"kind": "duel"}, "distil_kind = 'duel'; did you mean 'dual'"),
        ({"kl": -1.0}, "distil_kl = -1.0: not negative"),
        ({"kl": float("nan")}, "distil_kl = nan"),
        ({"temperature": 0.0}, "distil_temperature = 0: more than none"),
        ({"mix": 1.5}, "distil_mix = 1.5: a share"),
        ({"teachers": ("a",), "feature": 1.0, "cache": "c"}, "keeps answers, no features"),
        ({"teachers": ("a",), "kl": 1.0, "tta": "flips"}, "distil_tta needs distil_cache"),
        ({"teachers": ("a", "b"), "kind": "ensemble", "feature": 1.0}, "have no mean"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, said):
    with pytest.raises(OptionError, match=said) as error:
        DistilOptions(**options)
    assert "\n" not in str(error.value)


def test_a_recipe_takes_the_keys_flat_and_names_the_nearest():
    values = COMPACT | {"distil_teachers": ["fast"], "distil_kl": 1}
    recipe = Recipe.from_values(values)
    assert recipe.distil == DistilOptions(teachers=("fast",), kl=1.0)
    with pytest.raises(OptionError, match="unknown key 'distil_teacher'; did you mean"):
        Recipe.from_values(COMPACT | {"distil_teacher": ["fast"]})
    assert Recipe.from_values(COMPACT).distil.teachers == ()


def test_mirror_images_are_for_whole_pairs_and_no_meta_learning_has_teachers():
    published = {"name": "a", "network": "res34_unet", "task": "damage", "steps": 1}
    asked = {"distil_teachers": ["fast"], "distil_kl": 1.0}
    flips = {"distil_tta": "flips", "distil_cache": "c"}
    with pytest.raises(OptionError, match="distil_tta is for whole pairs"):
        Recipe.from_values(published | asked | flips)
    with pytest.raises(OptionError, match="'maml' takes no distil_teachers"):
        Recipe.from_values(published | asked | {"algorithm": "maml"})
    assert Recipe.from_values(COMPACT | asked | flips).distil.tta == "flips"


def test_the_card_of_a_student_names_its_teachers():
    alone = Recipe.from_values(COMPACT)
    taught = Recipe.from_values(COMPACT | {"distil_teachers": ["fast"], "distil_kl": 1.0})
    pairs = [Pair("flood_1", Path())]
    assert "taught by" not in training_data(alone, pairs, "own pairs")
    assert training_data(taught, pairs, "own pairs").endswith("; taught by fast")
