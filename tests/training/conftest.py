"""A small training of a tiny network."""

import pytest
import torch

from tests.training.building_folders import write_masks
from tests.training.small_cities import TinyFpn
from tests.training.small_runs import create_tiny, options_of, write_set
from training.prepare_buildings import main as prepare
from training.train import set_up


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """Return a folder with eight pairs of 64 x 64 pixels and their split."""
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture
def tiny(monkeypatch):
    """Make every network of a training a tiny one."""
    monkeypatch.setattr("training.state.create_network", create_tiny)


@pytest.fixture
def begin(tiny, small_set, tmp_path):
    """Return what starts, or goes on with, a small training."""
    return lambda *changes: set_up(options_of(small_set, tmp_path / "runs", *changes))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cities(tmp_path, monkeypatch):
    """Give a prepared folder of two folds; networks are tiny."""
    asked = []

    def create(name, *, task, pretrained=False, **options):
        asked.append(options)
        return TinyFpn()

    monkeypatch.setattr("training.state.create_network", create)
    write_masks(tmp_path / "set", ["a", "b", "c", "d_empty"])
    arguments = [str(tmp_path / "set"), "-o", str(tmp_path / "prepared"), "--folds", "2"]
    prepare([*arguments, "--scales", "1"])
    return tmp_path
