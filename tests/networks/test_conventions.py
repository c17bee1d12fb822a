import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geodamage.errors import OptionError
from geodamage.networks.conventions import COMPACT, Convention, Exported, convention_of

RED, GREEN, BLUE = 200, 100, 50


def patch(*colour: int) -> Tensor:
    """Return one pixel of an image, red first."""
    return torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1)


class Echo(nn.Module):
    """Returns its input as logits, and keeps it."""

    def __init__(self, logits: list[float] | None = None) -> None:
        super().__init__()
        self.logits = logits
        self.seen: Tensor = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x if self.logits is None else torch.tensor(self.logits).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("first_place", [BLUE / 127 - 1, GREEN / 127 - 1, RED / 127 - 1]),
        ("distillation", [BLUE / 127 - 1, GREEN / 127 - 1, RED / 127 - 1]),
        ("metadamagenet", [RED / 255 * 2 - 1, GREEN / 255 * 2 - 1, BLUE / 255 * 2 - 1]),
        (
            "siamese_resnet50",
            [
                (RED / 255 - 0.485) / 0.229,
                (GREEN / 255 - 0.456) / 0.224,
                (BLUE / 255 - 0.406) / 0.225,
            ],
        ),
    ],
)
def test_each_family_gets_its_own_order_and_scaling(family, expected):
    echo = Echo([0.0] * 8)
    task = "assess" if family == "siamese_resnet50" else "damage"
    exported = Exported(echo, convention_of(family, "any", task))
    exported(patch(RED, GREEN, BLUE), patch(0, 0, 255))
    assert echo.seen.shape == (1, 6, 1, 1)
    np.testing.assert_allclose(echo.seen[0, :3].flatten(), expected, atol=1e-6)
    # Blue alone is bright in the post image: first in BGR, last in RGB.
    assert int(echo.seen[0, 3:].argmax()) == (0 if expected[0] == BLUE / 127 - 1 else 2)


def test_localisation_is_a_sigmoid():
    convention = convention_of("first_place", "res34_unet", "localisation")
    assert convention.inputs == ("pre",)
    (localisation,) = Exported(Echo([2.0]), convention)(patch(0, 0, 0))
    assert localisation.item() == pytest.approx(1 / (1 + np.exp(-2)))


def test_channel_0_of_the_first_place_res34_is_building_and_a_sigmoid():
    convention = convention_of("first_place", "res34_unet", "damage")
    logits = [2.0, 1.0, 0.0, -1.0, -2.0]
    located, damage = Exported(Echo(logits), convention)(patch(0, 0, 0), patch(0, 0, 0))
    expected = 1 / (1 + np.exp(-np.array(logits)))
    assert located.item() == pytest.approx(expected[0])
    np.testing.assert_allclose(damage.flatten(), expected[1:], rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "network"),
    [
        ("first_place", "seresnext50_unet"),
        ("first_place", "dpn92_unet"),
        ("first_place", "senet154_unet"),
        ("distillation", "seresnext50_unet_student"),
        ("metadamagenet", "metadamagenet_resnet34_unet"),
        ("metadamagenet", "segformer_b0"),
    ],
)
def test_channel_0_of_the_others_is_background_of_a_softmax(family, network):
    logits = [2.0, 1.0, 0.0, -1.0, -2.0]
    located, damage = Exported(Echo(logits), convention_of(family, network, "damage"))(
        patch(0, 0, 0), patch(0, 0, 0)
    )
    share = np.exp(logits) / np.exp(logits).sum()
    assert located.item() == pytest.approx(1 - share[0])
    np.testing.assert_allclose(damage.flatten(), share[1:], rtol=1e-6)


def test_xview2siameseunet_leaves_out_background_and_unclassified():
    logits = [0.0, 1.0, 5.0, 1.0, 2.0, 3.0, 4.0, 6.0]
    located, damage = Exported(
        Echo(logits), convention_of("siamese_resnet50", "siamese_resnet50", "assess")
    )(patch(0, 0, 0), patch(0, 0, 0))
    assert located.item() == pytest.approx(np.e / (1 + np.e))
    post = np.exp(logits[2:])
    np.testing.assert_allclose(damage.flatten(), (post / post.sum())[1:5], rtol=1e-6)


def test_the_convention_of_ours_is_the_one_it_is_exported_by():
    assert convention_of("geodamage", "compact", "assess") == COMPACT


def test_an_unknown_family_is_refused():
    with pytest.raises(OptionError, match="first_place"):
        convention_of("second_place", "res34_unet", "damage")


def test_a_convention_names_what_goes_in_and_out():
    assert Convention(family="x", task="damage").inputs == ("pre", "post")
    assert Convention(family="x", task="localisation").outputs == ("localisation",)
