"""Our networks hold exactly the keys and shapes of the published ones.

The digests were computed from lists of the keys of the published networks; where the lists
themselves are at hand, they are compared in full.
"""

import functools
import hashlib
import json
from typing import NamedTuple

import pytest
import torch

from geodamage.networks.registry import NETWORKS, create_network
from tests.data_folder import DATA, needs

KEYS = DATA.parent / "reference" / "keys"


class Published(NamedTuple):
    listing: str
    name: str
    task: str
    entries: int
    parameters: int
    digest: str


PUBLISHED = [
    Published(
        "first_place_res34_loc",
        "res34_unet",
        "localisation",
        236,
        25728161,
        "6e55b45823621825def60b443462b16a",
    ),
    Published(
        "first_place_res34_double",
        "res34_unet",
        "damage",
        236,
        25728597,
        "508fd4a8291fd0acd5ca3465fdc14c56",
    ),
    Published(
        "first_place_seresnext50_loc",
        "seresnext50_unet",
        "localisation",
        402,
        34559761,
        "293a0d3a1264f94f7feee0ca0d1e30d1",
    ),
    Published(
        "first_place_seresnext50_double",
        "seresnext50_unet",
        "damage",
        402,
        34560053,
        "3c7f9493e6c7c63fb728b6e2a33e1578",
    ),
    Published(
        "first_place_dpn92_loc",
        "dpn92_unet",
        "localisation",
        615,
        47408768,
        "30d53d702821a209ebd41e97b6854e0f",
    ),
    Published(
        "first_place_dpn92_double",
        "dpn92_unet",
        "damage",
        615,
        47409060,
        "cdee27b8c3f3ffc6d006a33a0ac171ae",
    ),
    Published(
        "first_place_senet154_loc",
        "senet154_unet",
        "localisation",
        1162,
        124874705,
        "bc59202e689ad81b419515af233c8778",
    ),
    Published(
        "first_place_senet154_double",
        "senet154_unet",
        "damage",
        1162,
        124875141,
        "bac486e03cef4b2f2b6ad39631628107",
    ),
    Published(
        "system000_student_loc",
        "seresnext50_unet_student",
        "localisation",
        402,
        29734081,
        "3bd390544ed89c33d79e9bacf54fc328",
    ),
    Published(
        "system000_student_double",
        "seresnext50_unet_student",
        "damage",
        402,
        29734229,
        "51dd579b5362e36a59f67f957fa040bf",
    ),
    Published(
        "system001_resnet34unet_localizer",
        "metadamagenet_resnet34_unet",
        "localisation",
        236,
        25728161,
        "886bf2414652e28d9ed37cb3b1afecf2",
    ),
    Published(
        "system001_resnet34unet_classifier",
        "metadamagenet_resnet34_unet",
        "damage",
        236,
        25728597,
        "4842d0a460d9c83edf5940788cce40fc",
    ),
    Published(
        "system001_efficientunetb0_localizer",
        "efficientunet_b0",
        "localisation",
        417,
        6884925,
        "b8d66c778cd0a1328a76c1cc430ecb4e",
    ),
    Published(
        "system001_efficientunetb0_classifier",
        "efficientunet_b0",
        "damage",
        417,
        6885361,
        "3f6bdcacbec5069accaee0bf24276c74",
    ),
    Published(
        "system001_efficientunetb0scse_localizer",
        "efficientunet_b0_scse",
        "localisation",
        437,
        6903909,
        "fcbc6aa5f74057320d5d2cf5b0480a28",
    ),
    Published(
        "system001_efficientunetb0scse_classifier",
        "efficientunet_b0_scse",
        "damage",
        437,
        6904345,
        "3b4d4df93584321c985f3bc5a88ee8c9",
    ),
    Published(
        "system001_efficientunetwideseb0_localizer",
        "efficientunet_widese_b0",
        "localisation",
        417,
        10020225,
        "0b14470c1000ac293da49febf631ba3c",
    ),
    Published(
        "system001_efficientunetwideseb0_classifier",
        "efficientunet_widese_b0",
        "damage",
        417,
        10020661,
        "d38eda05b66a1aa4401115bb735f3d1d",
    ),
    Published(
        "system001_efficientunetb4_localizer",
        "efficientunet_b4",
        "localisation",
        763,
        20573193,
        "4f02acff1c6f6e525b049e8784eb5202",
    ),
    Published(
        "system001_efficientunetb4_classifier",
        "efficientunet_b4",
        "damage",
        763,
        20573629,
        "e317d1ee7c115785af7331783920cfea",
    ),
    Published(
        "system001_efficientunetb4scse_localizer",
        "efficientunet_b4_scse",
        "localisation",
        783,
        20592177,
        "8fe47624628a33b462ea89146cecfa5f",
    ),
    Published(
        "system001_efficientunetb4scse_classifier",
        "efficientunet_b4_scse",
        "damage",
        783,
        20592613,
        "d884bf99d50af47e70b24cd2d2419219",
    ),
    Published(
        "system001_segformer_localizer",
        "segformer_b0",
        "localisation",
        208,
        3714401,
        "fc7e8f6e6f94dbc2dba7d7fac67470c7",
    ),
    Published(
        "system001_segformer_classifier",
        "segformer_b0",
        "damage",
        208,
        3846501,
        "c7b0f5f0b8da89df302ae18bc8e63c96",
    ),
    Published(
        "system003_efficientfpn_b0",
        "efficient_fpn_b0",
        "localisation",
        427,
        5623425,
        "524fb00815818347394634107c8b7ad3",
    ),
    Published(
        "system003_efficientfpn_b1",
        "efficient_fpn_b1",
        "localisation",
        575,
        8129061,
        "bbfe144c0fbff87771af8b7dd67c866f",
    ),
    Published(
        "system003_efficientfpn_b2_ctx_mish",
        "efficient_fpn_b2",
        "localisation",
        583,
        9329952,
        "c506a4f940d4b1b07a3a04a04bff9316",
    ),
    Published(
        "system004_siamese_resnet50",
        "siamese_resnet50",
        "assess",
        660,
        69176656,
        "5668da23bcef09907e9c7381c10e5c72",
    ),
    Published(
        "changeos_swint",
        "changeos_swint",
        "assess",
        373,
        41446272,
        "c1268ad2b2264d4b79f5d7b27d2390ce",
    ),
    Published(
        "ms_siamunet",
        "siamunet",
        "assess",
        176,
        3728727,
        "b68d5d1e7b5dc921bcf0fbc67430d470",
    ),
]
#: Of these no list is at hand; their keys were counted on the authors' networks.
COUNTED = [
    Published(
        "bright_unet", "bright_unet", "assess", 136, 31045444, "4e0a4d62d9906723097f8706d3e7bd0b"
    ),
    Published(
        "bright_siamattnunet",
        "bright_siamattnunet",
        "assess",
        246,
        60950276,
        "696a2d4c07e70cfbcfab6c1ce689792e",
    ),
]


