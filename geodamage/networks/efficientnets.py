"""EfficientNet encoders in the layout of NVIDIA's models, on which MetaDamageNet stands.

The same network as timm's, with three differences. The excitation's layers are linear instead of 1
x 1 convolutions. Normalisation adds 1e-3 instead of 1e-5 to the variance. The modules have other
names. The wide variant squeezes a quarter of the expanded channels, not of the input's.

Source: Tan and Le, "EfficientNet", ICML 2019, table 1; NVIDIA DeepLearningExamples,
PyTorch/Classification/ConvNets, for names, normalisation and the wide variant.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError
from geodamage.networks.decoders import initialise
from geodamage.networks.encoders import Encoder, create_timm

#: Kernel, stride, blocks, expansion and channels of the seven layers of B0.
LAYERS = (
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 2, 3, 6, 80),
    (5, 1, 3, 6, 112),
    (5, 2, 4, 6, 192),
    (3, 1, 1, 6, 320),
)
STEM = 32


@dataclass(frozen=True)
class EfficientNetDesign:
    """What tells one EfficientNet from another.

    Attributes
    ----------
    width, depth
        Multiples of the channels and blocks of B0.
    wide
        Whether the excitation squeezes the expanded channels.
    survival
        How often the last block is kept in training; the first always is. 0-1.
    timm_name
        Name in timm of the network whose ImageNet weights fit; None where none do.
    """

    width: float = 1.0
    depth: float = 1.0
    wide: bool = False
    survival: float = 1.0
    timm_name: str | None = None


EFFICIENTNETS: Mapping[str, EfficientNetDesign] = {
    "efficientnet_b0": EfficientNetDesign(timm_name="efficientnet_b0"),
    "efficientnet_widese_b0": EfficientNetDesign(wide=True),
    "efficientnet_b4": EfficientNetDesign(1.4, 1.8, survival=0.8, timm_name="efficientnet_b4"),
}


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        # Momentum as of NVIDIA's training: statistics over about a hundred batches.
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)


class ConvNormSilu(ConvNorm):
    """Convolution without bias, batch normalisation, SiLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h / stride, w / stride)`."""
        return functional.silu(super().forward(x), inplace=True)  # type: ignore[no-untyped-call]


class SqueezeExcite(nn.Module):
    """Weight channels by what their means over the window say."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeezed)
        self.expand = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, c, h, w)` from `(n, c, h, w)`."""
        weights = self.expand(functional.silu(self.squeeze(x.mean((2, 3)))))
        return x * torch.sigmoid(weights)[:, :, None, None]


@dataclass(frozen=True)
class BlockDesign:
    """Sizes of a block.

    Attributes
    ----------
    inputs, outputs
        Channels.
    kernel, stride
        Kernel and stride of its depth-wise convolution, pixels.
    expansion
        Channels between, as a multiple of the inputs.
    wide
        Whether the excitation squeezes the expanded channels.
    survival
        How often it is kept in training, 0-1.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    expansion: int
    wide: bool = False
    survival: float = 1.0


