import dataclasses
from pathlib import Path

import pytest

from geodamage.errors import OptionError
from training.recipe import Recipe, as_toml

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(f'name = "tiny"\nsplit = "tiny.csv"\n{text}\n', encoding="utf-8")
        return path

    return write


def test_a_recipe_holds_only_what_differs(write):
    recipe = Recipe.read(write("steps = 7\ngrade_shares = [1, 0, 0, 0.5]"))
    assert recipe == Recipe(
        name="tiny", split="tiny.csv", steps=7, grade_shares=(1.0, 0.0, 0.0, 0.5)
    )


def test_overrides_win_over_the_file(write):
    recipe = Recipe.read(write("steps = 7"), ["steps=9", 'name = "other"', "lr = 1"])
    assert (recipe.steps, recipe.name, recipe.lr) == (9, "other", 1.0)
    assert type(recipe.lr) is float


def test_a_recipe_comes_back_from_its_toml(tmp_path):
    recipe = Recipe(name='with "quotes" and \\', split="ü.csv", lr=1e-7, steps=3)
    path = tmp_path / "resolved.toml"
    path.write_text(as_toml(recipe), encoding="utf-8")
    assert Recipe.read(path) == recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_are_read_and_have_their_split(path):
    recipe = Recipe.read(path)
    assert (path.parent / recipe.split).exists()
    assert recipe.crop % 16 == 0


def test_an_unknown_key_is_refused_with_the_nearest(write):
    with pytest.raises(OptionError, match="unknown key 'stepz'; did you mean 'steps'"):
        Recipe.read(write("stepz = 7"))
    with pytest.raises(OptionError, match=r"unknown key 'qqqq'$"):
        Recipe.read(write(""), ["qqqq=1"])


@pytest.mark.parametrize(
    "text",
    [
        'steps = "7"',
        "steps = 7.0",
        "steps = true",
        "lr = true",
        "lr = 'low'",
        "grade_shares = [1, 2, 3]",
        "grade_shares = 1",
        "grade_shares = ['a', 'b', 'c', 'd']",
        "grade_shares = [true, 1, 1, 1]",
    ],
)
def test_a_value_of_the_wrong_type_is_refused(write, text):
    with pytest.raises(OptionError, match=text.split(" =")[0]):
        Recipe.read(write(text))


@pytest.mark.parametrize("override", ["steps", "steps=", "name=tiny"])
def test_an_override_that_is_no_toml_is_refused(write, override):
    with pytest.raises(OptionError, match="key=value"):
        Recipe.read(write(""), [override])


def test_a_file_that_is_no_toml_is_refused(write):
    with pytest.raises(OptionError, match=r"recipe\.toml"):
        Recipe.read(write("["))


@pytest.mark.parametrize("lacking", ["name", "split"])
def test_a_missing_key_is_named(tmp_path, lacking):
    path = tmp_path / "recipe.toml"
    path.write_text("".join(f'{key} = "x"\n' for key in ("name", "split") if key != lacking))
    with pytest.raises(OptionError, match=lacking):
        Recipe.read(path)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(name="a", split="b").steps = 1
