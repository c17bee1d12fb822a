"""The networks by name: how to create one, and what each weighs and costs."""

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from geodamage.errors import OptionError
from geodamage.networks.bright import BrightUNet, SiamAttnUNet
from geodamage.networks.compact import CompactSiamese
from geodamage.networks.decoders import DecoderDesign
from geodamage.networks.efficient_fpn import create_efficient_fpn
from geodamage.networks.lite import LITES, LiteSiamese
from geodamage.networks.siamunet import SiamUnet
from geodamage.networks.timm_fpn import create_timm_fpn
from geodamage.networks.two_sensors import POST_CHANNELS, PRE_CHANNELS, CompactTwoSensors
from geodamage.networks.unets import UnetDesign, create_unet

Task = Literal["localisation", "damage", "assess"]
Context = Literal["local", "global"]

#: Side of the image that costs are counted on, pixels: the size of xBD's.
SIDE = 1024


@dataclass(frozen=True)
class NetworkFacts:
    """What one network weighs and costs.

    Attributes
    ----------
    name, family
        Name that `create_network` takes, and whose network it is.
    task
        `"localisation"` of one image, `"damage"` of a pair, or `"assess"`: both at once.
    context
        `"local"` where each output depends on a bounded field, `"global"` where something in it
        pools over the whole window.
    parameters
        How many are trained.
    gflop
        10⁹ operations (a multiplication and an addition are two) on one image, or pair of images,
        of 1024 x 1024 pixels.
    stride
        Height and width must be multiples of it, pixels.
    """

    name: str
    family: str
    task: Task
    context: Context
    parameters: int
    gflop: float
    stride: int


@dataclass(frozen=True)
class Created:
    """How a network was created.

    Attributes
    ----------
    name, options
        Name and options that `create_network` was given.
    """

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Blueprint:
    """How to create a network.

    Attributes
    ----------
    family, context
        Family and context, the same as of `NetworkFacts`.
    tasks
        Those that it is built for.
    build
        Takes the task, `pretrained` and the options.
    options
        What else `build` takes.
    """

    family: str
    context: Context
    tasks: tuple[Task, ...]
    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ()


def unet(
    family: str,
    encoder: str,
    decoder: DecoderDesign,
    *,
    wrapped: bool = False,
    context: Context = "global",
) -> Blueprint:
    """Return the blueprint of a U-Net."""
    design = UnetDesign(encoder, decoder, wrapped)
    build = functools.partial(create_widened, design)
    return Blueprint(family, context, ("localisation", "damage"), build, ("widths",))


def create_widened(design: UnetDesign, task: Any, **options: Any) -> nn.Module:
    """Create a U-Net, with the widths of its decoder looked at first."""
    widths = options.get("widths")
    if widths is not None:
        options["widths"] = checked_widths(widths, len(design.decoder.widths))
    return create_unet(design, task, **options)


def checked_widths(widths: Any, number: int) -> tuple[int, ...]:
    """Return numbers of channels as a tuple, or refuse them."""
    try:
        checked = tuple(widths)
    except TypeError:
        checked = ()
    if len(checked) != number or not all(type(width) is int and width > 0 for width in checked):
        raise OptionError(f"widths={widths!r}: give {number} positive numbers of channels")
    return checked


def create_compact(task: Task, *, pretrained: bool, **options: Any) -> nn.Module:
    """Create our compact siamese network."""
    if pretrained:
        raise OptionError("compact: there are no ImageNet weights of it; leave out pretrained")
    return CompactSiamese(**options)


def create_two_sensors(task: Task, *, pretrained: bool, **options: Any) -> nn.Module:
    """Create our compact network for an optical and a radar image."""
    if pretrained:
        raise OptionError(
            "there are no ImageNet weights of a compact network; leave out pretrained"
        )
    return CompactTwoSensors(**options)


def create_lite(name: str, task: Task, *, pretrained: bool, **options: Any) -> nn.Module:
    """Create a siamese network with the encoder of an EfficientNet-Lite."""
    if "decoder" in options:
        options["decoder"] = checked_widths(options["decoder"], 3)
    return LiteSiamese(name, pretrained=pretrained, **options)


def create_segformer(task: Task, *, pretrained: bool) -> nn.Module:
    """Create MetaDamageNet's SegFormer."""
    from geodamage.networks.segformer import segformer_b0  # needs timm: a second to import

    return segformer_b0(task, pretrained)


