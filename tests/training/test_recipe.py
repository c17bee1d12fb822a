import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import OptionError
from tests.fakes import SMALL
from training.losses.presets import LOSSES
from training.recipe import CHOICES, LEAST, Recipe, as_toml

#: Those of training.train; test_chip_recipe looks at those of training.chips.
RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))
    if not path.stem.startswith("cross_modal_chips")
]
FEW = {"name": "tiny", "network": "res34_unet", "task": "damage", "steps": 3}


@pytest.fixture
def write(tmp_path):
    def write(text, name="tiny"):
        path = tmp_path / "recipe.toml"
        head = f'name = "{name}"\nnetwork = "res34_unet"\ntask = "damage"\n'
        path.write_text(head + text + "\n", encoding="utf-8")
        return path

    return write


def again(recipe):
    return Recipe.from_values(tomllib.loads(as_toml(recipe)))


def test_a_recipe_holds_only_what_differs(write):
    assert Recipe.read(write("steps = 7")) == Recipe(**(FEW | {"steps": 7}))


def test_groups_are_read_by_their_prefix(write):
    recipe = Recipe.read(
        write(
            "steps = 7\n"
            'loss = "first_place_res34_damage"\n'
            "loss_gamma = 3\n"
            'augmentation = "first_place_res34_damage"\n'
            "augmentation_crop = 96\n"
            "chips_grade_shares = [1, 0, 0, 0.5]\n"
            "meta_support = 4"
        )
    )
    preset = LOSSES["first_place_res34_damage"]
    assert recipe.loss == dataclasses.replace(preset, gamma=3.0)
    assert recipe.augmentation.crop == 96
    assert recipe.augmentation.quarter_turn == 0.95
    assert recipe.chips.grade_shares == (1.0, 0.0, 0.0, 0.5)
    assert recipe.meta.support == 4


def test_overrides_win_over_the_file(write):
    recipe = Recipe.read(write("steps = 7"), ["steps=9", 'name = "other"', "lr = 1"])
    assert (recipe.steps, recipe.name, recipe.lr) == (9, "other", 1.0)
    assert type(recipe.lr) is float


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_are_read_and_come_back(path):
    recipe = Recipe.read(path)
    assert again(recipe) == recipe


words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
numbers = st.floats(1e-30, 1e30)


@pytest.mark.slow
@SMALL
@given(
    words.filter(lambda name: name != ".." and Path(name).name == name),
    words,
    st.sampled_from(CHOICES["schedule"]),
    numbers,
    numbers,
    st.lists(st.integers(0, 10**6), max_size=4),
    st.booleans(),
    st.floats(0, 1),
)
def test_a_recipe_comes_back_from_its_toml(name, init, schedule, lr, epochs, stones, amp, haze):
    recipe = Recipe.from_values(
        {
            "name": name,
            "network": "res34_unet",
            "task": "damage",
            "init": init,
            "schedule": schedule,
            "lr": lr,
            "epochs": epochs,
            "milestones": stones,
            "mlflow": amp,
            "augmentation_haze": haze,
            "loss_terms": ["dice:0.5", f"focal:{lr!r}"],
        }
    )
    assert again(recipe) == recipe


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("stepz", "unknown key 'stepz'; did you mean 'steps'"),
        ("loss_gama", "unknown key 'loss_gama'; did you mean 'loss_gamma'"),
        ("augmentation_crops", "unknown key 'augmentation_crops'; did you mean 'augmentation_crop"),
        ("chips_generate", "unknown key 'chips_generate'; did you mean 'chips_generated'"),
        ("meta_innerlr", "unknown key 'meta_innerlr'; did you mean 'meta_inner_lr'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(write, key, message):
    with pytest.raises(OptionError, match=r"recipe\.toml: " + message):
        Recipe.read(write(f"{key} = 7"))


@pytest.mark.parametrize("topic", ["loss", "augmentation"])
def test_an_unknown_preset_is_refused_with_the_nearest(write, topic):
    with pytest.raises(OptionError, match="did you mean 'first_place_res34_damage'"):
        Recipe.read(write(f'steps = 1\n{topic} = "first_place_res34_damaged"'))


@pytest.mark.parametrize(
    "text",
    [
        'steps = "7"',
        "steps = 7.0",
        "steps = true",
        "lr = true",
        "lr = 'low'",
        "milestones = 3",
        "milestones = [1.5]",
        "milestones = [true]",
        "ema = []",
        "loss_terms = 'dice'",
        "loss_detach = 1",
        "augmentation_crop = 1.5",
        "chips_grade_shares = [1, 2, 3]",
        "meta_second_order = 0",
    ],
)
def test_a_value_of_the_wrong_type_is_refused(write, text):
    with pytest.raises(OptionError, match=text.split(" =")[0]):
        Recipe.read(write(text))


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_that_there_is_not_is_refused(write, key):
    with pytest.raises(OptionError, match=f"{key} = 'xyz'; known: .*{CHOICES[key][0]}"):
        Recipe.read(write(f'steps = 1\n{key} = "xyz"'))


@pytest.mark.parametrize("text", ["", "steps = 3\nepochs = 1", "steps = 0", "epochs = 0.0"])
def test_either_epochs_or_steps_are_given(write, text):
    with pytest.raises(OptionError, match="either epochs or steps"):
        Recipe.read(write(text))


@pytest.mark.parametrize("key", [f.name for f in dataclasses.fields(Recipe) if f.type is int])
def test_a_whole_number_has_a_least_value(key):
    with pytest.raises(OptionError, match=f"{key} = "):
        Recipe(**(FEW | {key: LEAST.get(key, 0) - 1}))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["lr", "clip", "ema", "validate_every", "weight_decay"])
