"""The U-Nets of the BRIGHT benchmark, with their published keys: optical before, radar after.

The first reads both images as six channels. The second has an encoder for each sensor, joins their
levels, and weighs each joined level by what it pools of the whole window. Both give background,
intact, damaged and destroyed.
"""

import itertools
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Source: model/UNet.py and model/SiamAttnUNet.py of the benchmark, bda_benchmark, with six and
#: twice three channels; the sizes of the published files agree with them.
_WIDTHS = (64, 128, 256, 512, 1024)
#: Background, intact, damaged, destroyed.
_CLASSES = 4
#: Rows and columns are multiples of it, pixels.
STRIDE = 16


class BrightUNet(nn.Module):
    """A U-Net on the six channels of both images."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        for level, (inner, width) in enumerate(itertools.pairwise((6, *_WIDTHS)), 1):
            self.add_module(f"encoder{level}", _nested(inner, width))
        for level, (width, above) in enumerate(itertools.pairwise(_WIDTHS), 1):
            self.add_module(f"upconv{level}", nn.ConvTranspose2d(above, width, 2, 2))
            self.add_module(f"decoder{level}", _nested(2 * width, width))
        self.final_conv = nn.Conv2d(_WIDTHS[0], _CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 4, h, w)`.

        Parameters
        ----------
        images
            Float `(n, 6, h, w)`, scaled: pre, then the radar's channel three times; h and w are
            multiples of 16.
        """
        *levels, found = _levels(self, "encoder{}", images)
        for level in (4, 3, 2, 1):
            up = self.get_submodule(f"upconv{level}")(found)
            joined = torch.cat([up, levels[level - 1]], 1)
            found = self.get_submodule(f"decoder{level}")(joined)
        return self.final_conv(found)  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """Weighs channels by the mean and the maximum of other ones over the whole window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc_1, self.fc_2 = _squeezed(channels), _squeezed(channels)

    def forward(self, joined: Tensor, up: Tensor) -> Tensor:
        """Return the joined features, each channel one to three times as large."""
        mean = self.fc_1(functional.adaptive_avg_pool2d(up, 1))
        largest = self.fc_2(functional.adaptive_max_pool2d(up, 1))
        weighed: Tensor = joined + joined * (mean + largest)
        return weighed


class SiamAttnUNet(nn.Module):
    """A U-Net with an encoder for each sensor, and attention on its skips."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        for level, (inner, width) in enumerate(itertools.pairwise((3, *_WIDTHS)), 1):
            self.add_module(f"encoder{level}_pre", _block(inner, width))
            self.add_module(f"encoder{level}_post", _block(inner, width))
            self.add_module(f"fuse_{level}", nn.Conv2d(2 * width, width, 1))
        # Its decoder counts from the coarsest level on.
        for step, width in enumerate(_WIDTHS[-2::-1], 1):
            self.add_module(f"attention{step}", ChannelAttention(width))
            inner = _WIDTHS[-1] if step == 1 else 4 * width
            up = nn.ConvTranspose2d(inner, width, 4, 2, 1)
            grown = OrderedDict([("up", up), ("conv", _block(width, width))])
            self.add_module(f"upconv{step}", nn.Sequential(grown))
        self.upconv5 = _block(2 * _WIDTHS[0], _WIDTHS[0])
        self.final = nn.Conv2d(_WIDTHS[0], _CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 4, h, w)` of what `BrightUNet` takes."""
        pre = _levels(self, "encoder{}_pre", images[:, :3])
        post = _levels(self, "encoder{}_post", images[:, 3:])
        *levels, found = [
            self.get_submodule(f"fuse_{level}")(torch.cat(dates, 1))
            for level, dates in enumerate(zip(pre, post, strict=True), 1)
        ]
        for step in (1, 2, 3, 4):
            up = self.get_submodule(f"upconv{step}")(found)
            weighed = self.get_submodule(f"attention{step}")(levels[-step], up)
            found = torch.cat([up, weighed], 1)
        return self.final(self.upconv5(found))  # type: ignore[no-any-return]


def _levels(network: nn.Module, name: str, image: Tensor) -> list[Tensor]:
    """Return the features of an encoder at strides 1 to 16."""
    found: list[Tensor] = []
    for level in range(1, len(_WIDTHS) + 1):
        image = functional.max_pool2d(found[-1], 2) if found else image
        found.append(network.get_submodule(name.format(level))(image))
    return found


def _nested(channels: int, width: int) -> nn.Module:
    """Return two convolutions under the name `block`, numbered."""
    return nn.Sequential(OrderedDict([("block", nn.Sequential(*_layers(channels, width)))]))


def _block(channels: int, width: int) -> nn.Sequential:
    """Return two convolutions with names of their own."""
    names = ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2")
    return nn.Sequential(OrderedDict(zip(names, _layers(channels, width), strict=True)))


def _layers(channels: int, width: int) -> list[nn.Module]:
    return [
        layer
        for inner in (channels, width)
        for layer in (
            nn.Conv2d(inner, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
    ]


def _squeezed(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels // 8, 1, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 8, channels, 1, bias=False),
        nn.Sigmoid(),
    )
