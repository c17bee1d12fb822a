"""Microsoft's siamese U-Net: building-damage-assessment-cnn-siamese, with its published keys.

One U-Net finds buildings in each date; a second way up joins the differences of its levels, the
post image less the pre image, to damage. What it says depends on a bounded field.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Source: end_to_end_Siam_UNet.py of the repository @a4ccc29, its defaults.
_WIDTHS = (16, 32, 64, 128, 256)
#: Rows and columns are multiples of it, pixels.
STRIDE = 16


class SiamUnet(nn.Module):
    """Buildings of the pre image, and damage."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        for level, width in enumerate(_WIDTHS[:-1], 1):
            above = _WIDTHS[level]
            before = 3 if level == 1 else _WIDTHS[level - 2]
            self.add_module(f"encoder{level}", _block(before, width, f"enc{level}"))
            self.add_module(f"upconv{level}", nn.ConvTranspose2d(above, width, 2, 2))
            self.add_module(f"decoder{level}", _block(2 * width, width, f"dec{level}"))
            # The way of the differences keeps twice the channels.
            wide = above if level == len(_WIDTHS) - 1 else 2 * above
            self.add_module(f"upconv{level}_c", nn.ConvTranspose2d(wide, width, 2, 2))
            self.add_module(f"conv{level}_c", _block(2 * width, 2 * width, f"conv{level}"))
        self.bottleneck = _block(_WIDTHS[-2], _WIDTHS[-1], "bottleneck")
        self.conv_s = nn.Conv2d(_WIDTHS[0], 2, 1)
        self.conv_c = nn.Conv2d(2 * _WIDTHS[0], 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 7, h, w)`: no building, building; background and the four grades.

        Parameters
        ----------
        images
            Float `(n, 6, h, w)`, each date standardised: pre, then post; h and w multiples of 16.
        """
        pre, post = self._levels(images[:, :3]), self._levels(images[:, 3:])
        located = pre[-1]
        for level in (4, 3, 2, 1):
            up = self.get_submodule(f"upconv{level}")(located)
            located = self.get_submodule(f"decoder{level}")(torch.cat([up, pre[level - 1]], 1))
        apart = [after - before for before, after in zip(pre, post, strict=True)]
        changed = apart[-1]
        for level in (4, 3, 2, 1):
            up = self.get_submodule(f"upconv{level}_c")(changed)
            changed = self.get_submodule(f"conv{level}_c")(torch.cat([apart[level - 1], up], 1))
        return torch.cat([self.conv_s(located), self.conv_c(changed)], 1)

    def _levels(self, image: Tensor) -> list[Tensor]:
        """Return the features of a date at strides 1 to 16."""
        found = []
        for level in (1, 2, 3, 4):
            image = self.get_submodule(f"encoder{level}")(image)
            found.append(image)
            image = functional.max_pool2d(image, 2)
        return [*found, self.bottleneck(image)]


def _block(channels: int, width: int, name: str) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            (f"{name}{kind}{step}", layer)
            for step, inner in ((1, channels), (2, width))
            for kind, layer in (
                ("conv", nn.Conv2d(inner, width, 3, padding=1, bias=False)),
                ("norm", nn.BatchNorm2d(width)),
                ("relu", nn.ReLU(inplace=True)),
            )
        )
    )