def test_a_number_is_finite_and_not_negative(key, value):
    with pytest.raises(OptionError, match=f"{key} = "):
        Recipe(**(FEW | {key: value}))


@pytest.mark.parametrize(
    "values",
    [
        {"batch": 6, "accumulate": 4},
        {"lr": 0.0},
        {"validate_every": 0.0},
        {"ema": 1.0},
        {"name": ""},
        {"name": ".."},
        {"name": "a/b"},
        {"sampling": "chips"},
        {"network": "compact", "task": "assess"},
        {"task": "localisation"},
        {"task": "localisation", "metric": "f1_damage"},
        {"network": "compact", "sampling": "chips", "algorithm": "maml"},
        {"network": "compact", "sampling": "chips", "metric": "loss"},
        {"network": "compact", "sampling": "chips", "loss": LOSSES["siamese_resnet50"]},
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(values):
    with pytest.raises(OptionError):
        Recipe(**(FEW | values))


def test_the_compact_network_learns_from_chips():
    assert Recipe(**(FEW | {"network": "compact", "sampling": "chips"})).chips.crop == 320


@pytest.mark.parametrize("override", ["steps", "steps=", "name=tiny"])
def test_an_override_that_is_no_toml_is_refused(write, override):
    with pytest.raises(OptionError, match="key=value"):
        Recipe.read(write("steps = 1"), [override])


def test_a_file_that_is_no_toml_is_refused(write):
    with pytest.raises(OptionError, match=r"recipe\.toml: not TOML"):
        Recipe.read(write("["))


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no such recipe"):
        Recipe.read(tmp_path / "none.toml")


@pytest.mark.parametrize("lacking", ["name", "network", "task"])
def test_a_missing_key_is_named(tmp_path, lacking):
    path = tmp_path / "recipe.toml"
    path.write_text("".join(f'{k} = "x"\n' for k in ("name", "network", "task") if k != lacking))
    with pytest.raises(OptionError, match=f"lacks {lacking}"):
        Recipe.read(path)


def test_a_fold_has_a_run_of_its_own():
    assert Recipe(**FEW).run_name == "tiny"
    assert Recipe(**FEW, fold=2).run_name == "tiny-fold2"


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(**FEW).steps = 1


def test_nothing_optical_is_pasted_beside_a_radar():
    recipe = Path(__file__).parents[2] / "training" / "recipes" / "cross_modal_assess.toml"
    assert Recipe.read(recipe).chips.paste == 0
    with pytest.raises(OptionError, match="no image of a radar"):
        Recipe.read(recipe, ["chips_paste=0.3"])