@functools.cache
def build(name, task):
    with torch.device("meta"):
        return create_network(name, task=task)


def shapes(case):
    state = build(case.name, case.task).state_dict()
    return {key: list(value.shape) for key, value in state.items()}


def digest(shapes):
    lines = "\n".join(sorted(f"{key} {shape}" for key, shape in shapes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


@pytest.mark.slow
@pytest.mark.parametrize("case", [*PUBLISHED, *COUNTED], ids=lambda case: case.listing)
def test_keys_and_shapes_are_the_published_ones(case):
    found = shapes(case)
    assert len(found) == case.entries
    assert digest(found) == case.digest


@pytest.mark.slow
@pytest.mark.parametrize("case", [*PUBLISHED, *COUNTED], ids=lambda case: case.listing)
def test_the_parameters_are_as_many(case):
    parameters = build(case.name, case.task).parameters()
    assert sum(parameter.numel() for parameter in parameters) == case.parameters


@pytest.mark.slow
@pytest.mark.data
@needs("..", "reference", "keys")
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.listing)
def test_the_lists_agree_line_by_line(case):
    listed = json.loads((KEYS / f"{case.listing}.json").read_text(encoding="utf-8"))["keys"]
    assert shapes(case) == listed


def test_a_name_or_a_shape_that_differs_changes_the_digest():
    case = PUBLISHED[0]
    found = shapes(case)
    assert digest(dict(reversed(found.items()))) == case.digest
    assert digest({**found, "res.bias": [2]}) != case.digest
    assert digest({f"module.{key}": shape for key, shape in found.items()}) != case.digest


@pytest.mark.slow
def test_what_a_wrapped_unet_shares_with_the_first_place_has_the_same_keys():
    for name in ("seresnext50_unet", "dpn92_unet", "senet154_unet"):
        for task in NETWORKS[name].tasks:
            plain = build(name, task).state_dict()
            wrapped = build(f"metadamagenet_{name}", task).state_dict()
            assert {k if k.startswith("res.") else f"unet.{k}" for k in plain} == set(wrapped)
