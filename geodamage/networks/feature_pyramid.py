"""A feature pyramid with four heads over features at strides 4, 8, 16 and 32.

The decoder of the third place of the Open Cities AI Challenge. It answers at a quarter of the
size of the image:

=============  ==============  =============================================================
output         published name  meaning
=============  ==============  =============================================================
`building`     `bce_logit`     two logits a pixel, softmax: background, building
`dice`         `dice`          one logit a pixel, sigmoid: building, trained by the Dice loss
`presence`     `_fc`           two logits an image, softmax: no building in it, one or more
`scale`        `_fc2`          one number an image; published, and used by no loss
=============  ==============  =============================================================
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError
from geodamage.networks.decoders import double

#: Channels of the pyramid, and of its three floors joined.
PYRAMID, JOINED = 64, 192
#: Of the features that the pyramid stands on; the answers are at the first of them.
STRIDES = (4, 8, 16, 32)


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
