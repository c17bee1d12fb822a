"""Conventions: what each family feeds its networks and how it reads their logits.

A network of another family takes floats in its own channel order and scaling, and its channels
mean what its training meant. `Exported` wraps a network so that all of this is inside the graph:
uint8 RGB in, the heads of a model file out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError
from geodamage.model.card import STANDARD_RANGE

_RGB = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a network takes images and what its channels mean."""

    family: str
    """Family of the network."""
    task: str
    """`localisation`, `damage` or `assess`."""
    order: str = "rgb"
    """`rgb` or `bgr`: order of the channels of each image."""
    divisor: float = 255.0
    """Pixels are divided by this, ..."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """... this is taken away, channel by channel in the network's order, ..."""
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """... and the rest is divided by this."""
    activation: str = "softmax"
    """What the damage channels go through: `softmax`, or `sigmoid` for each of them by itself."""
    first: str = "background"
    """What channel 0 of the damage channels means: `background` or `building`."""
    layout: str = "joined"
    """`joined`: both images in one tensor, one in the output; `paired`: one output that holds two
    and six channels for the two dates; `building`: one output of one building channel and five of
    damage; `apart`: images and outputs apart, damage at half size;
    `three_grades`: one output of background, intact, damaged and destroyed;
    `heads`: a localisation network with several, of which `building` holds background and building
    at a quarter of the size."""
    pre_channels: tuple[str, ...] = _RGB
    """Spectral channels of the pre image."""
    post_channels: tuple[str, ...] = _RGB
    """Spectral channels of the post image."""
    post_sensor: str = "optical"
    """`optical` or `sar`: what the post image is taken by."""
    post_repeat: int = 1
    """How often the network wants each channel of the post image."""
    statistics: str = "none"
    """What is done to the whole scene first; see `Card.scene_statistics`."""
    background_competes: bool = False
    """Whether a pixel is background where that is the largest of the damage channels."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of channels of each image it needs."""
        counts = len(self.pre_channels), len(self.post_channels)
        return counts[: len(self.inputs)]

    @property
    def card_facts(self) -> dict[str, Any]:
        """What a card says of the images."""
        return {
            "pre_channels": self.pre_channels,
            "post_channels": self.post_channels,
            "post_sensor": self.post_sensor,
            "scene_statistics": self.statistics,
            "background_competes": self.background_competes,
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the images it needs."""
        return ("pre",) if self.task == "localisation" else ("pre", "post")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the heads it has."""
        return ("localisation",) if self.task == "localisation" else ("localisation", "damage")


_ONES = (1.0, 1.0, 1.0)
#: Source: reference implementation of the xView2 first place, utils.py, preprocess_inputs:
#: x / 127 - 1 on images in OpenCV's channel order.
_FIRST_PLACE = {"order": "bgr", "divisor": 127.0, "mean": _ONES}
#: Source: MetaDamageNet, models/base.py: images in 0..1 become 2 x - 1; also ours.
_SYMMETRIC = {"order": "rgb", "divisor": 127.5, "mean": _ONES}
#: Source: torchvision, ImageNet mean and deviation of RGB images in 0..1.
_IMAGENET = {
    "order": "rgb",
    "divisor": 255.0,
    "mean": (0.485, 0.456, 0.406),
    "deviation": (0.229, 0.224, 0.225),
    "layout": "paired",
}
#: Source: dataset.py of the third place of Open Cities: ImageNet's mean and deviation, RGB.
_OPEN_CITIES = _IMAGENET | {"layout": "heads"}
#: Source: torchange 0.0.4, metrics/xview2.py and changeos.py: ImageNet's mean and deviation, RGB,
#: pre and post in one tensor; the largest of five channels within buildings.
_CHANGEOS = _IMAGENET | {"layout": "building", "background_competes": True}
#: Source: building-damage-assessment-cnn-siamese @2ccc807, inference.py: each tile is standardised
#: by its own mean and deviation. What the engine hands over is undone here.
_LOW, _HIGH = STANDARD_RANGE
#: Source: dataset/imutils.py of BRIGHT's bda_benchmark: ImageNet's mean and deviation of both
#: images, the radar's channel three times; the largest of four channels.
_BRIGHT = _IMAGENET | {
    "layout": "three_grades",
    "post_channels": ("intensity",),
    "post_sensor": "sar",
    "post_repeat": 3,
    "background_competes": True,
}
_SIAMUNET = {
    "order": "rgb",
    "divisor": 255 / (_HIGH - _LOW),
    "mean": (-_LOW, -_LOW, -_LOW),
    "layout": "paired",
    "statistics": "standardise",
    "background_competes": True,
}
_FAMILIES: dict[str, dict[str, object]] = {
    "first_place": _FIRST_PLACE,
    "distillation": _FIRST_PLACE,
    "metadamagenet": _SYMMETRIC,
    "siamese_resnet50": _IMAGENET,
    "open_cities": _OPEN_CITIES,
    "changeos": _CHANGEOS,
    "microsoft": _SIAMUNET,
    "bright": _BRIGHT,
    "geodamage": _SYMMETRIC | {"layout": "apart"},
}
#: The one damage network that was not trained by cross-entropy. Source: train34_cls.py of the
#: first place: five sigmoids, of which the first is any building.
_SIGMOID = ("first_place", "res34_unet", "damage")

#: Networks whose post image is of a radar.
_RADAR_AFTER = ("compact_two_sensors",)

#: What `CompactSiamese` takes and gives.
COMPACT = Convention(family="geodamage", task="assess", divisor=127.5, mean=_ONES, layout="apart")


def convention_of(family: str, network: str, task: str) -> Convention:
    """Return the convention of a network.

    Parameters
    ----------
    family, network, task
        Family, name and task that `list_networks` gives.

    Raises
    ------
    OptionError
        If the family is unknown.
    """
    if family not in _FAMILIES:
        raise OptionError(f"family {family}: unknown; give one of {', '.join(_FAMILIES)}")
    facts = dict(_FAMILIES[family])
    if (family, network, task) == _SIGMOID:
        facts |= {"activation": "sigmoid", "first": "building"}
    if network in _RADAR_AFTER:
        facts |= {"post_channels": ("intensity",), "post_sensor": "sar"}
    return Convention(family=family, task=task, **facts)  # type: ignore[arg-type]


class Exported(nn.Module):
    """What a model file computes: uint8 in, heads at full size out.

    Parameters
    ----------
    network
        Takes floats and returns logits, both by its convention.
    convention
        How it does so.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, convention: Convention = COMPACT) -> None:
        super().__init__()
        self.network = network
        self.convention = convention
        shape = 1, 3, 1, 1
        self.register_buffer("mean", torch.tensor(convention.mean).view(shape), persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(convention.deviation).view(shape), persistent=False
        )

    def scaled(self, images: Tensor) -> Tensor:
        """Return what the network was trained on of uint8 RGB `(n, 3, h, w)`.

        Of an image with fewer channels, such as a radar's, the first means and deviations count.
        """
        if self.convention.order == "bgr":
            images = images.flip(1)
        channels = int(images.shape[1])
        mean, deviation = self.mean, self.deviation
        if channels < mean.shape[1]:
            mean, deviation = mean[:, :channels], deviation[:, :channels]
        scaled = images.float() / self.convention.divisor - mean
        return scaled if self.convention.deviation == _ONES else scaled / deviation

    def logits(self, pre: Tensor, post: Tensor | None = None) -> Tensor:
        """Return the logits of a network that gives one tensor, `(n, channels, h, w)`."""
        repeated = None if post is None else torch.cat([post] * self.convention.post_repeat, 1)
        images = [self.scaled(image) for image in (pre, repeated) if image is not None]
        return self.network(torch.cat(images, 1))  # type: ignore[no-any-return]

    def forward(self, pre: Tensor, post: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return localisation `(n, 1, h, w)`, and with a post image damage `(n, 4, h, w)`.

        Parameters
        ----------
        pre, post
            uint8 `(n, 3, h, w)`, red first, or `(n, 1, h, w)` of a radar; post is left out for a
            localisation network.
        """
        if self.convention.layout == "heads":
            return (self._building(pre),)
        if post is None:
            return (self.logits(pre).sigmoid(),)
        if self.convention.layout == "apart":
            return self._apart(pre, post)
        logits = self.logits(pre, post)
        if self.convention.layout == "building":
            return logits[:, :1].sigmoid(), logits[:, 1:].softmax(1)[:, 1:5]
        if self.convention.layout == "three_grades":
            return self._three_grades(logits)
        return self._paired(logits) if self.convention.layout == "paired" else self._joined(logits)

    def _building(self, pre: Tensor) -> Tensor:
        # Source: inference.py of the third place of Open Cities: softmax first, then bilinear.
        building = self.network(self.scaled(pre)).building.softmax(1)[:, 1:]  # (n, 1, h/4, w/4)
        return functional.interpolate(
            building, scale_factor=4.0, mode="bilinear", align_corners=False
        )

    def _joined(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        sigmoid = self.convention.activation == "sigmoid"
        channels = logits.sigmoid() if sigmoid else logits.softmax(1)  # (n, 5, h, w)
        first, damage = channels[:, :1], channels[:, 1:]
        return (first if self.convention.first == "building" else 1 - first), damage

    def _paired(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        # Of the post channels 0 is background and 5 un-classified: neither is a grade.
        return logits[:, :2].softmax(1)[:, 1:], logits[:, 2:].softmax(1)[:, 1:5]

    def _three_grades(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        background, intact, damaged, destroyed = logits.softmax(1).chunk(4, 1)
        # What is damaged and stands is major, as the scale `bright` has it; none is minor.
        damage = torch.cat([intact, torch.zeros_like(intact), damaged, destroyed], 1)
        return 1 - background, damage

    def _apart(self, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        located, _, damage = self.network(self.scaled(pre), self.scaled(post))
        damage = functional.interpolate(damage.softmax(1), scale_factor=2.0, mode="nearest")
        return located.sigmoid(), damage
