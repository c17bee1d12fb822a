import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import ModelError
from geodamage.model.card import Card, with_card
from geodamage.model.heads import Heads
from geodamage.model.measuring import measure_memory, pattern_windows
from geodamage.model.onnx import Model
from geodamage.networks.checkpoints import load_checkpoint, save_checkpoint
from geodamage.networks.conventions import Convention, Exported, convention_of
from geodamage.networks.export import check_parity, measure_halo, to_onnx
from geodamage.networks.registry import create_network, find


class Box(nn.Module):
    """Sees exactly `reach` pixels around each, and gives as many logits as it is asked for."""

    def __init__(self, reach: int, inputs: int = 3, outputs: int = 1) -> None:
        super().__init__()
        kernel = torch.ones(outputs, inputs, 2 * reach + 1, 2 * reach + 1) / (2 * reach + 1)
        scale = torch.linspace(0.5, 1.5, outputs * inputs).view(outputs, inputs, 1, 1)
        self.kernel = nn.Parameter(kernel * scale)
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, padding=self.reach)


class Mean(nn.Module):
    """Sees the whole window."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3), keepdim=True) + x[:, :1]


LOCATED = convention_of("first_place", "res34_unet", "localisation")
GRADED = convention_of("first_place", "res34_unet", "damage")


@pytest.mark.slow
def test_the_halo_is_the_reach_in_whole_strides():
    windows = pattern_windows(1, 192)
    assert measure_halo(Exported(Box(10), LOCATED), windows, stride=4, core=32) == 12
    assert measure_halo(Exported(Box(0), LOCATED), windows, stride=4, core=32) == 0
    graded = Exported(Box(10, 6, 5), GRADED)
    assert measure_halo(graded, windows, stride=4, core=32) == 12


@pytest.mark.slow
def test_a_halo_that_does_not_settle_is_no_number():
    windows = pattern_windows(1, 128)
    assert measure_halo(Exported(Mean(), LOCATED), windows, stride=16, core=32) is None


def test_the_windows_are_always_the_same_and_have_something_on_them():
    windows = pattern_windows(2, 96)
    assert windows.shape == (2, 2, 3, 96, 96)
    assert windows.dtype == np.uint8
    np.testing.assert_array_equal(windows, pattern_windows(2, 96))
    assert windows.std() > 20
    assert not np.array_equal(windows[0, 0], windows[0, 1])
    assert not np.array_equal(windows, pattern_windows(2, 96, seed=1))


def card(task: str) -> Card:
    return Card(
        name="box", version="1", task=task, gsd_native=0.5, gsd_min=0.3, gsd_max=0.8, stride=4,
        context="local", halo=8, tile=64, licence="CC0", training_data="none",
    )  # fmt: skip


@pytest.mark.parametrize(("convention", "inputs", "outputs"), [(LOCATED, 3, 1), (GRADED, 6, 5)])
def test_a_file_of_any_batch_and_size_says_what_its_network_says(
    tmp_path, convention, inputs, outputs
):
    exported = Exported(Box(3, inputs, outputs), convention)
    path = tmp_path / "box.onnx"
    task = "localisation" if outputs == 1 else "assess"
    path.write_bytes(with_card(to_onnx(exported), card(task)))
    model = Model(path, device="cpu")
    assert check_parity(exported, model, pattern_windows(3, 40)) < 1e-5
    wide = np.full((1, 3, 16, 48), 90, np.uint8)
    assert model(wide, wide).localisation.shape == (1, 1, 16, 48)


def test_a_file_that_says_something_else_is_refused(tmp_path):
    exported = Exported(Box(1), LOCATED)

    class Liar:
        card = card("localisation")

        def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
            return Heads(np.full((len(pre), 1, *pre.shape[2:]), np.nan, np.float32), None)

    with pytest.raises(ModelError, match="localisation of the model file differs"):
        check_parity(exported, Liar(), pattern_windows(1, 32))


def test_the_order_of_colours_is_inside_the_file(tmp_path):
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1]

    path = tmp_path / "first.onnx"
    path.write_bytes(to_onnx(Exported(First(), LOCATED)))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = np.zeros((1, 3, 8, 8), np.uint8)
    image[:, 2] = 254  # blue
    (localisation,) = session.run(None, {"pre": image})
    np.testing.assert_allclose(localisation, 1 / (1 + np.exp(-1)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux")
def test_memory_grows_with_what_the_graph_holds(tmp_path):
    paths = []
    for channels in (8, 64):
        network = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 1, 1))
        paths.append(tmp_path / f"{channels}.onnx")
        paths[-1].write_bytes(to_onnx(Exported(network, LOCATED)))
    few, many = (measure_memory(path, 512) for path in paths)
    # The convolution's own output: float32 channels at every pixel.
    assert few > 4 * 8
    assert many > 4 * 64
    assert many > few + 4 * 40


@pytest.mark.slow
def test_memory_of_no_model_is_refused_in_one_line(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx: its memory cannot be measured") as caught:
        measure_memory(path, 32)
    assert "\n" not in str(caught.value)


class Logits(Exported):
    """Exports what the network says before any activation."""

    def forward(self, pre: Tensor, post: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.logits(pre, post),)


class LogitsOnly(Convention):
    outputs = ("logits",)


def settled(name: str, task: str) -> nn.Module:
    """Return a network with random weights whose statistics fit what it sees."""
    torch.manual_seed(0)
    network = create_network(name, task=task)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.rand(4, 3 if task == "localisation" else 6, 64, 64) * 2 - 1)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("res34_unet", "damage"),
        ("seresnext50_unet_student", "damage"),
        ("efficientunet_b0", "localisation"),
        ("segformer_b0", "damage"),
        ("siamese_resnet50", "assess"),
    ],
)
def test_a_checkpoint_says_the_same_after_saving_loading_and_export(tmp_path, name, task):
    network = settled(name, task)
    save_checkpoint(network, tmp_path / "weights", epoch=1, best_score=0.5, prefix="module.")
    convention = convention_of(find(name).family, name, task)
    exported = Logits(
        load_checkpoint(tmp_path / "weights"), LogitsOnly(**dataclasses.asdict(convention))
    )
    session = onnxruntime.InferenceSession(to_onnx(exported), providers=["CPUExecutionProvider"])
    windows = pattern_windows(1, 128)[..., :96]  # (1, 2, 3, 128, 96)
    inputs = dict(zip(convention.inputs, windows.swapaxes(0, 1), strict=False))
    (found,) = session.run(None, inputs)
    with torch.no_grad():
        expected = Logits(network, convention)(*map(torch.from_numpy, inputs.values()))[0].numpy()
    assert expected.shape == (1, {"localisation": 1, "damage": 5, "assess": 8}[task], 128, 96)
    assert 0.01 < expected.std() < 100
    # Processors with other instructions differ by 1.3e-4 of the largest logit.
    assert np.abs(found - expected).max() < 1e-3 * max(1, np.abs(expected).max())
