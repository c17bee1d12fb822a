import pytest
import torch

from geodamage.errors import OptionError
from tests.training.losses.drawn import sample
from training.losses.networks import build_loss
from training.losses.options import LossOptions
from training.losses.presets import LOSSES, loss_options
from training.losses.terms import (
    cross_entropy,
    dice,
    focal,
    targets,
)


def test_the_loss_of_first_place_as_written_out():
    logits, codes, truth, known = sample()
    weights = (0.1, 0.1, 0.3, 0.3, 0.2)
    expected = 11 * cross_entropy(logits, codes.masked_fill(codes == 255, 0).long(), known).item()
    for channel, weight in enumerate(weights):
        one = logits[:, channel : channel + 1], truth[:, channel : channel + 1], known
        expected += weight * (0.5 * dice(*one).item() + 2 * focal(*one).item())
    loss = build_loss(LOSSES["first_place_seresnext50_damage"], task="damage").double()
    assert loss(logits, codes).item() == pytest.approx(expected, rel=1e-6)


def test_the_res34_of_first_place_asks_channel_0_for_buildings():
    codes = torch.tensor([[[0, 1], [2, 4]]]).byte()
    loss = build_loss(LOSSES["first_place_res34_damage"], task="damage")
    right = 30 * (2 * targets(codes, channels=5, channel_0="building") - 1)
    assert loss(right, codes).item() == pytest.approx(0, abs=1e-4)
    right[:, 0] *= -1
    assert loss(right, codes).item() > 0.05


@pytest.mark.parametrize("name", LOSSES)
def test_every_published_loss_can_be_built_and_learnt_from(name):
    task = name.rpartition("_")[2]
    task = task if task in ("localisation", "damage") else "assess"
    codes = torch.randint(0, 5, (2, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    counts = [[900, 100], [900, 60, 10, 10, 10, 0]] if LOSSES[name].balanced else []
    loss = build_loss(LOSSES[name], task=task, pixel_counts=counts)
    channels = {"localisation": 1, "damage": 5, "assess": 8}[task]
    logits = torch.zeros(2, channels, 8, 8, requires_grad=True)
    arguments = ((codes > 0).byte(), codes) if task == "assess" else (codes,)
    before = loss(logits, *arguments)
    before.backward()
    after = loss(logits - 5 * logits.grad, *arguments)
    assert after < before


def test_a_recipe_names_a_loss_and_changes_it():
    recipe = {
        "name": "mine",
        "loss": "first_place_dpn92_damage",
        "loss_terms": ["dice:1", "lovasz_softmax:2"],
        "loss_gamma": 1,
    }
    options = loss_options(recipe)
    assert options.terms == ("dice:1", "lovasz_softmax:2")
    assert options.gamma == 1.0
    assert options.channel_weights == LOSSES["first_place_dpn92_damage"].channel_weights
    assert loss_options({"name": "mine"}) == LossOptions()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"loss": "first_place_res43_damage"}, "did you mean 'first_place_res34_damage'"),
        ({"loss_term": ["dice:1"]}, "unknown key 'loss_term'; did you mean 'loss_terms'"),
        ({"loss_terms": ["dise:1"]}, "unknown term 'dise'; did you mean 'dice'"),
        ({"loss_terms": ["dice"]}, "needs a positive weight"),
        ({"loss_terms": ["dice:-1"]}, "needs a positive weight"),
        ({"loss_terms": ["dice:nan"]}, "needs a positive weight"),
        ({"loss_terms": "dice:1"}, "loss_terms = 'dice:1' is not"),
        ({"loss_gamma": "2"}, "is not float"),
        ({"loss_channel_0": "roof"}, "loss_channel_0 = 'roof'"),
    ],
)
def test_what_a_recipe_gets_wrong_is_named(recipe, said):
    with pytest.raises(OptionError, match=said):
        loss_options(recipe)


def test_the_building_student_is_held_to_the_labels_at_temperature_2():
    # Source: building_damage_kd, train_student_building.py:394: p = sigmoid(z / 2).
    logits = torch.tensor([[[[2.0, -3.0], [0.5, 4.0]]]]).double()
    codes = torch.tensor([[[1, 0], [1, 0]]]).byte()
    truth, known = codes[:, None].double(), torch.ones(1, 2, 2).double()
    p = torch.sigmoid(logits / 2)
    entropy = -torch.log(1e-9 + p * truth + (1 - p) * (1 - truth)).mean().item()
    # ln(1 + e^-1), ln(1 + e^-1.5), ln(1 + e^-0.25) and ln(1 + e^2), their mean.
    assert entropy == pytest.approx((0.313262 + 0.201413 + 0.575939 + 2.126928) / 4, abs=1e-6)
    overlap = (3 * dice(logits, truth, known) + 10 * focal(logits, truth, known)).item()
    loss = build_loss(LOSSES["distillation_localisation"], task="localisation").double()
    assert loss(logits, codes).item() == pytest.approx(overlap + entropy, rel=1e-6)
    alone = LossOptions(terms=("bce:1",), temperature=2.0)
    assert build_loss(alone, task="localisation")(logits, codes).item() == pytest.approx(entropy)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_positive_and_finite(temperature):
    with pytest.raises(OptionError, match="loss_temperature"):
        LossOptions(temperature=temperature)
