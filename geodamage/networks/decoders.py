"""The decoder that all U-Nets share: five steps from stride 32 back to full size.

Each step doubles the size, convolves, joins the encoder's features of that size and convolves
again; the last step has nothing to join. Two families published two layouts of names:

==============  =====================================  ==================================
                first place, distillation              batch-normalised (MetaDamageNet)
==============  =====================================  ==================================
conv6 - conv9   `conv6.layer.0`, `conv6_2.layer.0`     `conv6.conv1.layer.0`, `.conv2.`
conv10          `conv10.layer.0`                       `conv10.conv.layer.0`
with attention  `conv6_2.0.layer.0`, `conv6_2.1`       `conv6.conv2.0.layer.0`, `.conv2.1`
==============  =====================================  ==================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Attention = Literal["none", "concat", "add"]


@dataclass(frozen=True)
class DecoderDesign:
    """What tells one decoder from another.

    Attributes
    ----------
    widths
        Channels at strides 1, 2, 4, 8 and 16.
    batch_norm
        Whether convolutions are normalised; sets the layout of names, too.
    attention
        What follows each joined step: nothing, or spatial and channel attention whose two
        answers are concatenated or added.
    """

    widths: tuple[int, ...] = (48, 64, 96, 160, 320)
    batch_norm: bool = False
    attention: Attention = "none"


class ConvRelu(nn.Module):
    """3 x 3 convolution with bias, batch normalisation where asked for, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            *([nn.BatchNorm2d(outputs)] if batch_norm else []),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, outputs, h, w)` from `(n, inputs, h, w)`."""
        return self.layer(x)  # type: ignore[no-any-return]


class Scse(nn.Module):
    """Spatial and channel squeeze-excitation.

    Source: Roy, Navab, Wachinger, "Concurrent Spatial and Channel Squeeze & Excitation in Fully
    Convolutional Networks", MICCAI 2018. The bottleneck has a sixteenth of the channels, as in the
    first-place network.
    """

    def __init__(self, channels: int, *, concat: bool) -> None:
        super().__init__()
        squeezed = max(1, channels // 16)
        self.concat = concat
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.spatial_se = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, c, h, w)` from `(n, c, h, w)`, or `(n, 2c, h, w)` where concatenated."""
        weights = self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        channel, spatial = x * torch.sigmoid(weights), x * self.spatial_se(x)
        return torch.cat([channel, spatial], 1) if self.concat else channel + spatial


def double(x: Tensor) -> Tensor:
    """Return `(n, c, 2h, 2w)` from `(n, c, h, w)`, each pixel four times."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Decoder(nn.Module):
    """Features at full size from those of five stages of an encoder.

    Parameters
    ----------
    channels
        Channels of the encoder at strides 2, 4, 8, 16 and 32.
    design
        Widths and layout.
    """

    def __init__(self, channels: Sequence[int], design: DecoderDesign) -> None:
        super().__init__()
        self.design = design
        coarse = channels[-1]
        for number in (6, 7, 8, 9):
            width, skip = design.widths[10 - number], channels[9 - number]
            first, second = self._conv(coarse, width), self._joined(width + skip, width)
            self._place(number, first, second)
            coarse = width * (2 if design.attention == "concat" else 1)
        last = self._conv(coarse, design.widths[0])
        self.conv10 = nn.ModuleDict({"conv": last}) if design.batch_norm else last
        initialise(self)

    def _conv(self, inputs: int, outputs: int) -> nn.Module:
        return ConvRelu(inputs, outputs, batch_norm=self.design.batch_norm)

    def _joined(self, inputs: int, outputs: int) -> nn.Module:
        conv, attention = self._conv(inputs, outputs), self.design.attention
        if attention == "none":
            return conv
        return nn.Sequential(conv, Scse(outputs, concat=attention == "concat"))

    def _place(self, number: int, first: nn.Module, second: nn.Module) -> None:
        if self.design.batch_norm:
            pair = nn.ModuleDict({"conv1": first, "conv2": second})
            self.add_module(f"conv{number}", pair)
        else:
            self.add_module(f"conv{number}", first)
            self.add_module(f"conv{number}_2", second)

    def _pair(self, number: int) -> tuple[nn.Module, nn.Module]:
        layer = getattr(self, f"conv{number}")
        if self.design.batch_norm:
            return layer["conv1"], layer["conv2"]
        return layer, getattr(self, f"conv{number}_2")

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Return `(n, widths[0], h, w)` from `(n, channels[i], h / 2^(i+1), w / 2^(i+1))`."""
        *skips, x = features
        for number, skip in zip((6, 7, 8, 9), reversed(skips), strict=True):
            first, second = self._pair(number)
            # The decoder's channels come first: published weights count on it.
            x = second(torch.cat([first(double(x)), skip], 1))
        last = self.conv10["conv"] if self.design.batch_norm else self.conv10  # type: ignore[index]
        return last(double(x))  # type: ignore[no-any-return]


def initialise(module: nn.Module) -> None:
    """Give convolutions the weights of He et al. (2015) and no bias, normalisations 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
