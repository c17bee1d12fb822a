"""Buildings from drone and satellite images: EfficientNet under a feature pyramid, four heads.

The network of the third place of the Open Cities AI Challenge, and the same decoder and heads on
any encoder of timm. It answers at a quarter of the size of the image:

=============  ==============  =============================================================
output         published name  meaning
=============  ==============  =============================================================
`building`     `bce_logit`     two logits a pixel, softmax: background, building
`dice`         `dice`          one logit a pixel, sigmoid: building, trained by the Dice loss
`presence`     `_fc`           two logits an image, softmax: no building in it, one or more
`scale`        `_fc2`          one number an image; published, and used by no loss
=============  ==============  =============================================================

The EfficientNet is laid out as in efficientnet_pytorch 0.6.3, whose names its weights carry.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError
from geodamage.networks.decoders import double, initialise
from geodamage.networks.efficientnets import (
    INVERTED,
    SEPARABLE,
    BlockDesign,
    EfficientNetDesign,
    block_designs,
    rounded,
)
from geodamage.networks.encoders import create_timm

#: Channels of the pyramid, and of its three floors joined.
PYRAMID, JOINED = 64, 192
#: Channels of the last convolution of the encoder of B0.
HEAD = 1280
#: Of the features that the pyramid stands on; the answers are at the first of them.
STRIDES = (4, 8, 16, 32)
#: What `create_timm_fpn` takes unless told otherwise.
TIMM_ENCODER = "tf_efficientnet_b0"
#: Layers of the encoder that the pyramid taps, at strides 4, 8 and 16.
TAPPED = (1, 2, 4)
#: Rate of leaving out the first blocks, up to this one, whatever is asked of the others.
FIRST_DROP_CONNECT, LAST_FIRST = 0.2, 3


class FpnOutputs(NamedTuple):
    """What the four heads say.

    Attributes
    ----------
    building
        Logits `(n, 2, h / 4, w / 4)` of background and building.
    dice
        Logits `(n, 1, h / 4, w / 4)` of building.
    presence
        Logits `(n, 2)`: no building in the image, one or more.
    scale
        `(n, 1)`, without a unit; no loss of the published training uses it.
    """

    building: Tensor
    dice: Tensor
    presence: Tensor
    scale: Tensor


@dataclass(frozen=True)
class PyramidDesign:
    """What tells one decoder from another.

    Attributes
    ----------
    context
        Whether the joined pyramid goes through a context block.
    planes
        Width of the context block: eight times the channels in its bottleneck.
    repeated
        Whether the convolution after the pyramid starts with a context block of its own.
    mish
        Whether that convolution ends with Mish where there is no context block; with one it
        always does.
    """

    context: bool = False
    planes: int = 64
    repeated: bool = False
    mish: bool = False


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
    pyramid: PyramidDesign = PyramidDesign(planes=32, repeated=True)
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


class ConvGroupUp(nn.Module):
    """3 x 3 convolution without bias, normalisation of 32 groups, ReLU, twice the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.gn = nn.GroupNorm(32, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, channels, 2h, 2w)` from `(n, channels, h, w)`."""
        x = functional.relu(self.gn(self.conv(x)))
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class ContextBlock(nn.Module):
    """Add to every pixel what an attention over the whole window found.

    Source: Cao et al., "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
    ICCV Workshops 2019: attention pooling, a bottleneck of an eighth of the planes, addition.
    """

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        squeezed = planes // 8
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.LayerNorm([squeezed, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
        )
        # It starts by adding nothing, so that it can be put into a trained network.
        for tensor in self.channel_add_conv[3].parameters():
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, c, h, w)` from `(n, c, h, w)`."""
        shares = self.conv_mask(x).flatten(2).softmax(2)  # (n, 1, h w)
        context = x.flatten(2) @ shares.transpose(1, 2)  # (n, c, 1)
        return x + self.channel_add_conv(context[..., None])  # type: ignore[no-any-return]


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Create a convolution without bias that keeps the size, batch normalisation, ReLU."""
    padding = kernel // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: five views of different reach, joined.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017;
    dilations of the third place of Open Cities.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.atrous0 = conv_norm_relu(channels, channels)
        for number, dilation in enumerate((4, 8, 12), 1):
            view = conv_norm_relu(channels, channels, 3, dilation)
            self.add_module(f"atrous{number}", nn.ModuleDict({"module": view}))
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_norm_relu(channels, channels))
        self.atrous4 = nn.ModuleDict({"module": pooled})
        self.combine = conv_norm_relu(5 * channels, channels).append(nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, c, h, w)` from `(n, c, h, w)`."""
        near = [getattr(self, f"atrous{number}")["module"](x) for number in (1, 2, 3)]
        whole = self.atrous4["module"](x).expand_as(x)
        return self.combine(torch.cat([self.atrous0(x), *near, whole], 1))  # type: ignore[no-any-return]


class FeaturePyramid(nn.Module):
    """A feature pyramid with four heads over features at strides 4, 8, 16 and 32.

    Whoever derives from it says what the features are.

    Parameters
    ----------
    channels
        Channels of the features at strides 4, 8, 16 and 32.
    design
        Design of the decoder.
    """

    stride = 32

    def __init__(self, channels: Sequence[int], design: PyramidDesign) -> None:
        super().__init__()
        for number, width in enumerate(reversed(channels)):
            self.add_module(f"lateral{number}", nn.Conv2d(width, PYRAMID, 1))
        self.top1 = nn.Sequential(ConvGroupUp(PYRAMID), ConvGroupUp(PYRAMID))
        self.top2 = nn.Sequential(ConvGroupUp(PYRAMID))
        self.top3 = nn.Sequential(nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1))
        self.ctx, self.top4 = joined_parts(design)
        self.aspp = Aspp(JOINED)
        self.conv_att = nn.Conv2d(PYRAMID, PYRAMID, 1, bias=False)
        self.bce_logit = nn.Conv2d(PYRAMID, 2, 1)
        self.dice = nn.Conv2d(PYRAMID, 1, 1, bias=False)
        self._fc = nn.Linear(channels[-1], 2)
        self._fc2 = nn.Linear(channels[-1], 1)

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of normalised `(n, 3, h, w)`."""
        raise NotImplementedError

    def pyramid(self, features: Sequence[Tensor]) -> Tensor:
        """Return the three floors of the pyramid at stride 4, `(n, 192, h / 4, w / 4)`."""
        floors: list[Tensor] = []
        for number, feature in enumerate(reversed(features)):
            lateral = getattr(self, f"lateral{number}")(feature)
            floors.append(double(floors[-1]) + lateral if floors else lateral)
        tops = zip((self.top1, self.top2, self.top3), floors[1:], strict=True)
        return torch.cat([top(floor) for top, floor in tops], 1)

    def forward(self, images: Tensor) -> FpnOutputs:
        """Return what the four heads say.

        Parameters
        ----------
        images
            float `(n, 3, h, w)`, RGB in 0..1 less ImageNet's mean, by its deviation; height and
            width multiples of 32.
        """
        features = self.features(images)
        joined = functional.dropout(self.pyramid(features), 0.2, self.training)
        x = self.top4(self.aspp(self.ctx(joined)))  # (n, 64, h / 4, w / 4)
        x = x * torch.tanh(self.conv_att(x))
        pooled = functional.dropout(features[-1].mean((2, 3)), 0.2, self.training)
        return FpnOutputs(self.bce_logit(x), self.dice(x), self._fc(pooled), self._fc2(pooled))


def joined_parts(design: PyramidDesign) -> tuple[nn.Module, nn.Sequential]:
    """Create what the joined pyramid goes through: `ctx`, and `top4` behind the ASPP."""
    conv = nn.Conv2d(JOINED, PYRAMID, 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(PYRAMID)
    if design.context:
        again = [ContextBlock(JOINED, 64)] if design.repeated else []
        return ContextBlock(JOINED, design.planes), nn.Sequential(*again, conv, norm, nn.Mish())
    activation = nn.Mish() if design.mish else nn.ReLU(inplace=True)
    return nn.Identity(), nn.Sequential(conv, norm, activation)


class EfficientFpn(FeaturePyramid):
    """The network of the third place of Open Cities.

    Its first normalisation, `_bn0`, keeps its statistics also in training, and where the design
    says so its first convolution learns nothing: both as published, and nothing that a training
    must take care of.

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

    Source: third place of Open Cities, model.py: rate · place / number of blocks; the first four
    at a rate of 0.2, whatever that of the others.
    """
    rates = [FIRST_DROP_CONNECT if place <= LAST_FIRST else drop_connect
             for place in range(len(blocks))]  # fmt: skip
    return [
        dataclasses.replace(block, survival=1 - rate * place / len(blocks))
        for place, (block, rate) in enumerate(zip(blocks, rates, strict=True))
    ]


class TimmFpn(FeaturePyramid):
    """The same decoder and heads on an encoder of timm.

    Parameters
    ----------
    encoder
        Encoder of timm that gives features `(n, c, h, w)` of all its stages.
    places
        Places of the features at strides 4, 8, 16 and 32 among them.
    design
        Design of the decoder.
    """

    def __init__(self, encoder: Any, places: Sequence[int], design: PyramidDesign) -> None:
        channels = encoder.feature_info.channels()
        super().__init__([channels[place] for place in places], design)
        self.encoder = encoder
        self.places = tuple(places)

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of normalised `(n, 3, h, w)`."""
        features = self.encoder(images)
        return [features[place] for place in self.places]


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


def create_timm_fpn(
    encoder: str = TIMM_ENCODER,
    *,
    pretrained: bool = False,
    drop_connect: float = 0.0,
    **pyramid: bool,
) -> TimmFpn:
    """Create the same decoder and heads on an encoder of timm.

    Parameters
    ----------
    encoder
        Name in timm of a network that gives features at strides 4, 8, 16 and 32.
    pretrained
        Whether timm fetches its weights.
    drop_connect
        How often the encoder leaves out its last block in training, 0 to below 1.
    **pyramid
        `context` and `mish` of `PyramidDesign`.

    Raises
    ------
    OptionError
        If timm has no such encoder or no weights of it, it gives other features, or an option is
        out of its range.
    ModelNotFoundError
        If the weights cannot be fetched.
    """
    design = asked_pyramid("timm_fpn", PyramidDesign(), pyramid)
    rate = asked_rate("timm_fpn", drop_connect)
    features = timm_features(encoder, pretrained=pretrained, drop_connect=rate)
    places = {stride: place for place, stride in enumerate(features.feature_info.reduction())}
    # Some transformers put channels last; every convolution here would take rows for them.
    last = str(getattr(features, "output_fmt", "")).endswith("NHWC")
    if last or not places.keys() >= {*STRIDES}:
        raise OptionError(
            f"timm_fpn: encoder {encoder!r} does not give features (n, c, h, w) at strides 4, 8, "
            f"16 and 32; take another, such as {TIMM_ENCODER}"
        )
    return TimmFpn(features, [places[stride] for stride in STRIDES], design)


def timm_features(encoder: str, *, pretrained: bool, drop_connect: float) -> Any:
    """Create an encoder of timm that gives the features of all its stages.

    Raises
    ------
    OptionError
        If timm has no such encoder, no weights of it, or no way to leave out its blocks.
    ModelNotFoundError
        If the weights cannot be fetched.
    """
    import timm  # seconds to import, and most of this package does without

    if not isinstance(encoder, str):
        raise OptionError(f"timm_fpn: encoder={encoder!r}; give the name of a network of timm")
    if not timm.is_model(encoder):
        near = ", ".join(difflib.get_close_matches(encoder, timm.list_models(), n=3))
        hint = f"did you mean {near}?" if near else f"take one of timm's, such as {TIMM_ENCODER}"
        raise OptionError(f"timm_fpn: no encoder {encoder!r}; {hint}")
    if pretrained and not timm.is_model_pretrained(encoder):
        raise OptionError(f"timm_fpn: timm has no weights of {encoder!r}; leave out pretrained")
    options = {"drop_path_rate": drop_connect} if drop_connect else {}
    try:
        return create_timm(encoder, pretrained=pretrained, features_only=True, **options)
    except TypeError as error:
        # What timm's networks do with an option that they do not know.
        if "drop_path_rate" not in str(error):
            raise
        raise OptionError(
            f"timm_fpn: encoder {encoder!r} leaves out no blocks; leave out drop_connect"
        ) from error


def asked_pyramid(
    network: str, design: PyramidDesign, options: Mapping[str, bool]
) -> PyramidDesign:
    """Return the design of a decoder with what was asked for instead."""
    for key, value in options.items():
        if not isinstance(value, bool):
            raise OptionError(f"{network}: {key}={value!r}; give true or false")
    return dataclasses.replace(design, **options)


def asked_rate(network: str, drop_connect: float) -> float:
    """Return how often the last block is left out, or refuse it."""
    number = isinstance(drop_connect, int | float) and not isinstance(drop_connect, bool)
    if not (number and 0 <= drop_connect < 1):
        raise OptionError(f"{network}: drop_connect={drop_connect!r}; give 0 to below 1")
    return float(drop_connect)


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
