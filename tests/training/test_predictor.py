import numpy as np
import pytest
import torch

from geodamage.errors import CheckpointError, DeviceError, OptionError, ResourceError
from geodamage.model.heads import Heads
from geodamage.model.measuring import pattern_windows
from geodamage.networks import importing
from geodamage.networks.conventions import Exported, convention_of
from tests.fakes import BoxModel
from tests.run_folders import write_run, write_weights
from training.predictor import (
    EvenDamage,
    TorchModel,
    find_device,
    load_predictor,
    plain_card,
    read_trained,
)

SMALL = "efficientunet_b0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "loc", SMALL, "localisation")
    write_run(folder / "damage", SMALL, "damage", seed=1)
    write_run(folder / "other", SMALL, "damage", seed=2)
    write_run(folder / "compact")
    return folder


@pytest.fixture(scope="module")
def windows():
    return pattern_windows(2, 96).swapaxes(0, 1)


def answers(runs, names, windows, **options):
    return load_predictor([read_trained(runs / n) for n in names], device="cpu", **options)(
        *windows
    )


@pytest.mark.slow
def test_a_run_is_read_with_its_best_weights(runs):
    trained = read_trained(runs / "damage")
    assert (trained.name, trained.checkpoint.network, trained.checkpoint.epoch) == (
        "damage",
        SMALL,
        7,
    )
    assert trained.split == runs / "damage" / "split.csv"
    assert trained.validation == "validation"
    assert read_trained(runs / "damage" / "best").recipe is None


@pytest.mark.slow
def test_a_fold_is_validated_on_its_number(tmp_path):
    trained = read_trained(write_run(tmp_path / "folded", fold=3))
    assert (trained.name, trained.validation) == ("folded-fold3", "3")


@pytest.mark.slow
def test_localisation_and_damage_make_the_two_stages(runs, windows):
    loc, damage, both = (
        answers(runs, names, windows) for names in (["loc"], ["damage"], ["loc", "damage"])
    )
    assert loc.damage is None
    np.testing.assert_array_equal(both.localisation, loc.localisation)
    np.testing.assert_array_equal(both.damage, damage.damage)
    assert np.abs(damage.localisation - loc.localisation).max() > 0.01


@pytest.mark.slow
def test_heads_are_averaged_over_those_that_have_them(runs, windows):
    one, two, both = (
        answers(runs, names, windows) for names in (["damage"], ["other"], ["damage", "other"])
    )
    for name in Heads._fields:
        mean = (getattr(one, name) + getattr(two, name)) / 2
        np.testing.assert_allclose(getattr(both, name), mean, atol=1e-6)


@pytest.mark.slow
def test_flips_are_averaged(runs, windows):
    heads = answers(runs, ["compact"], windows, tta="flips")
    mirrored = answers(runs, ["compact"], windows[..., ::-1], tta="flips")
    np.testing.assert_allclose(heads.damage, mirrored.damage[..., ::-1], atol=1e-5)


@pytest.mark.slow
def test_the_card_of_several_holds_for_all(runs):
    def card(*names):
        return load_predictor([read_trained(runs / name) for name in names], device="cpu").card

    both = card("compact", "loc")
    assert (both.task, both.context, both.stride) == ("assess", "global", 32)
    assert (both.tile, both.halo) == (importing.TILE, importing.GLOBAL_HALO)
    assert (card("compact").context, card("compact").stride) == ("local", 16)
    assert card("loc").task == "localisation"


def test_what_lacks_grades_can_be_asked_for_them_all_alike(windows):
    model = EvenDamage(BoxModel())
    heads = model(*windows)
    assert (heads.damage == 0.25).all()
    assert heads.damage.shape == (2, 4, 96, 96)
    np.testing.assert_array_equal(heads.localisation, BoxModel()(*windows).localisation)


@pytest.mark.slow
def test_too_small_a_memory_is_said_in_one_line(runs, windows):
    class Hungry(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    convention = convention_of("first_place", "res34_unet", "localisation")
    card = plain_card(read_trained(runs / "loc"))
    model = TorchModel(Exported(Hungry(), convention), card, device=torch.device("cpu"))
    with pytest.raises(ResourceError, match=r"memory of cpu .* 96 x 96"):
        model(*windows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("absent", CheckpointError, "no such file"),
        ("empty", CheckpointError, "neither a run"),
        ("unfinished", CheckpointError, "a run without a best checkpoint"),
        ("changed", CheckpointError, "best holds weights of efficientunet_b0"),
        ("old", OptionError, "recipe.toml"),
    ],
)
def test_what_is_no_whole_run_is_refused_in_one_line(tmp_path, name, error, says):
    (tmp_path / "empty").mkdir()
    if name == "unfinished":
        (write_run(tmp_path / name) / "best").unlink()
    if name == "changed":
        write_weights(write_run(tmp_path / name) / "best", SMALL, "damage")
    if name == "old":
        (write_run(tmp_path / name) / "recipe.toml").write_text('name = "compact"\ncrop = 32\n')
    with pytest.raises(error, match=says) as caught:
        read_trained(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_network_at_all_is_refused():
    with pytest.raises(OptionError, match="name at least one"):
        load_predictor([])


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:", "cuda:x", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(DeviceError, match=f"--device {name}: "):
        find_device(name)
    assert find_device("cpu").type == "cpu"
