from dataclasses import replace

import numpy as np
import pytest

from geodamage.errors import OptionError
from tests.training.data.painted import make_sample
from training.data.augmentation import augment
from training.data.augmentation_presets import AUGMENTATIONS, augmentation_options


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_preset_gives_its_crop(name):
    options = replace(AUGMENTATIONS[name], crop=64)
    sample, donor = make_sample(150, 150), make_sample(150, 150, seed=1)
    made = augment(sample, options, np.random.default_rng(5), donor=donor)
    assert made.grades.shape == (64, 64)
    assert (made.post is None) == ("localisation" in name)


def test_numbers_of_the_tables():
    res34 = AUGMENTATIONS["first_place_res34_localisation"]
    # Source: train34_loc.py: randint(int(736 / 1.2), int(736 / 0.8)).
    assert [round(736 * scale) for scale in res34.crop_scale] == [613, 920]
    assert (res34.first_group, res34.clahe, res34.blur) == (0.07, 0.03, 0.03)
    assert res34.hsv_otherwise
    assert res34.dilation == 0
    senet154 = AUGMENTATIONS["first_place_senet154_damage"]
    assert (senet154.crop, senet154.quarter_turn, senet154.elastic) == (448, 0.9999, 0.1)
    assert senet154.crop_weights == (1, 5, 5, 2)
    assert AUGMENTATIONS["first_place_res34_damage_tuning"].crop == 608
    assert not AUGMENTATIONS["first_place_dpn92_localisation_tuning"].post_instead
    other = AUGMENTATIONS["metadamagenet_resnet34_damage"]
    assert [round(other.crop * scale / 1024, 2) for scale in other.crop_scale] == [0.65, 0.85]
    assert (other.first_group, other.blur, other.second_group) == (0.015, 0.1, 0.02)
    assert AUGMENTATIONS["siamese_resnet50"].flip_horizontal == 0.5


def test_a_recipe_names_an_augmentation_and_changes_it():
    recipe = {
        "name": "mine",
        "augmentation": "first_place_res34_damage",
        "augmentation_crop": 320,
        "augmentation_misregistration": 0.5,
    }
    made = augmentation_options(recipe)
    named = AUGMENTATIONS["first_place_res34_damage"]
    assert made == replace(named, crop=320, misregistration=0.5)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"augmentation": "first_place_res34_damages"}, "did you mean 'first_place_res34_damage'"),
        (
            {"augmentation_flip": 0.5},
            "did you mean 'augmentation_flip_horizontal' or 'augmentation_flip_vertical'",
        ),
        ({"augmentation_rotate": 1.5}, "augmentation_rotate = 1.5 is no probability"),
        ({"augmentation_crop": 0}, "is no size"),
        ({"augmentation_misregistration_reach": -1}, "less than none"),
        ({"augmentation_gsd_range": [2, 1]}, "the least is first"),
        ({"augmentation_images": "post"}, "it is 'both' or 'pre'"),
        ({"augmentation_crop_weights": [1, 2]}, "one for each of four grades"),
        ({"augmentation_precedence": [1, 2, 3]}, "each of the grades 1 to 4, once"),
    ],
)
def test_what_a_recipe_gets_wrong_is_named(recipe, said):
    with pytest.raises(OptionError, match=said):
        augmentation_options(recipe)