def create_siamese(task: Task, *, pretrained: bool, skips: bool) -> nn.Module:
    """Create the siamese ResNet-50, as built or as its authors describe it."""
    from geodamage.networks import resnet50_siamese  # needs timm: a second to import

    if skips:
        return resnet50_siamese.siamese_resnet50_skips(pretrained)
    return resnet50_siamese.siamese_resnet50(pretrained)


def create_changeos(task: Task, *, pretrained: bool) -> nn.Module:
    """Create ChangeOS."""
    _refuse_pretrained(pretrained, "changeos_swint")
    from geodamage.networks.changeos import ChangeOS  # needs torchvision: a second to import

    return ChangeOS()


def create_siamunet(task: Task, *, pretrained: bool) -> nn.Module:
    """Create Microsoft's siamese U-Net."""
    _refuse_pretrained(pretrained, "siamunet")
    return SiamUnet()


def create_bright(network: type[nn.Module], task: Task, *, pretrained: bool) -> nn.Module:
    """Create a U-Net of BRIGHT."""
    _refuse_pretrained(pretrained, network.__name__)
    return network()


def _refuse_pretrained(pretrained: bool, name: str) -> None:
    if pretrained:
        raise OptionError(f"{name}: import its published weights; leave out pretrained")


def create_fpn(name: str, task: Task, **options: Any) -> nn.Module:
    """Create a feature pyramid with four heads; its encoder is of Open Cities or of timm."""
    if name == "timm_fpn":
        return create_timm_fpn(**options)
    return create_efficient_fpn(name, **options)


def fpn(name: str, *options: str) -> Blueprint:
    """Return the blueprint of a feature pyramid with four heads."""
    build = functools.partial(create_fpn, name)
    options = (*options, "drop_connect", "context", "mish")
    return Blueprint("open_cities", "global", ("localisation",), build, options)


def lite(name: str) -> Blueprint:
    """Return the blueprint of a siamese network with the encoder of an EfficientNet-Lite."""
    build = functools.partial(create_lite, name)
    return Blueprint("geodamage", "local", ("assess",), build, ("blocks", "decoder"))


NARROW = DecoderDesign((32, 48, 64, 128, 256))
NARROW_SCSE = DecoderDesign((32, 48, 64, 128, 256), attention="concat")
STANDARD = DecoderDesign((48, 64, 96, 160, 320))
STUDENT = DecoderDesign((16, 24, 32, 64, 128))
NORMALISED = DecoderDesign(batch_norm=True)
NORMALISED_SCSE = DecoderDesign(batch_norm=True, attention="add")

first_place = functools.partial(unet, "first_place")
metadamagenet = functools.partial(unet, "metadamagenet", wrapped=True)

NETWORKS: Mapping[str, Blueprint] = {
    "res34_unet": first_place("resnet34", STANDARD, context="local"),
    "seresnext50_unet": first_place("seresnext50", NARROW),
    "dpn92_unet": first_place("dpn92", NARROW_SCSE),
    "senet154_unet": first_place("senet154", STANDARD),
    "seresnext50_unet_student": unet("distillation", "seresnext50", STUDENT),
    "metadamagenet_resnet34_unet": metadamagenet("resnet34", STANDARD, context="local"),
    "metadamagenet_seresnext50_unet": metadamagenet("seresnext50", NARROW),
    "metadamagenet_dpn92_unet": metadamagenet("dpn92", NARROW_SCSE),
    "metadamagenet_senet154_unet": metadamagenet("senet154", STANDARD),
    "efficientunet_b0": metadamagenet("efficientnet_b0", NORMALISED),
    "efficientunet_b0_scse": metadamagenet("efficientnet_b0", NORMALISED_SCSE),
    "efficientunet_widese_b0": metadamagenet("efficientnet_widese_b0", NORMALISED),
    "efficientunet_b4": metadamagenet("efficientnet_b4", NORMALISED),
    "efficientunet_b4_scse": metadamagenet("efficientnet_b4", NORMALISED_SCSE),
    "segformer_b0": Blueprint(
        "metadamagenet", "global", ("localisation", "damage"), create_segformer
    ),
    "siamese_resnet50": Blueprint(
        "siamese_resnet50", "local", ("assess",), functools.partial(create_siamese, skips=False)
    ),
    "siamese_resnet50_skips": Blueprint(
        "siamese_resnet50", "local", ("assess",), functools.partial(create_siamese, skips=True)
    ),
    "efficient_fpn_b0": fpn("efficient_fpn_b0"),
    "efficient_fpn_b1": fpn("efficient_fpn_b1"),
    "efficient_fpn_b2": fpn("efficient_fpn_b2"),
    "timm_fpn": fpn("timm_fpn", "encoder"),
    "changeos_swint": Blueprint("changeos", "global", ("assess",), create_changeos),
    "siamunet": Blueprint("microsoft", "local", ("assess",), create_siamunet),
    "bright_unet": Blueprint(
        "bright", "local", ("assess",), functools.partial(create_bright, BrightUNet)
    ),
    "bright_siamattnunet": Blueprint(
        "bright", "global", ("assess",), functools.partial(create_bright, SiamAttnUNet)
    ),
    "compact": Blueprint(
        "geodamage",
        "local",
        ("assess",),
        create_compact,
        ("widths", "decoder", "channels"),
    ),
    "compact_small": Blueprint(
        "geodamage",
        "local",
        ("assess",),
        functools.partial(create_compact, widths=(16, 24, 48, 80), decoder=(48, 32, 16)),
        ("channels",),
    ),
    "lite0": lite("lite0"),
    "lite1": lite("lite1"),
    "lite2": lite("lite2"),
    "compact_two_sensors": Blueprint(
        "geodamage",
        "local",
        ("assess",),
        functools.partial(create_two_sensors, widths=(16, 24, 48, 80), decoder=(48, 32, 16)),
    ),
}


