import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geodamage.errors import CheckpointError, GeodamageWarning
from geodamage.networks import load_checkpoint, save_checkpoint
from geodamage.networks.changeos import relative_index
from geodamage.networks.checkpoints import read_checkpoint
from geodamage.networks.registry import create_network, named_tasks


def make_network(name: str, task: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_network(name, task=task).eval()


def write(path: Path, content: object, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_same(a: nn.Module, b: nn.Module) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert [*ours] == [*theirs]
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


@pytest.fixture(scope="module")
def compact() -> nn.Module:
    return make_network("compact", "assess")


@pytest.fixture(scope="module")
def state(compact) -> dict[str, torch.Tensor]:
    return compact.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_of_the_first_place_loads_whole(tmp_path, prefix, legacy):
    network = make_network("res34_unet", "localisation")
    content = {
        "epoch": 45,
        "state_dict": {prefix + key: value for key, value in network.state_dict().items()},
        "best_score": np.float64(0.8421),
    }
    path = write(tmp_path / "res34_loc_0_1_best", content, legacy=legacy)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.network, checkpoint.task) == ("res34_unet", "localisation")
    assert checkpoint.family == "first_place"
    assert (checkpoint.epoch, checkpoint.best_score) == (45, 0.8421)
    assert checkpoint.source == path
    loaded = load_checkpoint(path)
    assert_same(loaded, network)
    assert not loaded.training


@pytest.mark.slow
def test_numbers_as_numpy_1_wrote_them_are_read(tmp_path, state):
    buffer = io.BytesIO()
    content = {"epoch": 1, "state_dict": state, "best_score": np.float64(0.5)}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "old"
    old = buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path.write_bytes(old)
    assert read_checkpoint(path).best_score == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), [named[:2] for named in named_tasks()])
def test_every_network_is_recognised_by_its_keys_and_shapes(tmp_path, name, task):
    with torch.device("meta"):
        shapes = create_network(name, task=task).state_dict()
    # One number for all elements: as many bytes as a scalar.
    state = {k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in shapes.items()}
    # What a Swin looks its bias up by is no weight, and is checked.
    state |= {k: relative_index() for k in state if k.endswith("relative_position_index")}
    checkpoint = read_checkpoint(write(tmp_path / "weights", state))
    assert (checkpoint.network, checkpoint.task) == (name, task)


@pytest.mark.slow
def test_a_folder_of_metadamagenet_loads_with_its_metadata(tmp_path):
    network = make_network("efficientunet_b0", "damage")
    folder = tmp_path / "efficientunetb0classifierV1S0"
    folder.mkdir()
    write(folder / "model.pth", network.state_dict())
    (folder / "metadata.json").write_text(json.dumps({"best_score": 0.75, "trained_epochs": 30}))
    for path in (folder, folder / "model.pth"):
        checkpoint = read_checkpoint(path)
        assert (checkpoint.network, checkpoint.family) == ("efficientunet_b0", "metadamagenet")
        assert (checkpoint.epoch, checkpoint.best_score) == (30, 0.75)
    assert_same(load_checkpoint(folder), network)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"metadata\.json: cannot be read"):
        read_checkpoint(folder)


@pytest.mark.slow
def test_a_checkpoint_of_xview2siameseunet_loads_with_its_optimiser_beside_it(tmp_path):
    with torch.device("meta"):
        shapes = create_network("siamese_resnet50", task="assess").state_dict()
    state = {k: torch.ones((), dtype=v.dtype).expand(v.shape) for k, v in shapes.items()}
    content = {
        "epoch": 11,
        "model_state_dict": state,
        "loss": 0.25,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "scheduler_state_dict": {"T_0": 20},
    }
    checkpoint = read_checkpoint(write(tmp_path / "full_1_epoch_11.pth", content))
    assert (checkpoint.network, checkpoint.task) == ("siamese_resnet50", "assess")
    assert (checkpoint.epoch, checkpoint.best_score) == (11, None)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_is_saved_loads(tmp_path, compact, prefix):
    path = tmp_path / "saved"
    save_checkpoint(compact, path, epoch=3, best_score=0.5, prefix=prefix)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]
    saved = torch.load(path, weights_only=False)
    assert [*saved] == ["epoch", "state_dict", "best_score"]
    assert [*saved["state_dict"]] == [prefix + key for key in compact.state_dict()]
    assert type(saved["best_score"]) is np.float64
    checkpoint = read_checkpoint(path)
    assert (checkpoint.epoch, checkpoint.best_score) == (3, 0.5)
    assert_same(load_checkpoint(path), compact)


