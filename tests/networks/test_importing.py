import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from geodamage.errors import (
    CheckpointError,
    GeodamageWarning,
    OptionError,
    OutputExistsError,
)
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.networks import importing
from geodamage.networks.importing import Imported, ensemble_text, import_checkpoints
from tests.conftest import listing
from tests.run_folders import write_weights

#: Networks with random weights find nothing in a synthetic pair, or everything.
pytestmark = pytest.mark.filterwarnings("ignore:.* in a synthetic pair")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Measure on little, and load networks of global context on little."""
    monkeypatch.setattr(importing, "HALO_WINDOW", 192)
    monkeypatch.setattr(importing, "TILE", 256)
    monkeypatch.setattr(importing, "GLOBAL_HALO", 32)


def write_checkpoint(path: Path, name: str, task: str, seed: int = 0) -> Path:
    return write_weights(path, name, task, seed, prefix="module.")


@pytest.fixture(scope="module")
def compact(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "compact", "compact", "assess")


@pytest.mark.slow
def test_one_checkpoint_becomes_one_model(tmp_path, compact):
    (imported,) = import_checkpoints([compact], tmp_path / "own.onnx")
    assert listing(tmp_path) == ["own.onnx"]
    assert (imported.network, imported.epoch, imported.best_score) == ("compact", 7, 0.5)
    assert imported.difference < 1e-4
    assert imported.size == (tmp_path / "own.onnx").stat().st_size
    card = Model(tmp_path / "own.onnx", device="cpu").card
    assert (card.name, card.task, card.context, card.stride) == ("own", "assess", "local", 16)
    assert card.halo == imported.halo
    assert 0 < card.halo <= 48
    assert card.bytes_per_pixel > 50
    assert "xBD" in card.training_data
    assert card.scores["checkpoint"] == "compact"
    assert len(card.scores["checkpoint_sha256"]) == 64


@pytest.mark.slow
def test_right_shapes_are_no_right_weights(tmp_path, compact):
    content = torch.load(compact, weights_only=False)
    for weight in content["state_dict"].values():
        weight.zero_()
    torch.save(content, tmp_path / "empty")
    with pytest.warns(
        GeodamageWarning, match="finds nothing in a synthetic pair; names and shapes"
    ):
        [*import_checkpoints([tmp_path / "empty"], tmp_path / "own")]


@pytest.mark.slow
def test_a_localisation_network_has_no_damage(tmp_path):
    source = write_checkpoint(tmp_path / "loc", "efficientunet_b0", "localisation")
    (imported,) = import_checkpoints([source], tmp_path / "loc.onnx", licence="CC0-1.0")
    model = Model(tmp_path / "loc.onnx", device="cpu")
    assert (model.card.task, model.card.context) == ("localisation", "global")
    assert (model.card.halo, model.card.tile) == (32, 256)
    assert model.card.licence == "CC0-1.0"
    assert imported.family == "metadamagenet"
    image = np.zeros((1, 3, 256, 256), np.uint8)
    assert model(image, image).damage is None


@pytest.mark.slow
def test_a_set_becomes_an_ensemble_that_loads(tmp_path):
    sources = [
        write_checkpoint(tmp_path / "a", "efficientunet_b0", "localisation"),
        write_checkpoint(tmp_path / "b", "efficientunet_b0", "damage"),
    ]
    out = tmp_path / "out"
    out.mkdir()
    found = [*import_checkpoints(sources, out / "both")]
    assert listing(out) == [
        "both-efficientunet_b0-damage-1.onnx",
        "both-efficientunet_b0-localisation-1.onnx",
        "both.toml",
    ]
    assert [imported.path.parent for imported in found] == [out, out]
    model = load_model(out / "both.toml", device="cpu")
    assert (model.card.threshold, model.card.task) == (0.5, "assess")
    image = np.zeros((1, 3, 256, 256), np.uint8)
    heads = model(image, image)
    assert heads.localisation.shape == (1, 1, 256, 256)
    assert heads.damage.shape == (1, 4, 256, 256)


@pytest.mark.slow
def test_a_set_of_the_first_place_loads_with_its_rules(tmp_path):
    sources = [
        write_checkpoint(tmp_path / "res34_loc_0_1_best", "res34_unet", "localisation"),
        write_checkpoint(tmp_path / "res34_cls2_0_tuned_best", "res34_unet", "damage"),
    ]
    found = [*import_checkpoints(sources, tmp_path / "first")]
    assert [imported.context for imported in found] == ["local", "local"]
    model = load_model(tmp_path / "first.toml", device="cpu")
    assert model.card.threshold == 0.38
    assert model.rules.thresholds == (0.38, 0.13, 0.13, 0.14)
    assert (model.rules.dilation, model.rules.dilation_covers) == (5, "intended")
    image = np.full((1, 3, 64, 64), 90, np.uint8)
    alone = Model(found[0].path, device="cpu")(image, image)
    # Of one colour all mirror images are the same; the damage network's own head is left out.
    np.testing.assert_allclose(
        model(image, image).localisation.mean(), alone.localisation.mean(), atol=1e-5
    )


def member(name: str, task: str, number: int, family: str = "first_place") -> Imported:
    return Imported(
        source=Path("weights") / name, path=Path("out") / f"x-{name}-{task}-{number}.onnx",
        network=name, family=family, task=task, epoch=1, best_score=0.5, context="local", halo=32,
        size=1, difference=0.0,
    )  # fmt: skip


def test_each_architecture_counts_the_same_in_the_first_place():
    members = [member("res34_unet", "localisation", i) for i in (1, 2, 3)]
    members += [member("dpn92_unet", "localisation", 1), member("dpn92_unet", "damage", 1)]
    table = tomllib.loads(ensemble_text("x", members))
    assert table["threshold"] == 0.38
    assert table["pixels"] == {
        "thresholds": [0.38, 0.13, 0.13, 0.14],
        "dilation": 5,
        "dilation_covers": "intended",
    }
    entries = table["member"]
    assert [entry["weight"] for entry in entries] == pytest.approx([1 / 3] * 3 + [1, 1])
    assert [entry["heads"] for entry in entries] == [["localisation"]] * 4 + [["damage"]]
    assert all(e["flips"] == ["none", "horizontal", "vertical", "both"] for e in entries)


def test_students_answer_by_the_rules_of_their_teachers():
    members = [member("seresnext50_unet_student", t, 1, "distillation") for t in
               ("localisation", "damage")]  # fmt: skip
    assert tomllib.loads(ensemble_text("x", members))["pixels"]["dilation"] == 5


def test_damage_networks_alone_keep_their_localisation():
    table = tomllib.loads(ensemble_text("x", [member("res34_unet", "damage", i) for i in (1, 2)]))
    assert table["threshold"] == 0.5
    assert "pixels" not in table
    assert not any("heads" in entry for entry in table["member"])


def test_other_families_are_averaged_as_they_are():
    members = [member("efficientunet_b0", "damage", i, "metadamagenet") for i in (1, 2)]
    members.append(member("res34_unet", "damage", 1))
    table = tomllib.loads(ensemble_text('odd "name" é', members))
    assert (table["name"], table["threshold"]) == ('odd "name" é', 0.5)
    assert [set(entry) for entry in table["member"]] == [{"file"}] * 3


@pytest.mark.slow
def test_a_halo_that_does_not_settle_makes_a_fixed_tile(tmp_path, compact, monkeypatch):
    monkeypatch.setattr(importing, "HALO_WINDOW", 96)
    with pytest.warns(GeodamageWarning, match="its windows are fixed at 256 pixels"):
        (imported,) = import_checkpoints([compact], tmp_path / "own")
    card = Model(tmp_path / "own.onnx", device="cpu").card
    assert (imported.context, card.context, card.halo, card.tile) == ("global", "global", 32, 256)


@pytest.mark.slow
def test_one_wrong_file_leaves_nothing(tmp_path, compact):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"wrong")
    with pytest.raises(CheckpointError, match="wrong: no PyTorch checkpoint"):
        [*import_checkpoints([compact, wrong], tmp_path / "own")]
    assert listing(tmp_path) == ["wrong"]


@pytest.mark.slow
def test_a_failure_in_the_middle_leaves_nothing(tmp_path, compact):
    work = import_checkpoints([compact, compact], tmp_path / "own")
    next(work)
    assert [Path(name).suffix for name in listing(tmp_path)] == [".partial", ".lock"]
    work.close()
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_nothing_is_replaced_unasked(tmp_path, compact):
    (tmp_path / "own.onnx").write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        [*import_checkpoints([compact], tmp_path / "own")]
    assert (tmp_path / "own.onnx").read_bytes() == b"old"


@pytest.mark.slow
def test_what_is_there_is_replaced_when_asked(tmp_path, compact):
    # A dot is part of the name.
    (tmp_path / "own.v2.onnx").write_bytes(b"old")
    [*import_checkpoints([compact], tmp_path / "own.v2", overwrite=True)]
    assert listing(tmp_path) == ["own.v2.onnx"]
    assert Model(tmp_path / "own.v2.onnx", device="cpu").card.name == "own.v2"


def test_outputs_that_make_no_sense_are_refused(tmp_path, compact):
    with pytest.raises(OptionError, match="no checkpoint was given"):
        [*import_checkpoints([], tmp_path / "own")]
    with pytest.raises(OptionError, match=r"2 checkpoints become a \.toml"):
        [*import_checkpoints([compact, compact], tmp_path / "own.onnx")]


@pytest.mark.slow
def test_memory_that_cannot_be_measured_is_assumed_and_said(tmp_path, compact, monkeypatch):
    monkeypatch.setattr(importing.sys, "platform", "win32")
    with pytest.warns(GeodamageWarning, match="its card assumes 1500 bytes per pixel"):
        [*import_checkpoints([compact], tmp_path / "own")]
    assert Model(tmp_path / "own.onnx", device="cpu").card.bytes_per_pixel == 1500
