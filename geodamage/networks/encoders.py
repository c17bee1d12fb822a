"""Encoders of timm cut in five stages, under the names of the first-place U-Nets.

The stages hold timm's own modules; only the places differ, so that published weights fit:

=========  ======================  ==========================  ======================
stage      resnet34                seresnext50, senet154       dpn92
=========  ======================  ==========================  ======================
conv1      conv1, bn1, act1        layer0                      conv1_1.conv, .bn
conv2      maxpool, layer1         pool0, layer1               pool, conv2_*
conv3 - 4  layer2, layer3          layer2, layer3              conv3_*, conv4_*
conv5      layer4                  layer4                      conv5_*, conv5_bn_ac
=========  ======================  ==========================  ======================
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geodamage.errors import ModelNotFoundError

Stages = tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]


class Encoder(NamedTuple):
    """Five stages, each at half the size of the one before.

    Attributes
    ----------
    stages
        Modules to call one after the other: strides 2, 4, 8, 16 and 32.
    channels
        Channels that each gives.
    """

    stages: Stages
    channels: tuple[int, ...]


class DualPaths(nn.Sequential):
    """Blocks of a dual path network, with residual and dense channels joined at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, residual + dense, h, w)`."""
        paths = super().forward(x)  # type: ignore[no-untyped-call]
        # Blocks of older timm hand the two paths on as a tuple, those of newer as one tensor.
        return torch.cat(paths, 1) if isinstance(paths, tuple) else paths


def cut_resnet(network: Any) -> Stages:
    """Cut a residual network of timm."""
    return (
        nn.Sequential(network.conv1, network.bn1, network.act1),
        nn.Sequential(network.maxpool, network.layer1),
        network.layer2,
        network.layer3,
        network.layer4,
    )


def cut_senet(network: Any) -> Stages:
    """Cut a squeeze-excitation network of timm's legacy family."""
    return (
        nn.Sequential(*network.layer0),
        nn.Sequential(network.pool0, network.layer1),
        network.layer2,
        network.layer3,
        network.layer4,
    )


def cut_dpn(network: Any) -> Stages:
    """Cut a dual path network of timm, with the normalisation that ends it."""
    blocks = dict(network.features.named_children())
    first = blocks["conv1_1"]

    def stage(number: int) -> list[nn.Module]:
        return [block for name, block in blocks.items() if name.startswith(f"conv{number}_")]

    return (
        nn.Sequential(first.conv, first.bn),  # its normalisation holds the activation, too
        DualPaths(blocks["conv1_pool"], *stage(2)),
        DualPaths(*stage(3)),
        DualPaths(*stage(4)),
        # Ends with conv5_bn_ac; whoever asks timm for features gets conv5 without it.
        DualPaths(*stage(5)),
    )


#: Name in timm and how to cut it. Tagged: torchvision's weights, from which the first place
#: started. Legacy: timm's other seresnext50 has another max-pool.
ENCODERS: Mapping[str, tuple[str, Callable[[Any], Stages]]] = {
    "resnet34": ("resnet34.tv_in1k", cut_resnet),
    "seresnext50": ("legacy_seresnext50_32x4d", cut_senet),
    "dpn92": ("dpn92", cut_dpn),
    "senet154": ("legacy_senet154", cut_senet),
}


def create_timm(name: str, *, pretrained: bool, **options: Any) -> Any:
    """Create a network of timm, with its own options.

    Raises
    ------
    ModelNotFoundError
        If its ImageNet weights cannot be fetched.
    """
    import timm  # seconds to import, and most of this package does without

    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:
        why = str(error).partition("\n")[0]
        raise ModelNotFoundError(
            f"{name}: timm cannot fetch the ImageNet weights: {why}; "
            "connect to the network or leave out pretrained"
        ) from error


def create_encoder(name: str, *, pretrained: bool = False) -> Encoder:
    """Create an encoder of timm.

    Parameters
    ----------
    name
        A key of `ENCODERS`.
    pretrained
        Whether timm fetches its ImageNet weights.

    Raises
    ------
    ModelNotFoundError
        If they cannot be fetched.
    """
    timm_name, cut = ENCODERS[name]
    network = create_timm(timm_name, pretrained=pretrained)
    return Encoder(cut(network), tuple(stage["num_chs"] for stage in network.feature_info))
