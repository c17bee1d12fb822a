"""Buildings from drone and satellite images: EfficientNet under a feature pyramid, four heads.

The network of the third place of the Open Cities AI Challenge; its decoder and heads are in
`geodamage.networks.feature_pyramid`.

The EfficientNet is laid out as in efficientnet_pytorch 0.6.3, whose names its weights carry.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.networks.decoders import initialise
from geodamage.networks.efficientnets import (
    INVERTED,
    SEPARABLE,
    BlockDesign,
    EfficientNetDesign,
    block_designs,
    rounded,
)
from geodamage.networks.encoders import create_timm
from geodamage.networks.feature_pyramid import (
    FeaturePyramid,
    PyramidDesign,
    asked_pyramid,
    asked_rate,
)

#: Channels of the last convolution of the encoder of B0.
HEAD = 1280
#: Layers of the encoder that the pyramid taps, at strides 4, 8 and 16.
TAPPED = (1, 2, 4)
#: Rate of leaving out the first blocks, up to this one, whatever is asked of the others.
FIRST_DROP_CONNECT, LAST_FIRST = 0.2, 3
#: The decoder of B0 and B1.
REPEATED = PyramidDesign(planes=32, repeated=True)


@dataclass(frozen=True)
class FpnDesign:
    """What tells one EfficientFPN from another.

    Attributes
    ----------
    encoder
        The EfficientNet.
    pyramid
        The decoder.
    stem_learns
        Whether the first convolution is trained.
    """

    encoder: EfficientNetDesign
    pyramid: PyramidDesign = REPEATED
    stem_learns: bool = True


#: timm's weights of these names are those that efficientnet_pytorch hands out: both were
#: converted from the ones of the authors of EfficientNet, padding included.
EFFICIENT_FPNS: Mapping[str, FpnDesign] = {
    "efficient_fpn_b0": FpnDesign(EfficientNetDesign(timm_name="tf_efficientnet_b0.aa_in1k")),
    "efficient_fpn_b1": FpnDesign(
        EfficientNetDesign(1.0, 1.1, timm_name="tf_efficientnet_b1.aa_in1k")
    ),
    "efficient_fpn_b2": FpnDesign(
        EfficientNetDesign(1.1, 1.2, timm_name="tf_efficientnet_b2.aa_in1k"),
        PyramidDesign(context=True),
        stem_learns=False,
    ),
}


class SameConv(nn.Conv2d):
    """Convolution of images with even sides, padded as TensorFlow does.

    Where the padding is odd, the larger part is at the bottom and on the right. Source:
    efficientnet_pytorch 0.6.3, whose padding is fixed for even sides.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, groups: int = 1
    ) -> None:
        low, odd = divmod(kernel - stride, 2)
        super().__init__(inputs, outputs, kernel, stride, low, groups=groups, bias=False)
        self.odd = bool(odd)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h / stride, w / stride)` from `(n, inputs, h, w)`."""
        return super().forward(functional.pad(x, (0, 1, 0, 1)) if self.odd else x)


def normalisation(channels: int) -> nn.BatchNorm2d:
    """Create a batch normalisation of the encoder.

    Source: efficientnet_pytorch 0.6.3: 1e-3 is added to the variance, a hundredth of each batch
    goes into the statistics.
    """
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MobileBlock(nn.Module):
    """Inverted residual under the names of efficientnet_pytorch: expand, convolve, excite, project.

    Parameters
    ----------
    design
        Its sizes.
    """

    def __init__(self, design: BlockDesign) -> None:
        super().__init__()
        inputs, kernel, stride = design.inputs, design.kernel, design.stride
        hidden, squeezed = inputs * design.expansion, inputs // 4
        self.expands = hidden != inputs
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = normalisation(hidden)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self._bn1 = normalisation(hidden)
        self._se_reduce = nn.Conv2d(hidden, squeezed, 1)
        self._se_expand = nn.Conv2d(squeezed, hidden, 1)
        self._project_conv = nn.Conv2d(hidden, design.outputs, 1, bias=False)
        self._bn2 = normalisation(design.outputs)
        self.residual = stride == 1 and inputs == design.outputs
        self.survival = design.survival

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h / stride, w / stride)`."""
        y: Tensor = functional.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.silu(self._bn1(self._depthwise_conv(y)))
        squeezed = functional.silu(self._se_reduce(y.mean((2, 3), keepdim=True)))
        y = y * torch.sigmoid(self._se_expand(squeezed))
        y = self._bn2(self._project_conv(y))
        return self.joined(x, y) if self.residual else y

    def joined(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of what came in and what became of it, or without the latter."""
        if self.training and self.survival < 1:
            y = y * functional.dropout(y.new_ones(len(y), 1, 1, 1), 1 - self.survival)
        return x + y


