"""The recipes of docs/weights.md: each export runs, and what it writes is imported."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from geodamage.errors import GeodamageWarning
from geodamage.foreign import importing
from geodamage.foreign.importing import import_graphs
from geodamage.model.loading import load_model
from tests.foreign.graphs import hot

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
EXPORTING = PAGE.partition("### Exporting")[2].partition("\n## ")[0]
*RECIPES, LOCALISING = re.findall(r"```python\n(.*?)```", EXPORTING, re.S)
TOML = re.search(r"```toml\n(.*?)```", PAGE, re.S)[1]
#: What of the page's convention each recipe wants otherwise, in their order.
OTHERWISE = (
    ("segmentation_models_pytorch", "stacked", {}),
    ("torchgeo", "paired", {'"stacked"': '"paired"'}),
    ("timm", "stacked", {}),
    ("timm", "apart", {'layout = "stacked"\n': "", 'dates = ["pre", "post"]\n': ""}),
)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)
    monkeypatch.chdir(tmp_path)


def imported(*files, conventions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodamageWarning)
        return [*import_graphs(files, "model", conventions=conventions)]


def run(recipe):
    exec(compile(recipe, "docs/weights.md", "exec"), {})


def test_each_recipe_is_known_and_none_goes_through_torchscript():
    for recipe, (package, *_) in zip(RECIPES, OTHERWISE, strict=True):
        assert f"import {package}" in recipe or f"from {package}" in recipe
    for recipe in (*RECIPES, LOCALISING):
        assert "dynamo=True" in recipe
        assert "torch.jit" not in recipe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(OTHERWISE)))
def test_what_a_recipe_writes_is_imported(number):
    package, layout, changes = OTHERWISE[number]
    pytest.importorskip(package)
    run(RECIPES[number])
    text = TOML
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    Path("unet.toml").write_text(text)
    (made,) = imported("unet.onnx", conventions=["unet.toml"])
    assert made.convention.layout == layout
    assert made.convention.order_of_dates == ("pre", "post")
    assert made.difference < 1e-5
    assert (made.card.task, made.card.tile) == ("assess", 256)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_that_localises_joins_one_that_grades():
    pytest.importorskip("segmentation_models_pytorch")
    run(LOCALISING)
    text = TOML.replace('layout = "stacked"', 'layout = "pre"').replace('"softmax"', '"sigmoid"')
    text = re.sub(r"channels = \[.*\]", 'channels = ["building"]', text)
    text = text.replace("tile = 256", "tile = 512")
    Path("buildings.toml").write_text(text.replace('dates = ["pre", "post"]\n', ""))
    hot(Path("model.onnx"))
    told = ["buildings.toml", "hot-dinov3"]
    located, graded = imported("buildings.onnx", "model.onnx", conventions=told)
    assert (located.card.task, graded.card.task) == ("localisation", "damage")
    model = load_model("model.toml", device="cpu")
    assert model.card.task == "assess"
    side = model.card.tile
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 3, side, side), np.uint8)
    heads = model(*images)
    assert heads.localisation.shape == (1, 1, side, side)
    assert heads.damage.shape == (1, 4, side, side)
