"""Siamese networks on ResNet-50: one as it was built, one as it was described.

`TwinResnet` is the network of the checkpoints: two branches that share nothing, without skip
connections, whose logits a small head mixes. `SharedResnetUnet` is what a siamese U-Net means:
one encoder and one decoder for both dates, with skip connections, and damage from comparing.

Both take the pair as one image of six channels and give eight channels. Two are of the pre image
(background, building). Six are of the post image (background, no damage, minor, major, destroyed,
un-classified).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.networks.compact import ConvBlock

PRE_CLASSES = 2
POST_CLASSES = 6

# The weights that torchvision calls IMAGENET1K_V2.
BACKBONE = "resnet50.tv2_in1k"

# Channels of ResNet-50 at strides 2, 4, 8, 16 and 32. Source: He et al. 2016, table 1.
WIDTHS = (64, 256, 512, 1024, 2048)


def resnet50_stages(pretrained: bool) -> nn.Sequential:
    """Return ResNet-50 up to its last stage as eight modules.

    0 convolution, 1 batch normalisation, 2 ReLU, 3 max-pooling, 4-7 the four stages.

    Parameters
    ----------
    pretrained
        Whether to fetch ImageNet weights.
    """
    net: Any = timm.create_model(BACKBONE, pretrained=pretrained)
    return nn.Sequential(
        net.conv1, net.bn1, net.act1, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4
    )


def fit(logits: Tensor, like: Tensor) -> Tensor:
    """Return logits, bilinearly brought to the rows and columns of another image."""
    return functional.interpolate(logits, size=like.shape[2:], mode="bilinear", align_corners=False)


class ResnetBranch(nn.Module):
    """ResNet-50, four transposed convolutions, a classifier.

    Parameters
    ----------
    classes
        Channels that come out.
    pretrained
        Whether the encoder starts from ImageNet weights.
    """

    def __init__(self, classes: int, pretrained: bool) -> None:
        super().__init__()
        self.encoder = resnet50_stages(pretrained)
        self.decoder = nn.Sequential()
        widths = (2048, 1024, 512, 256, 64)
        for inputs, outputs in pairwise(widths):
            self.decoder.append(nn.ConvTranspose2d(inputs, outputs, 2, 2))
            self.decoder.append(nn.ReLU(inplace=True))
        self.final_conv = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `(n, classes, h, w)` of float `(n, 3, h, w)`."""
        return fit(self.final_conv(self.decoder(self.encoder(image))), image)


class TwinResnet(nn.Module):
    """Two separate branches, whose logits two convolutions mix.

    Parameters
    ----------
    pretrained
        Whether both encoders start from ImageNet weights.
    """

    stride = 32

    def __init__(self, pretrained: bool = False) -> None:
        super().__init__()
        classes = PRE_CLASSES + POST_CLASSES
        # The mixed case is that of the published keys.
        self.unet_preDisaster = ResnetBranch(PRE_CLASSES, pretrained)
        self.unet_postDisaster = ResnetBranch(POST_CLASSES, pretrained)
        self.fusion_layer = nn.Sequential(
            nn.Conv2d(classes, 64, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(64, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of both dates.

        Parameters
        ----------
        x
            float `(n, 6, h, w)`, normalised: the pre image, then the post image.

        Returns
        -------
        float
            `(n, 8, h, w)`: 0-1 of the pre image, 2-7 of the post image.
        """
        pre, post = x.chunk(2, 1)
        logits = torch.cat([self.unet_preDisaster(pre), self.unet_postDisaster(post)], 1)
        return self.fusion_layer(logits)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Double the size and join a skip connection."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(coarse, outputs, 2, 2)
        self.join = ConvBlock(outputs + fine, outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return `(n, outputs, 2h, 2w)` from `(n, coarse, h, w)` and `(n, fine, 2h, 2w)`."""
        return self.join(torch.cat([self.enlarge(coarse), fine], 1))  # type: ignore[no-any-return]


class SharedResnetUnet(nn.Module):
    """One U-Net for both dates: its features of pre give the buildings, of both the damage.

    Parameters
    ----------
    pretrained
        Whether the encoder starts from ImageNet weights.
    widths
        Channels of the decoder at strides 16, 8, 4 and 2.
    """

    stride = 32

    def __init__(
        self, pretrained: bool = False, *, widths: Sequence[int] = (512, 256, 128, 64)
    ) -> None:
        super().__init__()
        stages = resnet50_stages(pretrained)
        self.stem = stages[:3]
        self.layers = nn.ModuleList([stages[3:5], *stages[5:]])
        coarse = [WIDTHS[-1], *widths[:-1]]
        fine = WIDTHS[-2::-1]
        self.ups = nn.ModuleList(map(Up, coarse, fine, widths))
        self.pre_head = nn.Conv2d(widths[-1], PRE_CLASSES, 1)
        self.compare = ConvBlock(2 * widths[-1], widths[-1])
        self.post_head = nn.Conv2d(widths[-1], POST_CLASSES, 1)

    def features(self, images: Tensor) -> Tensor:
        """Return features `(n, c, h / 2, w / 2)` of float `(n, 3, h, w)`."""
        stages = [self.stem(images)]
        for layer in self.layers:
            stages.append(layer(stages[-1]))
        y: Tensor = stages.pop()
        for up in self.ups:
            y = up(y, stages.pop())
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of both dates.

        Parameters
        ----------
        x
            float `(n, 6, h, w)`, normalised: the pre image, then the post image; height and width
            multiples of 32.

        Returns
        -------
        float
            `(n, 8, h, w)`: 0-1 of the pre image, 2-7 of the post image.
        """
        pre, post = self.features(torch.cat(x.chunk(2, 1))).chunk(2)
        damage = self.post_head(self.compare(torch.cat([pre, post], 1)))
        return fit(torch.cat([self.pre_head(pre), damage], 1), x)


def siamese_resnet50(pretrained: bool) -> TwinResnet:
    """Return the network of the published checkpoints: separate branches, no skip connections.

    Parameters
    ----------
    pretrained
        Whether the encoders start from ImageNet weights, which timm fetches.
    """
    return TwinResnet(pretrained)


def siamese_resnet50_skips(pretrained: bool) -> SharedResnetUnet:
    """Return the network as its authors describe it: one U-Net for both dates.

    Parameters
    ----------
    pretrained
        Whether the encoder starts from ImageNet weights, which timm fetches.
    """
    return SharedResnetUnet(pretrained)
