"""Features of the first blocks of an EfficientNet-Lite, for `geodamage.adaptation`.

In an unknown event, texture distinguishes a damaged roof from a whole one. The first blocks of a
network that was trained on ImageNet describe texture at full size. Deeper blocks, and half the
size, tell less and cost more; `benchmarks.adapt` says what they are worth.
"""

import io
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from geodamage.errors import ModelError
from geodamage.networks.efficientnets import STEM
from geodamage.networks.export import OPSET
from geodamage.networks.lite import (
    LITES,
    STEM_PARTS,
    LiteDesign,
    activated,
    convolution,
    lite_blocks,
    published,
    read_published,
)

#: What the published weights were trained with. Source: tensorflow/tpu, efficientnet/lite.
MEAN, SPREAD = 127.0, 128.0
#: Blocks that are kept: up to the last of stride 4.
KEPT = 3
#: The output of the graph; the number is its stride.
OUTPUT = "stride4"


class LiteFeatures(nn.Module):
    """Stem and first blocks of an EfficientNet-Lite.

    Parameters
    ----------
    design
        Which one.
    """

    def __init__(self, design: LiteDesign) -> None:
        super().__init__()
        self.stem = activated(convolution(3, STEM, 3, stride=2))
        self.blocks = nn.ModuleList(lite_blocks(design)[:KEPT])

    def forward(self, image: Tensor) -> Tensor:
        """Return what the last block says of uint8 `(n, 3, rows, columns)`."""
        x: Tensor = self.stem((image.float() - MEAN) / SPREAD)
        for block in self.blocks:
            x = block(x)
        return x

    def copy_published(self, state: Mapping[str, Tensor], source: str) -> None:
        """Copy the weights of a package.

        Raises
        ------
        ModelError
            If one is missing or has another shape.
        """
        own = self.state_dict()
        theirs = {key: state.get(_published(key)) for key in own}
        for key, tensor in theirs.items():
            if tensor is None or tensor.shape != own[key].shape:
                raise ModelError(f"{source}: {_published(key)} does not fit; install it again")
        self.load_state_dict({key: tensor for key, tensor in theirs.items() if tensor is not None})


def _published(key: str) -> str:
    """Return what the packages call an entry of the state."""
    if key.startswith("stem."):
        return published(key.removeprefix("stem."), STEM_PARTS)
    _, place, rest = key.split(".", 2)
    return f"_blocks.{place}.{published(rest)}"


def load_features(name: str = "lite0") -> LiteFeatures:
    """Return the network with the weights of an installed package.

    Raises
    ------
    ModelNotFoundError, ModelError
        If they are not installed, or are not those that were published.
    """
    network = LiteFeatures(LITES[name])
    network.copy_published(*read_published(LITES[name]))
    return network.eval()


def features_to_onnx(network: LiteFeatures) -> bytes:
    """Export the graph with free batch and size."""
    buffer = io.BytesIO()
    axes = {0: "n", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        # The tracing exporter calls itself old; it folds batch normalisation and keeps sizes free.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, 128, 128, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes a file object
            input_names=["image"],
            output_names=[OUTPUT],
            dynamic_axes=dict.fromkeys(("image", OUTPUT), axes),
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()
