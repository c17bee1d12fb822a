import numpy as np
import pytest
import torch
from torch import nn

from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.feature_pyramid import FpnOutputs
from training import building_predictor
from training.building_predictor import SYMMETRIES, BuildingEnsemble, turned, turned_back

ALL = SYMMETRIES["full"]


class Bright(nn.Module):
    """Says building where the image is bright, and that there is one where its corner is."""

    def forward(self, images):
        grey = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        corner = images[:, :, :8, :8].mean((1, 2, 3))
        presence = torch.stack([-corner, corner], 1)
        return FpnOutputs(torch.cat([-grey, grey], 1), grey, presence, corner[:, None])


class Known:
    """Stands in for a run."""

    def __init__(self, network=None, task="localisation"):
        self.network, self.source = network or Bright(), "run"
        self.checkpoint = type("Checkpoint", (), {"task": task})

    def exported(self):
        convention = convention_of("open_cities", "efficient_fpn_b0", "localisation")
        return Exported(self.network, convention).eval()


def asymmetric(rows=64, columns=96):
    image = np.full((rows, columns, 3), 30, np.uint8)
    image[:20, :44] = 230
    image[40:48, 60:] = 160
    return image


@pytest.mark.parametrize("symmetry", ALL)
def test_every_symmetry_is_undone_in_its_place(symmetry):
    """The published transpose with a flip gave a map turned by 180 degrees."""
    image = asymmetric()
    assert np.array_equal(turned_back(turned(image, *symmetry), *symmetry), image)


def test_the_eight_symmetries_are_eight():
    image = np.arange(12).reshape(3, 4)
    seen = {(turned(image, *each).tobytes(), turned(image, *each).shape) for each in ALL}
    assert len(seen) == 8


@pytest.mark.parametrize("symmetry", ALL)
def test_a_map_of_an_asymmetric_image_comes_back_to_its_place(symmetry, monkeypatch):
    plain = BuildingEnsemble([Known()], device="cpu")(asymmetric())
    monkeypatch.setitem(building_predictor.SYMMETRIES, "one", [symmetry])
    answer = BuildingEnsemble([Known()], tta="one", device="cpu")(asymmetric())
    np.testing.assert_allclose(answer.probability, plain.probability, atol=0.02)
    assert np.corrcoef(plain.probability.ravel(), asymmetric()[..., 0].ravel())[0, 1] > 0.9


def test_members_and_mirror_images_are_averaged():
    class Constant(Bright):
        def forward(self, images):
            return super().forward(images * 0)

    image = asymmetric()
    one, other = (BuildingEnsemble([Known(n)], device="cpu")(image) for n in (Bright(), Constant()))
    both = BuildingEnsemble([Known(Bright()), Known(Constant())], tta="flips", device="cpu")(image)
    mean = (one.probability + other.probability) / 2
    np.testing.assert_allclose(both.probability, mean, atol=0.02)
    assert both.presence is not None


def test_presence_is_heard_where_a_network_has_it():
    bright = np.full((64, 64, 3), 255, np.uint8)
    found, missed = (BuildingEnsemble([Known()], device="cpu")(i) for i in (bright, bright // 99))
    assert found.presence > 0.5 > missed.presence


def test_what_does_not_localise_is_refused():
    with pytest.raises(ValueError, match="give localisation networks"):
        BuildingEnsemble([Known(task="damage")])
    with pytest.raises(ValueError, match="no run and no checkpoint"):
        BuildingEnsemble([])
