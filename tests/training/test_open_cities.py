"""Training of the feature pyramids with four heads, in the same loop as every other network."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import training.train
from geodamage.errors import LabelError, OptionError
from geodamage.networks.checkpoints import save_checkpoint
from tests.training.building_folders import write_masks
from tests.training.small_cities import TEXT, TinyFpn
from tests.training.small_runs import options_of
from training.data.building_images import read_building_index
from training.export import building_origin
from training.losses.networks import OpenCitiesLoss
from training.objectives import make_objective, reduced
from training.prepare_buildings import main as prepare
from training.recipe import Recipe
from training.steps import train
from training.teaching.semi_supervision import CollapseError
from training.train import set_up

RECIPES = Path(training.train.__file__).parent / "recipes"


def options(folder, *changes, text=TEXT):
    made = options_of(folder, folder / "runs", *changes, text=text)
    made.data, made.split = folder / "prepared", None
    return made


@pytest.mark.slow
def test_a_run_learns_masks_and_is_judged_by_jaccard_over_its_fold(cities):
    work, state = set_up(options(cities, "steps=40"))
    assert len(work.held_out) == 2
    reports = list(train(work, state))
    rows = [report.row for report in reports if report.row is not None]
    assert reports[-1].loss < reports[0].loss
    row = rows[-1]
    assert row["jaccard"] == pytest.approx(row["f1_building"] / (2 - row["f1_building"]))
    assert (cities / "runs" / "cities-fold0" / "best").exists()


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(cities):
    soft_labels(cities)
    changes = ('soft_folder="soft"', "soft_every=2", "checkpoint_every=1", "validate_every=100")
    work, state = set_up(options(cities, *changes))
    losses = [report.loss for report in train(work, state)]
    stopped = options(cities, *changes, 'name="stopped"')
    reports = train(*set_up(stopped))
    first = [next(reports).loss for _ in range(4)]  # asked for the fourth: the third is kept
    reports.close()
    rest = [report.loss for report in train(*set_up(stopped))]
    assert first[:3] + rest == pytest.approx(losses)


def soft_labels(folder, grey=None):
    """Write soft labels of other scenes: their masks, or one grey everywhere."""
    import cv2

    write_masks(folder / "more", ["x", "y", "z"])
    if grey is not None:
        for path in (folder / "more" / "masks").iterdir():
            cv2.imwrite(str(path), np.full((64, 64), grey, np.uint8))
    out = folder / "prepared" / "soft"
    prepare([str(folder / "more"), "-o", str(out), "--folds", "1", "--scales", "1"])


@pytest.mark.slow
def test_soft_labels_come_with_every_nth_batch(cities):
    soft_labels(cities)
    work, state = set_up(options(cities, 'soft_folder="soft"', "soft_every=3"))
    seen = []
    objective = work.objective.forward
    work.objective.forward = lambda network, batch: (
        seen.append("soft" in batch) or objective(network, batch)
    )
    list(train(work, state))
    assert seen == [True, False, False] * 2


@pytest.mark.slow
def test_a_student_that_collapses_ends_the_training(cities):
    soft_labels(cities, grey=0)
    changes = ('soft_folder="soft"', "soft_every=1", "soft_guard_after=3", "soft_guard_over=2")
    work, state = set_up(options(cities, *changes, "soft_weight=0.0", "lr=1e-9"))
    nn.init.constant_(state.network.bce_logit.bias[1], 5.0)
    with pytest.raises(CollapseError, match=r"its teachers on 0\.0%"):
        list(train(work, state))


def test_soft_labels_of_the_validation_part_are_refused(cities):
    images = read_building_index(cities / "prepared")
    held_out = next(image.tile for image in images if image.fold == 0)
    write_masks(cities / "set2", [held_out])
    prepare([str(cities / "set2"), "-o", str(cities / "prepared" / "soft"), "--folds", "1"])
    with pytest.raises(LabelError, match="which this training is validated on"):
        set_up(options(cities, 'soft_folder="soft"'))


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["lookahead_lamb", "lookahead_radam", "adamw", "sgd"])
def test_every_optimiser_goes_on_from_its_checkpoint(cities, optimiser):
    changes = (f'optimiser="{optimiser}"', "checkpoint_every=1", "validate_every=100")
    losses = [report.loss for report in train(*set_up(options(cities, *changes)))]
    stopped = options(cities, *changes, 'name="stopped"')
    reports = train(*set_up(stopped))
    first = [next(reports).loss for _ in range(4)]
    reports.close()
    rest = [report.loss for report in train(*set_up(stopped))]
    assert first[:3] + rest == pytest.approx(losses, rel=1e-4)


def test_masks_are_brought_to_the_heads_by_a_threshold_of_one_half():
    codes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    codes[0, :4, :2] = 1  # half of a cell: published, it became background
    codes[0, 4:, 4:7] = 255  # three quarters unknown
    codes[0, 4:, 7] = 1
    found = reduced(codes, (2, 2))
    assert found.tolist() == [[[1, 0], [0, 255]]]


def test_a_quarter_of_what_is_known_is_no_building_whatever_is_unknown():
    codes = torch.zeros(1, 4, 4, dtype=torch.uint8)
    codes[0, 0] = 1
    codes[0, 3, :2] = 255
    assert reduced(codes, (1, 1)).item() == 0


def test_the_objective_is_the_published_sum_on_reduced_masks():
    recipe = Recipe.from_values(
        {"name": "x", "network": "efficient_fpn_b0", "task": "localisation", "steps": 1}
        | {"data": "buildings", "fold": 0, "metric": "jaccard"}
    )
    torch.manual_seed(0)
    network = TinyFpn()
    batch = {
        "pre": torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8),
        "buildings": torch.randint(0, 2, (2, 32, 32), dtype=torch.uint8),
    }
    objective = make_objective(recipe, np.zeros(6))
    outputs = network(objective.scaling.scaled(batch["pre"]))
    codes = reduced(batch["buildings"], (8, 8))
    wanted = OpenCitiesLoss()(outputs.building, outputs.dice, outputs.presence, codes)
    assert objective(network, batch).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["fold=-1"], "a fold from 0"),
        (['task="damage"'], "goes with task = 'localisation'"),
        (['sampling="weighted"'], "sampling = 'once'"),
        (['data="pairs"', 'soft_folder="x"'], "soft_folder goes with data"),
        (['network_options=["drop_connect"]'], "not name=value in TOML"),
        (['loss_terms=["bce:1"]'], "a loss for each of its heads"),
    ],
)
def test_what_does_not_go_together_is_refused(cities, changes, words):
    with pytest.raises(OptionError, match=words):
        set_up(options(cities, *changes))


def test_options_of_the_network_reach_it(cities, monkeypatch):
    asked = {}

    def create(name, *, task, pretrained=False, **options):
        asked.update(options)
        return TinyFpn()

    monkeypatch.setattr("training.state.create_network", create)
    set_up(options(cities, 'network_options=["drop_connect=0.5", "encoder=\\"resnet18\\""]'))
    assert asked == {"drop_connect": 0.5, "encoder": "resnet18"}


PUBLISHED = {"lr": 2.259e-4, "weight_decay": 1.4712e-5, "batch": 5, "schedule": "onecycle"}


@pytest.mark.parametrize("name", ["b0", "b1", "b2"])
def test_a_recipe_has_the_published_numbers(name):
    recipe = Recipe.read(RECIPES / f"open_cities_{name}.toml")
    assert {key: getattr(recipe, key) for key in PUBLISHED} == PUBLISHED
    assert recipe.epochs == (1 if name == "b0" else 20)
    assert recipe.network == f"efficient_fpn_{name}"
    assert recipe.augmentation.crop == 512
    assert recipe.options == ({"drop_connect": 0.5} if name == "b2" else {})
    assert bool(recipe.soft.folder) == (name == "b2")


@pytest.mark.parametrize("name", [path.stem for path in RECIPES.glob("open_cities_*.toml")])
def test_a_recipe_trains_two_steps(cities, name):
    soft_labels(cities)
    changes = ["steps=2", "epochs=0", "fold=0", 'init=""', "batch=2", "augmentation_crop=32"]
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    work, state = set_up(options(cities, *changes, text=text))
    assert work.recipe.name == name
    assert len(list(train(work, state))) == 2


def test_folds_are_tuned_from_their_own_weights():
    tuned = Recipe.read(RECIPES / "open_cities_b2_tuning.toml")
    before = Recipe.read(RECIPES / "open_cities_b2.toml", [f"fold={tuned.fold}"])
    assert tuned.init == before.run_name
    assert tuned.network == before.network
    assert tuned.lr < before.lr


def test_the_card_of_a_run_says_what_it_learnt(cities):
    work, _ = set_up(options(cities))
    checkpoint = SimpleNamespace(epoch=1, best_score=0.5)
    trained = SimpleNamespace(source=work.run, recipe=work.recipe, checkpoint=checkpoint)
    facts = building_origin(trained, work.recipe)
    assert facts["training_data"] == "2 images with building masks: 2 of set"
    assert facts["scores"]["training"]["validation_jaccard"] == 0.5


def test_a_best_checkpoint_can_be_kept_of_any_network(tmp_path):
    save_checkpoint(TinyFpn(), tmp_path / "best", epoch=1, best_score=0.5)
    assert (tmp_path / "best").exists()


@pytest.mark.parametrize(
    "path", sorted(RECIPES.glob("open_cities*.toml")), ids=lambda path: path.stem
)
def test_a_recipe_says_how_to_run_it(path):
    head = path.read_text(encoding="utf-8").partition("name =")[0]
    assert f"python -m training.train training/recipes/{path.name} --data PREPARED" in head