class EfficientFpn(FeaturePyramid):
    """The network of the third place of Open Cities.

    Its first normalisation, `_bn0`, keeps its statistics also in training. If the design says so,
    its first convolution learns nothing. Both are as published, and a training need not take care
    of them.

    Parameters
    ----------
    design
        Which one.
    drop_connect
        How often the last block is left out in training, 0 to below 1; blocks before it less.
    """

    def __init__(self, design: FpnDesign, *, drop_connect: float = 0.2) -> None:
        layers = block_designs(design.encoder)
        tapped = [layers[place][-1].outputs for place in TAPPED]
        head = rounded(HEAD * design.encoder.width)
        super().__init__((*tapped, head), design.pyramid)
        self.stem_learns = design.stem_learns
        self.tapped = tapped_blocks(layers)
        blocks = with_survival([block for layer in layers for block in layer], drop_connect)
        self._conv_stem = SameConv(3, blocks[0].inputs, 3, stride=2)
        self._bn0 = normalisation(blocks[0].inputs)
        self._blocks = nn.ModuleList(MobileBlock(block) for block in blocks)
        self._conv_head = nn.Conv2d(blocks[-1].outputs, head, 1, bias=False)
        self._bn1 = normalisation(head)
        for part in (self._conv_stem, self._blocks, self._conv_head):
            initialise(part)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the first normalisation, which stays in evaluation."""
        super().train(mode)
        self._bn0.eval()
        return self

    def stem(self, images: Tensor) -> Tensor:
        """Return `(n, c, h / 2, w / 2)` from normalised `(n, 3, h, w)`."""
        with torch.set_grad_enabled(self.stem_learns and torch.is_grad_enabled()):
            return functional.mish(self._bn0(self._conv_stem(images)))

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of normalised `(n, 3, h, w)`."""
        x, features = self.stem(images), []
        for place, block in enumerate(self._blocks):
            x = block(x)
            if place in self.tapped:
                features.append(x)
        return [*features, functional.mish(self._bn1(self._conv_head(x)))]


def tapped_blocks(layers: Sequence[Sequence[BlockDesign]]) -> tuple[int, ...]:
    """Return the places of the last blocks of the tapped layers among all blocks."""
    return tuple(sum(map(len, layers[: place + 1])) - 1 for place in TAPPED)


def with_survival(blocks: Sequence[BlockDesign], drop_connect: float) -> list[BlockDesign]:
    """Return blocks that are left out the more often the later they come.

    Source: third place of Open Cities, model.py: rate · place / number of blocks. The first four
    have a rate of 0.2, whatever the rate of the others.
    """
    rates = [FIRST_DROP_CONNECT if place <= LAST_FIRST else drop_connect
             for place in range(len(blocks))]  # fmt: skip
    return [
        dataclasses.replace(block, survival=1 - rate * place / len(blocks))
        for place, (block, rate) in enumerate(zip(blocks, rates, strict=True))
    ]


def create_efficient_fpn(
    name: str,
    *,
    pretrained: bool = False,
    drop_connect: float = 0.2,
    **pyramid: bool,
) -> EfficientFpn:
    """Create a network of the third place of Open Cities.

    Parameters
    ----------
    name
        A key of `EFFICIENT_FPNS`.
    pretrained
        Whether the encoder starts from ImageNet.
    drop_connect
        How often the last block is left out in training, 0 to below 1. Source: third place of
        Open Cities: 0.2, and 0.5 with soft labels.
    **pyramid
        `context` and `mish` of `PyramidDesign`, instead of the network's own.

    Raises
    ------
    OptionError
        If an option is out of its range.
    ModelNotFoundError
        If ImageNet weights cannot be fetched.
    """
    design = EFFICIENT_FPNS[name]
    design = dataclasses.replace(design, pyramid=asked_pyramid(name, design.pyramid, pyramid))
    network = EfficientFpn(design, drop_connect=asked_rate(name, drop_connect))
    if pretrained:
        state = create_timm(str(design.encoder.timm_name), pretrained=True).state_dict()
        copy_encoder(network, design.encoder, state)
    return network


#: What timm calls the parts of its EfficientNets, by their names here.
STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
}
BLOCK_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depsep.conv",
    "_bn1": "depsep.bn",
    "_se_reduce": "se.squeeze",
    "_se_expand": "se.expand",
    "_project_conv": "proj.conv",
    "_bn2": "proj.bn",
}


def timm_keys(design: EfficientNetDesign) -> dict[str, str]:
    """Return what timm calls each part of the encoder that has weights, by its name here."""
    keys, number = dict(STEM_AND_HEAD), 0
    for layer, blocks in enumerate(block_designs(design)):
        names = SEPARABLE if layer == 0 else INVERTED
        for place in range(len(blocks)):
            for ours, part in BLOCK_PARTS.items():
                if part in names:
                    keys[f"_blocks.{number}.{ours}"] = f"blocks.{layer}.{place}.{names[part]}"
            number += 1
    return keys


def copy_encoder(
    network: EfficientFpn, design: EfficientNetDesign, state: Mapping[str, Tensor]
) -> None:
    """Copy the weights of timm's network of the same design into the encoder."""
    with torch.no_grad():
        for ours, theirs in timm_keys(design).items():
            part = network.get_submodule(ours)
            part.load_state_dict({key: state[f"{theirs}.{key}"] for key in part.state_dict()})
