"""U-Nets of the first place, its distillation student and MetaDamageNet.

Two dates pass through the same weights, one after the other, and meet only before the last
convolution, `res`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from geodamage.networks.decoders import Decoder, DecoderDesign, initialise
from geodamage.networks.efficientnets import EFFICIENTNETS, create_efficientnet
from geodamage.networks.encoders import Encoder, create_encoder

UnetTask = Literal["localisation", "damage"]

#: Channels of `res` of each task: a building, or background and the four grades.
CLASSES: dict[UnetTask, int] = {"localisation": 1, "damage": 5}


@dataclass(frozen=True)
class UnetDesign:
    """What tells one U-Net from another.

    Attributes
    ----------
    encoder
        A key of `ENCODERS` or `EFFICIENTNETS`.
    decoder
        Its decoder.
    wrapped
        Whether all but `res` lies under the name `unet`, as MetaDamageNet published it.
    """

    encoder: str
    decoder: DecoderDesign = field(default_factory=DecoderDesign)
    wrapped: bool = False


class Unet(Decoder):
    """Features at full size from images.

    Parameters
    ----------
    encoder
        Five stages; become `conv1` to `conv5`.
    design
        Design of the decoder, `conv6` to `conv10`.
    """

    stride = 32

    def __init__(self, encoder: Encoder, design: DecoderDesign) -> None:
        super().__init__(encoder.channels, design)
        for number, stage in enumerate(encoder.stages, 1):
            self.add_module(f"conv{number}", stage)

    def features(self, images: Tensor) -> Tensor:
        """Return `(n, widths[0], h, w)` from normalised `(n, 3, h, w)`, sides multiples of 32."""
        stages = [images]
        for number in range(1, 6):
            stages.append(getattr(self, f"conv{number}")(stages[-1]))
        return self.decode(stages[1:])

    def forward(self, images: Tensor) -> Tensor:
        """Return `features`."""
        return self.features(images)


def dates(images: Tensor, task: UnetTask) -> tuple[Tensor, ...]:
    """Return the images, `(n, 3, h, w)` each, that one tensor of a task holds."""
    return images.chunk(2, 1) if task == "damage" else (images,)


def head(width: int, task: UnetTask) -> nn.Conv2d:
    """Create the convolution that turns the features of one or two dates into logits."""
    res = nn.Conv2d(2 * width if task == "damage" else width, CLASSES[task], 1)
    initialise(res)
    return res


class HeadedUnet(Unet):
    """A U-Net with `res` beside its layers, as the first place published it.

    Parameters
    ----------
    encoder, design
        The same as of `Unet`.
    task
        `"localisation"` of one image, or `"damage"` of two.
    """

    def __init__(self, encoder: Encoder, design: DecoderDesign, task: UnetTask) -> None:
        super().__init__(encoder, design)
        self.task: UnetTask = task
        self.res = head(design.widths[0], task)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 1, h, w)` of `(n, 3, h, w)`, or `(n, 5, h, w)` of `(n, 6, h, w)`."""
        features = [self.features(date) for date in dates(images, self.task)]
        return self.res(torch.cat(features, 1))  # type: ignore[no-any-return]


class WrappedUnet(nn.Module):
    """A U-Net under the name `unet`, with `res` beside it, as MetaDamageNet published it.

    Parameters
    ----------
    encoder, design, task
        The same as of `HeadedUnet`.
    """

    stride = 32

    def __init__(self, encoder: Encoder, design: DecoderDesign, task: UnetTask) -> None:
        super().__init__()
        self.task: UnetTask = task
        self.unet = Unet(encoder, design)
        self.res = head(design.widths[0], task)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 1, h, w)` of `(n, 3, h, w)`, or `(n, 5, h, w)` of `(n, 6, h, w)`."""
        features = [self.unet(date) for date in dates(images, self.task)]
        return self.res(torch.cat(features, 1))  # type: ignore[no-any-return]


def create_unet(
    design: UnetDesign,
    task: UnetTask,
    *,
    pretrained: bool = False,
    widths: tuple[int, ...] | None = None,
) -> nn.Module:
    """Create a U-Net.

    Parameters
    ----------
    design
        Which one.
    task
        `"localisation"` or `"damage"`.
    pretrained
        Whether the encoder starts from ImageNet.
    widths
        Channels of the decoder at strides 1, 2, 4, 8 and 16, instead of the design's.

    Raises
    ------
    OptionError
        If there are no ImageNet weights of the encoder.
    """
    create = create_efficientnet if design.encoder in EFFICIENTNETS else create_encoder
    encoder = create(design.encoder, pretrained=pretrained)
    decoder = design.decoder if widths is None else replace(design.decoder, widths=widths)
    build = WrappedUnet if design.wrapped else HeadedUnet
    return build(encoder, decoder, task)
