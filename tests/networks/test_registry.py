import pytest
import torch
from torch import nn

from geodamage.errors import OptionError
from geodamage.networks import create_network, list_networks
from geodamage.networks.compact import CompactSiamese
from geodamage.networks.registry import NETWORKS, named_tasks, network_facts

#: Parameters and GFLOP of the published implementations, counted there.
COUNTED = {
    ("res34_unet", "localisation"): (25_728_161, 369.4),
    ("res34_unet", "damage"): (25_728_597, 739.7),
    ("seresnext50_unet", "localisation"): (34_559_761, 376.1),
    ("seresnext50_unet", "damage"): (34_560_053, 752.8),
    ("dpn92_unet", "localisation"): (47_408_768, 569.2),
    ("dpn92_unet", "damage"): (47_409_060, 1138.9),
    ("senet154_unet", "localisation"): (124_874_705, 1194.2),
    ("senet154_unet", "damage"): (124_875_141, 2389.2),
    ("seresnext50_unet_student", "localisation"): (29_734_081, 254.4),
    ("seresnext50_unet_student", "damage"): (29_734_229, 509.0),
}

#: Parameters that MetaDamageNet states of its networks, without their heads.
STATED = {
    "metadamagenet_resnet34_unet": 25_728_112,
    "metadamagenet_seresnext50_unet": 34_559_728,
    "metadamagenet_dpn92_unet": 47_408_735,
    "metadamagenet_senet154_unet": 124_874_656,
    "efficientunet_b0": 6_884_876,
    "efficientunet_b0_scse": 6_903_860,
    "efficientunet_widese_b0": 10_020_176,
    "efficientunet_b4": 20_573_144,
    "efficientunet_b4_scse": 20_592_128,
}


OURS = ("compact", "compact_small", "compact_two_sensors")
#: Others whose windows are multiples of 16, too.
OTHERS = ("siamunet", "bright_unet", "bright_siamattnunet")


def on_meta(name, task, **options):
    with torch.device("meta"):
        return create_network(name, task=task, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), COUNTED)
def test_weight_and_cost_are_those_of_the_published_network(name, task):
    parameters, gflop = COUNTED[name, task]
    facts = network_facts(name, task)
    assert facts.parameters == parameters
    assert facts.gflop == pytest.approx(gflop, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATED)
def test_parameters_are_those_that_were_stated(name):
    network = on_meta(name, "damage")
    assert sum(parameter.numel() for parameter in network.unet.parameters()) == STATED[name]


@pytest.mark.slow
def test_the_list_has_each_network_of_each_task():
    networks = list_networks()
    assert [(n.name, n.task, n.family) for n in networks] == named_tasks()
    assert len({(n.name, n.task) for n in networks}) == len(networks)
    for facts in networks:
        assert facts.parameters > 4e5
        assert 10 < facts.gflop < 3000
        own = dict.fromkeys((*OURS, *OTHERS, "lite0", "lite1", "lite2"), 16)
        assert facts.stride == (own | {"segformer_b0": 1}).get(facts.name, 32)


#: Modules, besides pooling and attention, that look at the whole window.
GLOBAL = {
    "ChannelAttention",
    "Scse",
    "SEModule",
    "SqueezeExcite",
    "MultiheadAttention",
    "LayerNorm",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_local_is_what_pools_nowhere(name):
    network = on_meta(name, NETWORKS[name].tasks[0])
    pools = any(
        isinstance(module, nn.AdaptiveAvgPool2d) or type(module).__name__ in GLOBAL
        for module in network.modules()
    )
    assert NETWORKS[name].context == ("global" if pools else "local")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientunet_b0_scse", "efficientunet_widese_b0"])
@pytest.mark.parametrize(("task", "bands", "classes"), [("localisation", 3, 1), ("damage", 6, 5)])
def test_the_normalised_ones_run(name, task, bands, classes):
    network = on_meta(name, task)
    assert network(torch.zeros(1, bands, 64, 64, device="meta")).shape == (1, classes, 64, 64)


@pytest.mark.slow
def test_a_network_is_new_and_on_the_device_asked_for():
    network = create_network("compact", task="assess")
    assert isinstance(network, CompactSiamese)
    assert network.training
    assert {p.device.type for p in on_meta("dpn92_unet", "damage").parameters()} == {"meta"}


@pytest.mark.slow
def test_a_state_can_be_assigned_to_a_network_without_numbers():
    full = create_network("res34_unet", task="localisation").eval()
    empty = on_meta("res34_unet", "localisation").eval()
    empty.load_state_dict(full.state_dict(), assign=True)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(empty(images), full(images))


def test_a_name_nobody_has_is_answered_with_near_ones():
    with pytest.raises(OptionError, match=r"'res34_unett'.*did you mean .*res34_unet"):
        create_network("res34_unett", task="damage")
    with pytest.raises(
        OptionError,
        match=r"did you mean bright_siamattnunet or .*changeos_swint or .*siamese_resnet50",
    ):
        create_network("§", task="damage")


@pytest.mark.parametrize(
    ("name", "task", "has"),
    [("compact", "damage", "assess"), ("res34_unet", "assess", "localisation, damage")],
)
def test_a_task_it_was_not_built_for_is_refused(name, task, has):
    with pytest.raises(OptionError, match=rf"{name}: .*'{task}'.*has {has}"):
        create_network(name, task=task)


def test_an_unknown_option_is_refused():
    with pytest.raises(OptionError, match=r"'depth'; it has widths"):
        create_network("res34_unet", task="damage", depth=3)
    with pytest.raises(OptionError, match=r"siamese_resnet50: .*'widths'"):
        create_network("siamese_resnet50", task="assess", widths=(1,))


@pytest.mark.slow
def test_other_widths_make_another_decoder():
    student = on_meta("seresnext50_unet", "damage", widths=[16, 24, 32, 64, 128])
    parameters = sum(parameter.numel() for parameter in student.parameters())
    assert parameters == COUNTED["seresnext50_unet_student", "damage"][0]


@pytest.mark.parametrize("widths", [(1, 2, 3, 4), (1, 2, 3, 4, 0), (1, 2, 3, 4, 5.0), 7, "abcde"])
def test_widths_that_make_no_decoder_are_refused(widths):
    with pytest.raises(OptionError, match="5 positive numbers of channels"):
        create_network("res34_unet", task="damage", widths=widths)


def test_our_own_network_has_no_pretrained_weights():
    with pytest.raises(OptionError, match="no ImageNet weights"):
        create_network("compact", task="assess", pretrained=True)