def create_network(name: str, *, task: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """Create a network.

    Parameters
    ----------
    name
        Name that `list_networks` gives, such as `"res34_unet"`.
    task
        `"localisation"`, `"damage"` or `"assess"`.
    pretrained
        Whether the encoder starts from ImageNet; the weights are fetched where they are missing.
    **options
        U-Nets take `widths`, channels of the decoder at strides 1, 2, 4, 8 and 16. `"compact"`
        takes those of `CompactSiamese`; `"lite0"` and its like take `blocks` and `decoder` of
        `LiteSiamese`. Feature pyramids take `drop_connect`, `context` and `mish`, and
        `"timm_fpn"` takes `encoder`, too: see `geodamage.networks.efficient_fpn`.

    Returns
    -------
    torch.nn.Module
        Network in training mode, on the default device of torch, with keys as published.

    Raises
    ------
    OptionError
        If there is no such network, task or option.
    ModelNotFoundError
        If ImageNet weights cannot be fetched.
    """
    blueprint = find(name)
    if task not in blueprint.tasks:
        raise OptionError(f"{name}: no such task {task!r}; it has {', '.join(blueprint.tasks)}")
    for option in options:
        if option not in blueprint.options:
            allowed = ", ".join(blueprint.options) or "none"
            raise OptionError(f"{name}: no such option {option!r}; it has {allowed}")
    network = blueprint.build(task, pretrained=pretrained, **options)
    # So that a checkpoint of it can say what it takes to create it again.
    network.created = Created(name, options)  # type: ignore[assignment]
    return network


def find(name: str) -> Blueprint:
    """Return the blueprint of a name, or say which names are near."""
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=3) or sorted(NETWORKS)
    raise OptionError(f"no network {name!r}; did you mean {' or '.join(near)}?")


def list_networks() -> list[NetworkFacts]:
    """Return what each network of each task weighs and costs, counted on first use."""
    return [network_facts(name, task) for name, task, _ in named_tasks()]


def named_tasks() -> list[tuple[str, Task, str]]:
    """Return name, task and family of each network of each task; counts nothing."""
    return [
        (name, task, blueprint.family)
        for name, blueprint in NETWORKS.items()
        for task in blueprint.tasks
    ]


@functools.cache
def network_facts(name: str, task: Task) -> NetworkFacts:
    """Count what one network weighs and costs.

    Raises
    ------
    OptionError
        If there is no such network or task.
    """
    blueprint = find(name)
    # On meta there are shapes and no numbers: nothing is computed, and nothing fills the memory.
    with torch.device("meta"):
        network = create_network(name, task=task).eval()
        images = example(name, task)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(*images)
    return NetworkFacts(
        name=name,
        family=blueprint.family,
        task=task,
        context=blueprint.context,
        parameters=parameters,
        gflop=counter.get_total_flops() / 1e9,
        stride=network.stride,  # type: ignore[arg-type]
    )


def example(name: str, task: Task) -> tuple[Tensor, ...]:
    """Return what a network takes: one tensor, or two where it takes the dates apart."""
    if name in ("compact", "compact_small") or name in LITES:
        return torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    if name == "compact_two_sensors":
        return tuple(torch.zeros(1, n, SIDE, SIDE) for n in (PRE_CHANNELS, POST_CHANNELS))
    return (torch.zeros(1, 3 if task == "localisation" else 6, SIDE, SIDE),)
