"""Turn a run into a model file: one ONNX graph with its card.

    python -m training.export runs/compact -o geodamage/models/fast.onnx --name fast

The graph takes uint8 and scales it itself. The halo is measured here on the trained network, and
the working memory on the exported graph.
"""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.card import Card, with_card
from geodamage.model import Model
from geodamage.networks.compact import CompactSiamese
from training.train import normalise

LICENCE = "CC BY-NC-SA 4.0"
TRAINING_DATA = (
    "xBD (Gupta et al. 2019, CC BY-NC-SA 4.0; imagery Maxar Open Data): 87 pairs of six events, "
    "training/recipes/compact.csv; 350 generated scenes of sample_data/scenes.py"
)
#: Largest change of a probability that counts as none.
TOLERANCE = 1e-3


class Exported(nn.Module):
    """What the model file computes: uint8 in, probabilities at full size out."""

    def __init__(self, network: CompactSiamese) -> None:
        super().__init__()
        self.network = network

    def forward(self, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        """Return localisation `(n, 1, h, w)` and damage `(n, 4, h, w)`."""
        in_pre, _, damage = self.network(normalise(pre), normalise(post))
        damage = functional.interpolate(damage.softmax(1), scale_factor=2.0, mode="nearest")
        return in_pre.sigmoid(), damage


def load_network(run: Path) -> CompactSiamese:
    """Return the averaged network of a run, in evaluation mode."""
    state = torch.load(run / "last.pt", map_location="cpu", weights_only=True)
    network = CompactSiamese()
    network.load_state_dict(state["average"])
    return network.eval()


def measure_halo(network: CompactSiamese, images: np.ndarray, core: int = 64) -> int:
    """Measure how far from a core a pixel can still change its output.

    What lies beyond a growing margin is replaced by something else; the halo is the least margin,
    a multiple of the stride, at which no probability of the core moves by more than `TOLERANCE`.

    Parameters
    ----------
    images
        uint8 (n, 2, 3, size, size): real pre and post windows.
    core
        Rows and columns of the core, pixels.
    """
    exported = Exported(network)
    size = images.shape[-1]
    tensors = torch.from_numpy(images)
    middle = slice((size - core) // 2, (size + core) // 2)
    others = (torch.zeros_like(tensors), 255 - tensors, tensors.roll(1, 0))
    halo = 0
    with torch.no_grad():
        whole = exported(tensors[:, 0], tensors[:, 1])
        for other in others:
            for margin in range((size - core) // 2 - network.stride, -1, -network.stride):
                kept = slice((size - core) // 2 - margin, (size + core) // 2 + margin)
                changed = other.clone()
                changed[..., kept, kept] = tensors[..., kept, kept]
                heads = exported(changed[:, 0], changed[:, 1])
                moved = max(
                    float((a - b)[..., middle, middle].abs().max())
                    for a, b in zip(heads, whole, strict=True)
                )
                if moved > TOLERANCE:
                    halo = max(halo, margin + network.stride)
                    break
    return halo


def to_onnx(network: CompactSiamese) -> bytes:
    """Export the graph with free batch and size."""
    example = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    buffer = io.BytesIO()
    axes = {0: "n", 2: "rows", 3: "columns"}
    # The tracing exporter: it folds batch normalisation and keeps every size free.
    torch.onnx.export(
        Exported(network).eval(),
        (example, example),
        buffer,  # type: ignore[arg-type]  # the tracing exporter takes a file object
        input_names=["pre", "post"],
        output_names=["localisation", "damage"],
        dynamic_axes=dict.fromkeys(("pre", "post", "localisation", "damage"), axes),
        opset_version=17,
        dynamo=False,
    )
    return buffer.getvalue()


def measure_memory(path: Path, size: int = 768) -> float:
    """Return the working memory of inference, bytes per window pixel."""
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from geodamage.model import Model\n"
        "model = Model(Path(sys.argv[1]), device='cpu')\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "image = np.zeros((1, 3, int(sys.argv[2]), int(sys.argv[2])), np.uint8)\n"
        "model(image, image)\n"
        "print(peak() - before)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(size)]
    kilobytes = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return round(kilobytes * 1024 / size**2, 1)


def sample_windows(count: int, size: int) -> np.ndarray:
    """Return generated windows to measure on, uint8 (count, 2, 3, size, size)."""
    from sample_data.scenes import draw_scene

    scenes = [draw_scene(9_000_000 + i, size) for i in range(count)]
    return np.stack([np.stack([scene.pre, scene.post]) for scene in scenes])


def main() -> None:
    """Write the model file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="fast")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--facts", type=Path, help="JSON made by training.calibrate")
    options = parser.parse_args()
    network = load_network(options.run)
    halo = measure_halo(network, sample_windows(2, 448))
    facts: dict[str, Any] = json.loads(options.facts.read_text()) if options.facts else {}
    values: dict[str, Any] = {
        "name": options.name,
        "version": options.version,
        "task": "assess",
        "gsd_native": 0.47,  # median of the training imagery
        "gsd_min": 0.3,
        "gsd_max": 0.8,  # chips were scaled by 0.6 to 1.6
        "stride": network.stride,
        "context": "local",
        "halo": halo,
        "tile": 1024,
        "licence": LICENCE,
        "training_data": TRAINING_DATA,
    }
    if "grade_weights" in facts:
        facts["grade_weights"] = tuple(facts["grade_weights"])
    blob = to_onnx(network)
    card = Card(**(values | facts))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(with_card(blob, card))
    memory = measure_memory(options.output)
    options.output.write_bytes(
        with_card(blob, Card(**(values | facts | {"bytes_per_pixel": memory})))
    )
    model = Model(options.output, device="cpu")
    check_parity(network, model)
    print(
        f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB, "
        f"halo {halo}, {memory} B/px"
    )


def check_parity(network: CompactSiamese, model: Model) -> None:
    """Stop if the file does not say what the network says."""
    windows = sample_windows(1, 256)
    with torch.no_grad():
        tensors = torch.from_numpy(windows)
        expected = Exported(network)(tensors[:, 0], tensors[:, 1])
    heads = model(windows[:, 0], windows[:, 1])
    for name, theirs in zip(("localisation", "damage"), expected, strict=True):
        worst = float(np.abs(getattr(heads, name) - theirs.numpy()).max())
        if worst > 1e-3:
            raise SystemExit(f"{name} of the model file differs from the network by {worst:.2g}")


if __name__ == "__main__":
    main()
