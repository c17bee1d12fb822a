"""The recipes of docs/weights.md: each export runs, and what it writes is imported."""

import re
import warnings
from pathlib import Path

import pytest

from geodamage.errors import GeodamageWarning
from geodamage.foreign import importing
from geodamage.foreign.importing import import_graphs

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
EXPORTING = PAGE.partition("### Exporting")[2].partition("\n## ")[0]
RECIPES = re.findall(r"```python\n(.*?)```", EXPORTING, re.S)
TOML = re.search(r"```toml\n(.*?)```", PAGE, re.S)[1]


def needed(recipe):
    """Return the package that a recipe is for."""
    named = re.search(r"(segmentation_models_pytorch|torchgeo|timm)", recipe)
    return named[1]


def test_there_are_three():
    assert [needed(recipe) for recipe in RECIPES] == [
        "segmentation_models_pytorch", "torchgeo", "timm",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", RECIPES, ids=needed)
def test_what_a_recipe_writes_is_imported(tmp_path, monkeypatch, recipe):
    pytest.importorskip(needed(recipe))
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)
    monkeypatch.chdir(tmp_path)
    exec(compile(recipe, "docs/weights.md", "exec"), {})
    layout = "paired" if needed(recipe) == "torchgeo" else "stacked"
    Path("unet.toml").write_text(TOML.replace("stacked", layout))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodamageWarning)
        (made,) = import_graphs(["unet.onnx"], "model", conventions=["unet.toml"])
    assert made.difference < 1e-5
    assert (made.card.task, made.card.tile) == ("assess", 256)
