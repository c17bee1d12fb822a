"""A compact siamese network for an optical pre image and one of a radar after.

As `CompactSiamese`, but each sensor has its own encoder and decoder. Nothing in an optical image
looks as it does to a radar, so nothing below the comparison can be shared. Localisation reads the
optical image alone; damage compares the features of both. What the network says of a pixel depends
on a bounded field around it.
"""

from collections.abc import Sequence

from torch import Tensor

from geodamage.networks.compact import CompactSiamese, Features, initialise

#: Channels of each image: red, green, blue; intensity.
PRE_CHANNELS, POST_CHANNELS = 3, 1


class CompactTwoSensors(CompactSiamese):
    """Localisation and damage from an optical and a radar image.

    Parameters
    ----------
    widths
        Channels at strides 2, 4, 8 and 16, of each encoder.
    decoder
        Channels of the decoders at strides 8, 4 and 2.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 160),
        decoder: Sequence[int] = (96, 64, 32),
    ) -> None:
        super().__init__(widths, decoder, PRE_CHANNELS)
        self.radar = Features(widths, decoder, POST_CHANNELS)
        initialise(self.radar)

    def both(
        self, pre: Tensor, post: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the features of each date.

        Parameters
        ----------
        pre
            Float `(n, 3, h, w)`, optical.
        post
            Float `(n, 1, h, w)`, of the radar.
        """
        return self.features(pre), self.radar.features(post)