class Block(nn.Module):
    """Inverted residual: expand, convolve depth-wise, excite, project."""

    def __init__(self, design: BlockDesign) -> None:
        super().__init__()
        inputs, kernel = design.inputs, design.kernel
        hidden = inputs * design.expansion
        self.expand: nn.Module = nn.Identity()
        if hidden != inputs:
            self.expand = ConvNormSilu(inputs, hidden)
        self.depsep = ConvNormSilu(hidden, hidden, kernel, stride=design.stride, groups=hidden)
        self.se = SqueezeExcite(hidden, (hidden if design.wide else inputs) // 4)
        self.proj = ConvNorm(hidden, design.outputs)
        self.residual = design.stride == 1 and inputs == design.outputs
        self.survival = design.survival

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h / stride, w / stride)`."""
        y: Tensor = self.proj(self.se(self.depsep(self.expand(x))))
        if not self.residual:
            return y
        if self.training and self.survival < 1:
            y = y * functional.dropout(y.new_ones(len(y), 1, 1, 1), 1 - self.survival)
        return x + y


def rounded(channels: float) -> int:
    """Return the multiple of eight nearest to a number of channels, at most a tenth below it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def block_designs(design: EfficientNetDesign) -> list[list[BlockDesign]]:
    """Return the blocks of each of the seven layers."""
    repeats = [math.ceil(blocks * design.depth) for _, _, blocks, _, _ in LAYERS]
    inputs, place, layers = rounded(STEM * design.width), 0, []
    for (kernel, stride, _, expansion, channels), blocks in zip(LAYERS, repeats, strict=True):
        outputs, layer = rounded(channels * design.width), []
        for index in range(blocks):
            survival = 1 - (1 - design.survival) * place / sum(repeats)
            step = stride if index == 0 else 1
            layer.append(
                BlockDesign(inputs, outputs, kernel, step, expansion, design.wide, survival)
            )
            inputs, place = outputs, place + 1
        layers.append(layer)
    return layers


class EfficientNet(nn.Module):
    """Stem and seven layers, without a classifier.

    Parameters
    ----------
    design
        Which one.
    """

    def __init__(self, design: EfficientNetDesign) -> None:
        super().__init__()
        designs = block_designs(design)
        self.stem = ConvNormSilu(3, designs[0][0].inputs, 3, stride=2)
        self.layers = nn.ModuleList(nn.Sequential() for _ in designs)
        for layer, blocks in zip(self.layers, designs, strict=True):
            for index, block in enumerate(blocks):
                layer.add_module(f"block{index}", Block(block))
        self.channels = tuple(blocks[-1].outputs for blocks in designs)
        initialise(self)

    def encoder(self) -> Encoder:
        """Return it cut in five stages, the way MetaDamageNet cuts it."""
        first, second, third, *rest = self.layers
        stages = (
            nn.Sequential(self.stem, first),
            second,
            third,
            nn.Sequential(*rest[:2]),
            nn.Sequential(*rest[2:]),
        )
        channels = tuple(self.channels[layer] for layer in (0, 1, 2, 4, 6))
        return Encoder(stages, channels)


#: What timm calls the parts of a block, without and with expansion.
SEPARABLE = {
    "depsep.conv": "conv_dw",
    "depsep.bn": "bn1",
    "se.squeeze": "se.conv_reduce",
    "se.expand": "se.conv_expand",
    "proj.conv": "conv_pw",
    "proj.bn": "bn2",
}
INVERTED = {
    "expand.conv": "conv_pw",
    "expand.bn": "bn1",
    "depsep.conv": "conv_dw",
    "depsep.bn": "bn2",
    "se.squeeze": "se.conv_reduce",
    "se.expand": "se.conv_expand",
    "proj.conv": "conv_pwl",
    "proj.bn": "bn3",
}
STEM_PARTS = {"stem.conv": "conv_stem", "stem.bn": "bn1"}


def timm_key(key: str) -> str:
    """Return what timm calls an entry of the state of an `EfficientNet`."""
    part, _, leaf = key.rpartition(".")
    if part in STEM_PARTS:
        return f"{STEM_PARTS[part]}.{leaf}"
    _, layer, block, part = part.split(".", 3)
    names = SEPARABLE if layer == "0" else INVERTED
    return f"blocks.{layer}.{block.removeprefix('block')}.{names[part]}.{leaf}"


def copy_from_timm(network: EfficientNet, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of timm's network of the same design.

    timm's were trained with 1e-5 added to the variance, not 1e-3; a start for training, not the
    same function.
    """
    ours = network.state_dict()
    # Linear layers are convolutions of one pixel: the same numbers in another shape.
    copied = {key: state[timm_key(key)].reshape(ours[key].shape) for key in ours}
    network.load_state_dict(copied)


def create_efficientnet(name: str, *, pretrained: bool = False) -> Encoder:
    """Create an EfficientNet encoder.

    Parameters
    ----------
    name
        A key of `EFFICIENTNETS`.
    pretrained
        Whether to start from timm's ImageNet weights.

    Raises
    ------
    OptionError
        If timm has no weights of this one.
    ModelNotFoundError
        If they cannot be fetched.
    """
    design = EFFICIENTNETS[name]
    network = EfficientNet(design)
    if not pretrained:
        return network.encoder()
    if design.timm_name is None:
        raise OptionError(f"{name}: timm has no ImageNet weights of it; leave out pretrained")
    copy_from_timm(network, create_timm(design.timm_name, pretrained=True).state_dict())
    return network.encoder()
