"""The feature pyramid of Open Cities on any encoder of timm."""

import difflib
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from geodamage.errors import OptionError
from geodamage.networks.encoders import create_timm
from geodamage.networks.feature_pyramid import (
    STRIDES,
    FeaturePyramid,
    PyramidDesign,
    asked_pyramid,
    asked_rate,
)

#: What `create_timm_fpn` takes unless told otherwise.
TIMM_ENCODER = "tf_efficientnet_b0"


class TimmFpn(FeaturePyramid):
    """The same decoder and heads on an encoder of timm.

    Parameters
    ----------
    encoder
        Encoder of timm that gives features `(n, c, h, w)` of all its stages.
    places
        Places of the features at strides 4, 8, 16 and 32 among them.
    design
        Design of the decoder.
    """

    def __init__(self, encoder: Any, places: Sequence[int], design: PyramidDesign) -> None:
        channels = encoder.feature_info.channels()
        super().__init__([channels[place] for place in places], design)
        self.encoder = encoder
        self.places = tuple(places)

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of normalised `(n, 3, h, w)`."""
        features = self.encoder(images)
        return [features[place] for place in self.places]


def create_timm_fpn(
    encoder: str = TIMM_ENCODER,
    *,
    pretrained: bool = False,
    drop_connect: float = 0.0,
    **pyramid: bool,
) -> TimmFpn:
    """Create the same decoder and heads on an encoder of timm.

    Parameters
    ----------
    encoder
        Name in timm of a network that gives features at strides 4, 8, 16 and 32.
    pretrained
        Whether timm fetches its weights.
    drop_connect
        How often the encoder leaves out its last block in training, 0 to below 1.
    **pyramid
        `context` and `mish` of `PyramidDesign`.

    Raises
    ------
    OptionError
        If timm has no such encoder or no weights of it, it gives other features, or an option is
        out of its range.
    ModelNotFoundError
        If the weights cannot be fetched.
    """
    design = asked_pyramid("timm_fpn", PyramidDesign(), pyramid)
    rate = asked_rate("timm_fpn", drop_connect)
    features = timm_features(encoder, pretrained=pretrained, drop_connect=rate)
    places = {stride: place for place, stride in enumerate(features.feature_info.reduction())}
    # Some transformers put channels last; every convolution here would take rows for them.
    last = str(getattr(features, "output_fmt", "")).endswith("NHWC")
    if last or not places.keys() >= {*STRIDES}:
        raise OptionError(
            f"timm_fpn: encoder {encoder!r} does not give features (n, c, h, w) at strides 4, 8, "
            f"16 and 32; take another, such as {TIMM_ENCODER}"
        )
    return TimmFpn(features, [places[stride] for stride in STRIDES], design)


def timm_features(encoder: str, *, pretrained: bool, drop_connect: float) -> Any:
    """Create an encoder of timm that gives the features of all its stages.

    Raises
    ------
    OptionError
        If timm has no such encoder, no weights of it, or no way to leave out its blocks.
    ModelNotFoundError
        If the weights cannot be fetched.
    """
    import timm  # seconds to import, and most of this package does without

    if not isinstance(encoder, str):
        raise OptionError(f"timm_fpn: encoder={encoder!r}; give the name of a network of timm")
    if not timm.is_model(encoder):
        near = ", ".join(difflib.get_close_matches(encoder, timm.list_models(), n=3))
        hint = f"did you mean {near}?" if near else f"take one of timm's, such as {TIMM_ENCODER}"
        raise OptionError(f"timm_fpn: no encoder {encoder!r}; {hint}")
    if pretrained and not timm.is_model_pretrained(encoder):
        raise OptionError(f"timm_fpn: timm has no weights of {encoder!r}; leave out pretrained")
    options = {"drop_path_rate": drop_connect} if drop_connect else {}
    try:
        return create_timm(encoder, pretrained=pretrained, features_only=True, **options)
    except TypeError as error:
        # What timm's networks do with an option that they do not know.
        if "drop_path_rate" not in str(error):
            raise
        raise OptionError(
            f"timm_fpn: encoder {encoder!r} leaves out no blocks; leave out drop_connect"
        ) from error
