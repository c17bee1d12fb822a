"""A compact siamese network of local context: localisation and damage in one pass.

One encoder and one decoder, shared by both dates, turn each image into features at half and at
an eighth of its size. Localisation reads the features of the pre image alone; damage compares the
two dates. Nothing in it pools over the whole window, so what it says of a pixel depends on a
bounded field around that pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, 3, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same size, or smaller by the stride."""
        return functional.relu(self.second(self.first(x)) + self.skip(x))


class Merge(nn.Module):
    """Bring coarse features to the size of a skip connection and join the two."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.reduce = ConvBlock(coarse, outputs, 1)
        self.skip = ConvBlock(fine, outputs, 1)
        self.join = ConvBlock(2 * outputs, outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return `(n, outputs, 2h, 2w)` from `(n, coarse, h, w)` and `(n, fine, 2h, 2w)`."""
        # Nearest: it needs no neighbours, so the field of context stays small.
        up = functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        return self.join(torch.cat([up, self.skip(fine)], 1))  # type: ignore[no-any-return]


def initialise(network: nn.Module) -> None:
    """Draw the weights of every convolution (He et al. 2015, for ReLU)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Pyramid(nn.Module):
    """A decoder of features at strides 2, 4, 8 and 16, whatever encoder they come from."""

    def add_decoder(self, widths: Sequence[int], decoder: Sequence[int]) -> None:
        """Add the layers that join what an encoder gives.

        Parameters
        ----------
        widths
            Channels at strides 2, 4, 8 and 16.
        decoder
            Channels of the decoder at strides 8, 4 and 2.
        """
        w2, w4, w8, w16 = widths
        d8, d4, d2 = decoder
        self.merge8 = Merge(w16, w8, d8)
        self.merge4 = Merge(d8, w4, d4)
        self.merge2 = Merge(d4, w2, d2)

    def scales(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the encoder makes of float `(n, c, h, w)` at strides 2, 4, 8 and 16."""
        raise NotImplementedError

    def decode(self, scales: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return features at an eighth and at half of the size from those of four strides."""
        x2, x4, x8, x16 = scales
        y8 = self.merge8(x16, x8)
        y2 = self.merge2(self.merge4(y8, x4), x2)
        return y8, y2

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features at an eighth and at half of the size of float `(n, c, h, w)`."""
        return self.decode(self.scales(images))


class Features(Pyramid):
    """Encoder and decoder of one kind of image.

    Parameters
    ----------
    widths
        Channels at strides 2, 4, 8 and 16.
    decoder
        Channels of the decoder at strides 8, 4 and 2.
    channels
        Spectral channels of an image.
    """

    def __init__(self, widths: Sequence[int], decoder: Sequence[int], channels: int) -> None:
        super().__init__()
        w2, w4, w8, w16 = widths
        self.stem = ConvBlock(channels, w2, 5, 2)
        self.layer4 = nn.Sequential(Residual(w2, w4, 2), Residual(w4, w4))
        self.layer8 = nn.Sequential(Residual(w4, w8, 2), Residual(w8, w8))
        self.layer16 = nn.Sequential(Residual(w8, w16, 2), Residual(w16, w16))
        self.add_decoder(widths, decoder)

    def scales(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the encoder makes of float `(n, c, h, w)` at strides 2, 4, 8 and 16."""
        x2 = self.stem(images)
        x4 = self.layer4(x2)
        x8 = self.layer8(x4)
        return x2, x4, x8, self.layer16(x8)


class Siamese(Pyramid):
    """The heads of two images that share encoder and decoder."""

    stride = 16

    def add_heads(self, decoder: Sequence[int]) -> None:
        """Add the layers that locate buildings and compare dates.

        Parameters
        ----------
        decoder
            Channels of the decoder at strides 8, 4 and 2.
        """
        d8, _, d2 = decoder
        self.localisation = nn.Conv2d(d2, 4, 1)
        # Compare coarsely first: at an eighth of the size a shift of a few pixels is small.
        self.compare8 = nn.Sequential(ConvBlock(2 * d8, d8, 1), Residual(d8, d8))
        self.compare2 = nn.Sequential(
            ConvBlock(2 * d2 + d8, d8 // 2, 1), Residual(d8 // 2, d8 // 2)
        )
        self.damage = nn.Conv2d(d8 // 2, 4, 1)

    def expect_background(self) -> None:
        """Start from few pixels being buildings, not from even odds."""
        nn.init.constant_(self.localisation.bias, -2.0)  # type: ignore[arg-type]

    def both(
        self, pre: Tensor, post: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the features of each date."""
        coarse, fine = self.features(torch.cat([pre, post]))
        (pre8, post8), (pre2, post2) = coarse.chunk(2), fine.chunk(2)
        return (pre8, pre2), (post8, post2)

    def locate(self, fine: Tensor) -> Tensor:
        """Return localisation logits `(n, 1, h, w)` from features at half the size."""
        # Four sub-pixels from each cell: full resolution without a full-resolution convolution.
        return functional.pixel_shuffle(self.localisation(fine), 2)

    def forward(self, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of localisation (pre, post) and damage.

        Parameters
        ----------
        pre, post
            float `(n, c, h, w)`, normalised; height and width multiples of 16.

        Returns
        -------
        tuple of float
            `(n, 1, h, w)` building in pre, `(n, 1, h, w)` building in post, `(n, 4, h / 2, w / 2)`
            the four grades.
        """
        return self.heads(*self.both(pre, post))

    def heads(
        self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of `forward` from the features of each date."""
        (pre8, pre2), (post8, post2) = before, after
        difference = self.compare8(torch.cat([pre8, post8], 1))
        context = functional.interpolate(difference, scale_factor=4.0, mode="nearest")
        damage = self.damage(self.compare2(torch.cat([pre2, post2, context], 1)))
        return self.locate(pre2), self.locate(post2), damage


class CompactSiamese(Features, Siamese):
    """Localisation and damage from two images.

    Parameters
    ----------
    widths
        Channels at strides 2, 4, 8 and 16.
    decoder
        Channels of the decoder at strides 8, 4 and 2.
    channels
        Spectral channels of each image.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 160),
        decoder: Sequence[int] = (96, 64, 32),
        channels: int = 3,
    ) -> None:
        super().__init__(widths, decoder, channels)
        self.add_heads(decoder)
        initialise(self)
        self.expect_background()
