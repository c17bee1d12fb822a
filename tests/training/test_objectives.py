from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from geodamage.networks.conventions import COMPACT, Exported
from tests.training.small_runs import Tiny
from training.data.crops import ChipOptions
from training.data.sampling import inverse_frequency
from training.losses.options import LossOptions
from training.meta import MetaObjective
from training.objectives import CompactObjective, PublishedObjective, exported, make_objective
from training.recipe import Recipe

PIXELS = np.array([1000, 100, 20, 10, 5, 3])


def recipe_of(task="damage", network="seresnext50_unet", **values):
    values = {"metric": "dice", "loss": LossOptions(terms=("bce:1",))} | values
    return Recipe(name="a", network=network, task=task, steps=1, **values)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "pre": torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8),
        "post": torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8),
        "grades": torch.randint(0, 5, (2, 16, 16), dtype=torch.uint8),
        "buildings": torch.randint(0, 2, (2, 16, 16), dtype=torch.uint8),
    }


class Noting(nn.Module):
    """A network that keeps what it is shown."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, images):
        self.seen = images
        return torch.zeros(len(images), self.channels, 16, 16, requires_grad=True)


def test_the_first_place_sees_blue_first_and_about_zero(batch):
    network = Noting(5)
    make_objective(recipe_of(), PIXELS)(network, batch)
    assert network.seen.shape == (2, 6, 16, 16)
    assert torch.allclose(network.seen[:, 0], batch["pre"][:, 2] / 127 - 1)
    assert torch.allclose(network.seen[:, 5], batch["post"][:, 0] / 127 - 1)


def test_localisation_sees_the_pre_image_and_learns_buildings(batch):
    network = Noting(1)
    objective = make_objective(recipe_of("localisation"), PIXELS)
    assert objective(network, batch).item() == pytest.approx(np.log(2), rel=1e-6)
    assert network.seen.shape == (2, 3, 16, 16)
    certain = torch.where(batch["buildings"][:, None] > 0, 20.0, -20.0)
    assert objective(lambda images: certain, batch) < 1e-6
    del batch["post"]
    assert objective(network, batch) > 0


def test_damage_learns_grades_and_assess_both(batch):
    damage = recipe_of(loss=LossOptions(terms=("cross_entropy:1",)))
    right = nn.functional.one_hot(batch["grades"].long(), 5).movedim(-1, 1) * 40.0
    assert make_objective(damage, PIXELS)(lambda images: right, batch) < 1e-6
    both = recipe_of("assess", "siamese_resnet50", loss=LossOptions(terms=("cross_entropy:1",)))
    before = nn.functional.one_hot(batch["buildings"].long(), 2).movedim(-1, 1) * 40.0
    after = nn.functional.one_hot(batch["grades"].long(), 6).movedim(-1, 1) * 40.0
    objective = make_objective(both, PIXELS)
    assert objective(lambda images: torch.cat([before, after], 1), batch) < 1e-6
    wrong = objective(lambda images: torch.cat([-before, after], 1), batch)
    assert wrong.item() == pytest.approx(0.4 * 40, rel=1e-3)


def test_class_weights_come_from_the_pixels():
    loss = LossOptions(terms=("cross_entropy:1",), balanced=True)
    damage = make_objective(recipe_of(loss=loss), PIXELS).loss
    assert damage.class_weights.tolist() == pytest.approx(inverse_frequency(PIXELS[:5]))
    both = make_objective(recipe_of("assess", "siamese_resnet50", loss=loss), PIXELS).loss
    assert both.pre.class_weights.tolist() == pytest.approx(
        inverse_frequency(np.array([1000, 138]))
    )
    assert both.post.class_weights.tolist() == pytest.approx(inverse_frequency(PIXELS))


@pytest.mark.parametrize(
    ("network", "task"), [("seresnext50_unet", "damage"), ("siamese_resnet50", "assess")]
)
def test_an_objective_moves_to_its_device_whole(batch, network, task, monkeypatch):
    # The device `meta` refuses what is left behind on the CPU, as CUDA does; it has no autocast.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    loss = LossOptions(terms=("cross_entropy:1",), balanced=True)
    objective = make_objective(recipe_of(task, network, loss=loss), PIXELS).to("meta")
    there = {name: tensor.to("meta") for name, tensor in batch.items()}
    assert objective(Tiny(task).to("meta"), there).device.type == "meta"


def test_losses_are_taken_in_32_bits(batch):
    objective = make_objective(recipe_of(), PIXELS)
    with torch.autocast("cpu", torch.bfloat16):
        assert objective(Tiny("damage"), batch).dtype == torch.float32


def chips():
    torch.manual_seed(0)
    mask = torch.randint(0, 2, (2, 16, 16), dtype=torch.uint8)
    return {
        "pre": torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8),
        "post": torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8),
        "buildings": mask,
        "buildings_post": mask,
        "weights": torch.ones(2, 16, 16),
        "damage": mask * 3,
        "vote": mask.float(),
    }


def test_the_compact_network_weighs_its_three_losses():
    logits = [torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16), torch.randn(2, 4, 8, 8)]

    def value(**weights):
        none = {"localisation_weight": 0.0, "post_weight": 0.0, "damage_weight": 0.0}
        options = ChipOptions(**(none | weights))
        recipe = recipe_of("assess", "compact", sampling="chips", chips=options, loss=LossOptions())
        return make_objective(recipe, PIXELS)(lambda pre, post: logits, chips()).item()

    parts = [value(**{name: 1.0}) for name in ("localisation_weight", "post_weight")]
    parts.append(value(damage_weight=1.0))
    assert min(parts) > 0
    whole = value(localisation_weight=1.0, post_weight=0.3, damage_weight=2.0)
    assert whole == pytest.approx(parts[0] + 0.3 * parts[1] + 2 * parts[2], rel=1e-5)


def test_the_compact_network_is_not_asked_where_a_building_fell():
    batch = chips() | {"buildings_post": torch.full((2, 16, 16), 255, dtype=torch.uint8)}
    options = ChipOptions(localisation_weight=0.0, damage_weight=0.0, post_weight=1.0)
    recipe = recipe_of("assess", "compact", sampling="chips", chips=options, loss=LossOptions())
    after = torch.randn(2, 1, 16, 16, requires_grad=True)
    heads = torch.zeros(2, 1, 16, 16), after, torch.zeros(2, 4, 8, 8)
    make_objective(recipe, PIXELS)(lambda pre, post: heads, batch).backward()
    assert not after.grad.any()


def test_each_algorithm_has_its_objective():
    compact = recipe_of("assess", "compact", sampling="chips", loss=LossOptions())
    assert isinstance(make_objective(compact, PIXELS), CompactObjective)
    assert isinstance(make_objective(recipe_of(), PIXELS), PublishedObjective)
    learning = make_objective(recipe_of(algorithm="maml"), PIXELS)
    assert isinstance(learning, MetaObjective)
    assert isinstance(learning.objective, PublishedObjective)


def test_an_exported_network_has_the_convention_of_its_family():
    assert exported(nn.Identity(), recipe_of()).convention.order == "bgr"
    compact = recipe_of("assess", "compact", sampling="chips", loss=LossOptions())
    assert exported(nn.Identity(), compact).convention == COMPACT
    assert isinstance(exported(nn.Identity(), compact), Exported)
