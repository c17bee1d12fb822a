"""ChangeOS with a Swin-T encoder, as torchange publishes it for xView2.

Both dates pass one Swin-T of torchvision. Localisation reads the features of the pre image alone,
and damage those of both. Each has its own neck: a feature pyramid and four towers, which end at
stride 4 and are averaged. The keys are those of the published file.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.swin_transformer import SwinTransformer  # type: ignore[import-untyped]

from geodamage.errors import CheckpointError

#: Source: torchange 0.0.4, with what torchvision calls swin_t.
_WIDTHS, _DEPTHS, _HEADS, _WINDOW = (96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24), 7
_CHANNELS = 256
#: Rows and columns are multiples of it, pixels.
STRIDE = 32
#: Pixels of a window that a graph may be traced on: whether a stage shifts its windows is decided
#: there, and below 225 pixels the last one would not.
LEAST_TRACED = 256


class SwinFeatures(nn.Module):
    """The four stages of a Swin-T, channels first; nothing is normed after a stage."""

    def __init__(self) -> None:
        super().__init__()
        whole = SwinTransformer(
            [4, 4], _WIDTHS[0], list(_DEPTHS), list(_HEADS), [_WINDOW] * 2,
            stochastic_depth_prob=0.2,
        )  # fmt: skip
        self.features = whole.features

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features at strides 4, 8, 16 and 32."""
        found = []
        for first in range(0, 8, 2):
            # (n, h, w, c) from the patches or the merging on
            images = self.features[first + 1](self.features[first](images))
            found.append(images.permute(0, 3, 1, 2))
        return found


class Encoder(nn.Module):
    """Holds the Swin-T under its published name."""

    def __init__(self) -> None:
        super().__init__()
        self.swin = SwinFeatures()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features at strides 4, 8, 16 and 32."""
        return self.swin(images)  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """A feature pyramid without activations."""

    def __init__(self) -> None:
        super().__init__()
        for level, width in enumerate(_WIDTHS, 1):
            self.add_module(f"fpn_inner{level}", _normed(width, 1))
            self.add_module(f"fpn_layer{level}", _normed(_CHANNELS, 3))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return four levels of as many channels, the finest first."""
        above: Tensor | None = None
        found = []
        for level in (4, 3, 2, 1):
            inner = self.get_submodule(f"fpn_inner{level}")(features[level - 1])
            if above is not None:
                inner = inner + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = inner
            found.append(self.get_submodule(f"fpn_layer{level}")(inner))
        return found[::-1]


class Towers(nn.Module):
    """Brings four levels to stride 4 and averages them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(*(self._step(level > 0) for _ in range(max(level, 1))))
            for level in range(4)
        )

    @staticmethod
    def _step(grows: bool) -> nn.Sequential:
        grown = nn.UpsamplingBilinear2d(scale_factor=2) if grows else nn.Identity()
        return nn.Sequential(*_normed(_CHANNELS, 3), nn.ReLU(inplace=True), grown)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return `(n, 256, h / 4, w / 4)`."""
        grown = [block(level) for block, level in zip(self.blocks, levels, strict=True)]
        return torch.stack(grown).mean(0)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `(n, c, h, w)`."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the same shape."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Two necks, and what joins them."""

    def __init__(self) -> None:
        super().__init__()
        self.loc_neck = nn.Sequential(Pyramid(), Towers())
        self.dam_neck = nn.Sequential(Pyramid(), Towers())
        self.fuse_conv = nn.Sequential(
            nn.Conv2d(2 * _CHANNELS, _CHANNELS, 1),
            ChannelNorm(_CHANNELS, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 1),
            ChannelNorm(_CHANNELS, eps=1e-6),
        )

    def forward(self, pre: list[Tensor], post: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return features of the pre image, and of both."""
        before = self.loc_neck(pre)
        return before, self.fuse_conv(torch.cat([before, self.dam_neck(post)], 1))


class Head(nn.Module):
    """One logit of a building, and five of damage."""

    def __init__(self) -> None:
        super().__init__()
        self.loc_cls = nn.Sequential(nn.Conv2d(_CHANNELS, 1, 1), _fourfold())
        self.dam_cls = nn.Sequential(nn.Conv2d(_CHANNELS, 5, 1), _fourfold())

    def forward(self, before: Tensor, both: Tensor) -> Tensor:
        """Return `(n, 6, h, w)`."""
        return torch.cat([self.loc_cls(before), self.dam_cls(both)], 1)


class ChangeOS(nn.Module):
    """Localisation and damage of a pair, with a Swin-T."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = Encoder(), Decoder(), Head()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 6, h, w)`: building; background and the four grades.

        Parameters
        ----------
        images
            Float `(n, 6, h, w)`, scaled: pre, then post; h and w multiples of 32.
        """
        pre, post = self.encoder(images[:, :3]), self.encoder(images[:, 3:])
        return self.head(*self.decoder(pre, post))  # type: ignore[no-any-return]


def check_index(key: str, values: Tensor, source: object) -> Tensor:
    """Return the places that Swin looks its bias up at, if they are what they have to be.

    Raises
    ------
    CheckpointError
        If they are others: the answers would be wrong without a sign.
    """
    if not torch.equal(values, relative_index()):
        raise CheckpointError(f"{source}: {key} does not fit a window of 7 x 7; get the file again")
    return values


def relative_index() -> Tensor:
    """Return int64 (2401,): where the bias of each pair of places of a window stands.

    Source: Liu et al. 2021, "Swin Transformer", section 3.2: places of query and key apart.
    """
    places = torch.tensor(list(itertools.product(range(_WINDOW), repeat=2)))
    apart = places[:, None] - places[None] + _WINDOW - 1  # (49, 49, 2)
    return (apart[..., 0] * (2 * _WINDOW - 1) + apart[..., 1]).flatten()


def _normed(channels: int, side: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, _CHANNELS, side, padding=side // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(_CHANNELS))


def _fourfold() -> nn.Module:
    return nn.UpsamplingBilinear2d(scale_factor=4)