def test_a_save_that_fails_leaves_what_was_there(tmp_path, compact):
    path = tmp_path / "saved"
    path.write_bytes(b"old")

    class Unsavable:
        def detach(self):
            return self

        def cpu(self):
            return self

        def __reduce__(self):
            raise pickle.PicklingError("no")

    class Network(nn.Module):
        def state_dict(self, *_, **__):
            return {"a": torch.zeros(1), "b": Unsavable()}

    with pytest.raises(pickle.PicklingError):
        save_checkpoint(Network(), path, epoch=1, best_score=0)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, state, dtype):
    other = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    network = load_checkpoint(write(tmp_path / "half", other))
    assert {v.dtype for v in network.state_dict().values()} == {torch.float32, torch.int64}


def refused(path: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    for word in (path.name, *words):
        assert word in message


@pytest.mark.slow
def test_a_missing_key_is_named(tmp_path, state):
    few = {k: v for k, v in state.items() if not k.startswith("stem")}
    refused(write(tmp_path / "few", few), "compact", "missing: stem.0.weight", "…")


@pytest.mark.slow
def test_an_unexpected_key_is_named(tmp_path, state):
    more = state | {"extra.weight": torch.zeros(2)}
    refused(write(tmp_path / "more", more), "1 unexpected: extra.weight")


@pytest.mark.slow
def test_a_misshapen_key_is_named_with_both_shapes(tmp_path, state):
    key = "damage.bias"
    refused(
        write(tmp_path / "wrong", state | {key: torch.zeros(7)}),
        "1 misshapen: damage.bias [7] for [4]",
    )


def test_half_a_prefix_is_no_prefix(tmp_path, state):
    half = {("module." if i % 2 else "") + k: v for i, (k, v) in enumerate(state.items())}
    refused(write(tmp_path / "half", half), "missing", "unexpected: module.")


def test_weights_of_something_else_are_refused(tmp_path):
    path = write(tmp_path / "linear", nn.Linear(2, 2, bias=False).state_dict())
    refused(path, "no network known here")


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, state, value):
    bad = state["damage.weight"].clone()
    bad.view(-1)[3] = value
    refused(write(tmp_path / "nan", state | {"damage.weight": bad}), "damage.weight is not finite")


@pytest.mark.slow
def test_weights_of_an_odd_type_are_refused(tmp_path, state):
    bad = state["damage.weight"].to(torch.complex64)
    refused(write(tmp_path / "complex", state | {"damage.weight": bad}), "complex64")
    bad = state["damage.weight"].to(torch.int8)
    refused(write(tmp_path / "int8", state | {"damage.weight": bad}), "int8")


@pytest.mark.slow
def test_a_whole_pickled_module_is_refused_with_the_way_out(tmp_path, compact):
    for legacy in (False, True):
        path = write(tmp_path / f"module{legacy}", compact, legacy=legacy)
        refused(path, "CompactSiamese", "torch.save(model.state_dict(), PATH)")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_executed(tmp_path, state, legacy):
    content = {"state_dict": state, "epoch": 1, "best_score": Evil(tmp_path / "hacked")}
    refused(write(tmp_path / "evil", content, legacy=legacy), "mkdir")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "hacked")))
    refused(tmp_path / "plain.pkl")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, state, legacy, share):
    path = write(tmp_path / "short", {"state_dict": state}, legacy=legacy)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, "get the file again")


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    cases = {
        "empty": (b"", "empty"),
        "text": (b"not a checkpoint", "no PyTorch checkpoint"),
        "weights.tar.gz": (b"\x1f\x8b" + bytes(600), "unpack it"),
        "weights.tar": (bytes(257) + b"ustar" + bytes(600), "unpack it"),
        "zip": (b"PK\x03\x04" + bytes(600), "no PyTorch checkpoint"),
    }
    for name, (content, word) in cases.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, word)


def test_paths_that_are_no_files_are_refused(tmp_path):
    refused(tmp_path / "absent", "no such file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "without model.pth")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, {"state_dict": {}}, torch.zeros(3)])
def test_files_without_weights_are_refused(tmp_path, content):
    refused(write(tmp_path / "none", content), "no weights in it")


def test_something_between_the_weights_is_refused(tmp_path, state):
    refused(write(tmp_path / "mixed", state | {"note": "x"}), "note are not tensors")


@pytest.mark.slow
def test_a_name_that_contradicts_the_weights_is_said(tmp_path, state):
    path = write(tmp_path / "res34_loc_0_1_best", state)
    with pytest.warns(GeodamageWarning) as caught:
        checkpoint = read_checkpoint(path)
    assert checkpoint.network == "compact"
    said = " ".join(str(warning.message) for warning in caught)
    assert "named like res34_unet" in said
    assert "named like localisation" in said
