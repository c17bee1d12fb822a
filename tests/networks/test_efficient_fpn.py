import dataclasses
import tomllib
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from geodamage.errors import CheckpointError, OptionError
from geodamage.model.measuring import pattern_windows
from geodamage.model.onnx import Model
from geodamage.networks import importing
from geodamage.networks.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.efficient_fpn import (
    EFFICIENT_FPNS,
    MobileBlock,
    SameConv,
    timm_keys,
    with_survival,
)
from geodamage.networks.efficientnets import BlockDesign, block_designs
from geodamage.networks.export import check_parity, to_onnx
from geodamage.networks.feature_pyramid import Aspp, ContextBlock, FpnOutputs
from geodamage.networks.importing import Imported, ensemble_text, import_checkpoints
from geodamage.networks.registry import create_network
from tests.conftest import listing

#: Networks with random weights find nothing in a synthetic pair, or everything.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.* in a synthetic pair")]

WINDOWS = pattern_windows(8, 96)[:, 0]
OPEN_CITIES = convention_of("open_cities", "efficient_fpn_b0", "localisation")


def create(name="efficient_fpn_b0", **options):
    return create_network(name, task="localisation", **options)


def on_meta(name="efficient_fpn_b0", **options):
    with torch.device("meta"):
        return create(name, **options)


def filled(network):
    """Give every weight numbers that follow from its name alone."""
    network = network.double().eval()
    for key, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        random = np.random.RandomState(zlib.crc32(key.encode()))
        values = random.uniform(-1, 1, tuple(tensor.shape))
        if tensor.ndim > 1:
            values *= np.sqrt(6 / max(1, np.prod(tensor.shape[1:])))
        else:
            values = 0.3 * values + key.endswith(("weight", "running_var"))
        tensor.copy_(torch.from_numpy(values))
    return network


def shaken(network):
    """Give normalisations statistics and weights that are not 1 and 0."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.running_mean, module.bias.data):
                tensor.uniform_(-0.5, 0.5)
    return network


def settled(network):
    """Give normalisations the statistics of what they see, as training does."""
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(Exported(network, OPEN_CITIES).scaled(torch.from_numpy(WINDOWS)))
    return network.eval()


#: What the published code answers with the weights of `filled` on the image below: background at
#: (0, 0), building at (15, 23) and (7, 11), dice at (15, 0), both of presence, scale; spread of
#: building and of dice. Run once, with efficientnet_pytorch 0.6.3.
PUBLISHED = [
    (
        "efficient_fpn_b0",
        {},
        [-0.739697, -0.225053, 0.765677, 1.841636, 0.43366, 0.405855, -0.014633],
        (1.48561290, 1.51326618),
    ),
    (
        "efficient_fpn_b1",
        {},
        [-0.362221, 2.467951, -9.389022, 7.4418, -2.353298, 0.478772, -6.587397],
        (7.65425308, 9.64456890),
    ),
    (
        "efficient_fpn_b2",
        {},
        [-4.25017, 6.106256, 33.967586, 3.19946, 12.005285, -0.407078, -3.378496],
        (11.65576235, 8.20141780),
    ),
    (
        "efficient_fpn_b1",
        {"context": True},
        [10.648042, 8.860231, 10.365025, -3.631703, -2.353298, 0.478772, -6.587397],
        (7.07020848, 4.80791062),
    ),
    (
        "efficient_fpn_b0",
        {"mish": True},
        [-0.261294, 0.170443, 0.840179, 1.652298, 0.43366, 0.405855, -0.014633],
        (1.57894366, 1.54520361),
    ),
]


@pytest.mark.parametrize(("name", "options", "expected", "spreads"), PUBLISHED)
def test_the_network_answers_what_the_published_code_answers(name, options, expected, spreads):
    network = filled(create(name, **options))
    images = torch.from_numpy(np.random.RandomState(0).uniform(-2, 2, (1, 3, 64, 96)))
    with torch.no_grad():
        building, dice, presence, scale = network(images)
    found = [
        building[0, 0, 0, 0],
        building[0, 1, 15, 23],
        building[0, 1, 7, 11],
        dice[0, 0, 15, 0],
        *presence[0],
        scale[0, 0],
    ]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose((building[0, 1].std(), dice.std()), spreads, rtol=1e-6)


@pytest.mark.parametrize("name", ["efficient_fpn_b0", "efficient_fpn_b2", "timm_fpn"])
def test_four_heads_answer(name):
    outputs = on_meta(name)(torch.zeros(2, 3, 96, 64, device="meta"))
    assert isinstance(outputs, FpnOutputs)
    shapes = [tuple(output.shape) for output in outputs]
    assert shapes == [(2, 2, 24, 16), (2, 1, 24, 16), (2, 2), (2, 1)]


def test_padding_of_even_sides_is_larger_at_the_end():
    conv = SameConv(1, 1, 3, stride=2)
    nn.init.ones_(conv.weight)
    with torch.no_grad():
        found = conv(torch.ones(1, 1, 4, 4))
    # At the bottom and on the right one row and column of nine are missing.
    assert found.tolist() == [[[[9, 6], [6, 4]]]]
    wide = SameConv(1, 1, 5, stride=2)
    nn.init.ones_(wide.weight)
    with torch.no_grad():
        assert wide(torch.ones(1, 1, 6, 6))[0, 0, 0].tolist() == [16, 20, 12]


@pytest.mark.parametrize("name", EFFICIENT_FPNS)
def test_the_names_cover_all_of_timm_but_the_classifier(name):
    design = EFFICIENT_FPNS[name].encoder
    with torch.device("meta"):
        theirs = set(timm.create_model(design.timm_name).state_dict())
    ours = on_meta(name).state_dict()
    named = {
        f"{their}.{key.rpartition('.')[2]}"
        for part, their in timm_keys(design).items()
        for key in ours
        if key.rpartition(".")[0] == part
    }
    assert theirs - named == {"classifier.weight", "classifier.bias"}
    assert named <= theirs


@pytest.mark.parametrize("name", EFFICIENT_FPNS)
def test_timm_has_imagenet_weights_of_it(name):
    assert timm.is_model_pretrained(EFFICIENT_FPNS[name].encoder.timm_name)


def test_a_pretrained_encoder_gives_what_timms_gives(monkeypatch):
    torch.manual_seed(0)
    theirs, asked = shaken(timm.create_model("tf_efficientnet_b0")).eval(), []

    def fake(name, *, pretrained):
        asked.append((name, pretrained))
        return theirs

    monkeypatch.setattr(timm, "create_model", fake)
    ours = create(pretrained=True).double().eval()
    assert asked == [("tf_efficientnet_b0.aa_in1k", True)]
    images = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    theirs = theirs.double()
    with torch.no_grad():
        stem = theirs.bn1(theirs.conv_stem(images))
        head = theirs.bn2(theirs.conv_head(theirs.blocks(stem)))
        x = functional.silu(ours._bn0(ours._conv_stem(images)))
        assert (x - stem).abs().max() < 1e-12
        for block in ours._blocks:
            x = block(x)
        x = functional.silu(ours._bn1(ours._conv_head(x)))
    assert head.abs().max() > 0.1
    assert (x - head).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "learns"), [("efficient_fpn_b0", True), ("efficient_fpn_b2", False)]
)
def test_the_stem_learns_or_not_as_published_and_its_statistics_stay(name, learns):
    network = create(name).eval().train()
    assert network.training
    assert [n for n, m in network.named_modules() if not m.training] == ["_bn0"]
    outputs = network(torch.randn(2, 3, 64, 64))
    (outputs.building.sum() + outputs.dice.sum() + outputs.presence.sum()).backward()
    idle = {name for name, p in network.named_parameters() if p.grad is None}
    stem = {"_conv_stem.weight", "_bn0.weight", "_bn0.bias"}
    # No loss of the published training asks for the scale.
    assert idle == {"_fc2.weight", "_fc2.bias"} | (set() if learns else stem)
    assert torch.equal(network._bn0.running_mean, torch.zeros_like(network._bn0.running_mean))
    assert not torch.equal(network._bn1.running_mean, torch.zeros_like(network._bn1.running_mean))


def test_the_first_blocks_are_left_out_at_their_own_rate():
    designs = [b for layer in block_designs(EFFICIENT_FPNS["efficient_fpn_b0"].encoder)
               for b in layer]  # fmt: skip
    survival = [design.survival for design in with_survival(designs, 0.5)]
    assert survival[:4] == pytest.approx([1 - 0.2 * place / 16 for place in range(4)])
    assert survival[4:] == pytest.approx([1 - 0.5 * place / 16 for place in range(4, 16)])
    blocks = on_meta(drop_connect=0.5)._blocks
    assert [block.survival for block in blocks] == survival


def test_a_block_is_left_out_for_some_images_in_training_alone():
    torch.manual_seed(0)
    block, x = MobileBlock(BlockDesign(8, 8, 3, 1, 2, survival=0.5)), torch.rand(64, 8, 4, 4)
    with torch.no_grad():
        left_out = (block(x) == x).flatten(1).all(1).sum().item()
        assert 16 < left_out < 48
        assert not (block.eval()(x) == x).flatten(1).all(1).any()


def test_a_context_block_adds_nothing_at_first_and_the_same_everywhere_later():
    torch.manual_seed(0)
    block, x = ContextBlock(16, 64), torch.rand(2, 16, 5, 7)
    with torch.no_grad():
        assert torch.equal(block(x), x)
        nn.init.normal_(block.channel_add_conv[3].weight)
        added = block(x) - x
        assert added.std((2, 3)).max() < 1e-6
        assert added[:, :, 0, 0].abs().min() > 1e-4
        x[0, :, 4, 6] += 1
        moved = block(x) - x
    assert (moved[0] - added[0]).abs().max() > 1e-3
    assert torch.equal(moved[1], added[1])


def test_the_views_of_the_pooling_reach_as_far_as_they_should():
    aspp = Aspp(1).eval()
    one = torch.zeros(1, 1, 33, 33)
    one[..., 16, 16] = 1
    with torch.no_grad():
        for number, reach in ((1, 4), (2, 8), (3, 12)):
            conv = aspp.get_submodule(f"atrous{number}.module.0")
            nn.init.ones_(conv.weight)
            rows = conv(one)[0, 0].any(1).nonzero().flatten().tolist()
            assert rows == [16 - reach, 16, 16 + reach]


@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto", "mobilenetv3_small_100"])
def test_an_encoder_of_timm_carries_the_same_heads(encoder):
    network = on_meta("timm_fpn", encoder=encoder, context=True)
    outputs = network(torch.zeros(2, 3, 64, 96, device="meta"))
    assert tuple(outputs.building.shape) == (2, 2, 16, 24)
    decoder = {n for n, _ in network.named_parameters() if not n.startswith("encoder.")}
    theirs = {n for n, _ in on_meta("efficient_fpn_b2").named_parameters()}
    assert decoder == {n for n in theirs if not n.startswith(("_bn", "_blocks", "_conv"))}


def test_an_encoder_of_timm_leaves_out_blocks_when_asked():
    network = on_meta("timm_fpn", drop_connect=0.4)
    rates = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert 0.3 < max(rates) < 0.4
    still = on_meta("timm_fpn")
    assert not [m for m in still.modules() if type(m).__name__ == "DropPath" and m.drop_prob]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("efficient_fpn_b0", {"drop_connect": 1.0}, r"drop_connect=1\.0; give 0 to below 1"),
        ("efficient_fpn_b0", {"drop_connect": "0.5"}, "drop_connect='0.5'; give 0 to below 1"),
        ("efficient_fpn_b0", {"drop_connect": float("nan")}, "give 0 to below 1"),
        ("timm_fpn", {"context": "yes"}, "timm_fpn: context='yes'; give true or false"),
        ("efficient_fpn_b0", {"encoder": "resnet18"}, "no such option 'encoder'"),
        ("timm_fpn", {"encoder": "resnet19"}, "no encoder 'resnet19'; did you mean .*resnet18"),
        ("timm_fpn", {"encoder": "§"}, "no encoder '§'; take one of timm's, such as"),
        ("timm_fpn", {"encoder": 3}, "encoder=3; give the name of a network of timm"),
        ("timm_fpn", {"encoder": "vit_tiny_patch16_224"}, "at strides 4, 8, 16 and 32; take anoth"),
        (
            "timm_fpn",
            {"encoder": "swin_tiny_patch4_window7_224"},
            r"no\w* .*features \(n, c, h, w\)",
        ),
        ("timm_fpn", {"encoder": "efficientnet_b6", "pretrained": True}, "leave out pretrained"),
        ("timm_fpn", {"encoder": "vgg11", "drop_connect": 0.2}, "leave out drop_connect"),
    ],
)
def test_options_that_make_no_network_are_refused_in_one_line(name, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        on_meta(name, **options)
    assert "\n" not in str(caught.value)


class Answer(nn.Module):
    """Keeps what it is given, and answers with fixed logits."""

    def __init__(self, building):
        super().__init__()
        self.building, self.seen = building, None

    def forward(self, images):
        self.seen = images
        return FpnOutputs(self.building, *torch.zeros(3, 1))


def test_a_model_file_holds_the_share_of_building_at_full_size():
    logits = torch.tensor([0.0, 0.0, 0.0, 0.0, -2.0, 2.0, 2.0, -2.0]).view(1, 2, 2, 2)
    answer = Answer(logits)
    image = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    (localisation,) = Exported(answer, OPEN_CITIES)(image)
    assert localisation.shape == (1, 1, 8, 8)
    share = 1 / (1 + np.exp(-2))
    # The corners lie beyond the centres of the four answers.
    corners = localisation[0, 0, ::7, ::7].tolist()
    np.testing.assert_allclose(corners, [[1 - share, share], [share, 1 - share]], rtol=1e-6)
    # Halfway between, the mean of the shares, whatever the logits are.
    np.testing.assert_allclose(localisation[0, 0, 3:5, 3:5].mean(), 0.5, rtol=1e-6)
    expected = (np.array([200, 100, 50]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(answer.seen[0, :, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("efficient_fpn_b0", {}), ("efficient_fpn_b2", {}), ("timm_fpn", {"encoder": "resnet18"})],
)
def test_the_graph_says_what_the_network_says(name, options):
    torch.manual_seed(0)
    network = settled(create(name, **options))
    if name == "efficient_fpn_b2":
        nn.init.normal_(network.ctx.channel_add_conv[3].weight, std=0.1)
    exported = Exported(network, OPEN_CITIES)
    session = onnxruntime.InferenceSession(to_onnx(exported), providers=["CPUExecutionProvider"])
    windows = pattern_windows(1, 128)[:, 0, :, :, :96]
    (found,) = session.run(None, {"pre": windows})
    with torch.no_grad():
        (expected,) = exported(torch.from_numpy(windows))
    assert found.shape == (1, 1, 128, 96)
    assert expected.std() > 0.001
    assert np.abs(found - expected.numpy()).max() < 1e-4


def save(content, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_a_checkpoint_is_recognised_in_each_form_it_was_published_in(tmp_path):
    network = create("efficient_fpn_b1")
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.rand(2, 3, 64, 64)).building.sum().backward()
    optimiser.step()
    state = network.state_dict()
    whole = {"state_dict": state, "optimizer": optimiser.state_dict(), "epoch": 19}
    forms = {
        "whole": whole | {"best_loss": np.float64(0.03125)},
        "plain": whole | {"best_loss": 0.03125},
        "small": {"state_dict": state},
        "bare": state,
        "parallel": {f"module.{key}": value for key, value in state.items()},
    }
    for name, content in forms.items():
        checkpoint = read_checkpoint(save(content, tmp_path / f"{name}.pth"))
        assert (checkpoint.network, checkpoint.family) == ("efficient_fpn_b1", "open_cities")
        noted = name in ("whole", "plain")
        assert (checkpoint.epoch, checkpoint.best_loss) == (
            (19, 0.03125) if noted else (None, None)
        )
        assert checkpoint.best_score is None
    loaded = load_checkpoint(tmp_path / "whole.pth")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images).building, network.eval()(images).building)
    assert not any(module.training for module in loaded.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("ctx.conv_mask.bias"), "1 missing: ctx.conv_mask.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (
            lambda s: s.update({"dice.weight": torch.zeros(2, 64, 1, 1)}),
            r"1 misshapen: dice\.weight \[2, 64, 1, 1\] for \[1, 64, 1, 1\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path, change, message):
    state = dict(create("efficient_fpn_b2").state_dict())
    change(state)
    path = save({"state_dict": state}, tmp_path / "ave.pth")
    with pytest.raises(CheckpointError, match=f"nearest to efficient_fpn_b2.*{message}") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_ours_says_which_encoder_it_stands_on(tmp_path):
    torch.manual_seed(0)
    network = create("timm_fpn", encoder="resnet18", drop_connect=0.1)
    save_checkpoint(nn.DataParallel(network), tmp_path / "best", epoch=2, best_score=0.75)
    checkpoint = read_checkpoint(tmp_path / "best")
    assert (checkpoint.network, checkpoint.family) == ("timm_fpn", "open_cities")
    assert checkpoint.options == {"encoder": "resnet18", "drop_connect": 0.1}
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found = load_checkpoint(tmp_path / "best")(images)
        assert torch.equal(found.building, network.eval()(images).building)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "fpn"}, "of a network 'fpn', which is not known here"),
        ({"network_options": {"encoder": "resnet19"}}, "no encoder 'resnet19'"),
        ({"network_options": {"depth": 3}}, "no such option 'depth'"),
        ({"network_options": {"encoder": "resnet34"}}, "nearest to timm_fpn .* missing"),
    ],
)
def test_a_checkpoint_that_says_what_it_is_not_is_refused(tmp_path, change, message):
    save_checkpoint(create("timm_fpn", encoder="resnet18"), tmp_path / "a", epoch=1, best_score=0)
    path = save(torch.load(tmp_path / "a", weights_only=False) | change, tmp_path / "b")
    with pytest.raises(CheckpointError, match=f"{path}: .*{message}") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(importing, "TILE", 256)
    monkeypatch.setattr(importing, "GLOBAL_HALO", 32)


def test_a_published_checkpoint_becomes_a_model_file(tmp_path, small_windows):
    torch.manual_seed(0)
    network = settled(create())
    content = {"state_dict": network.state_dict(), "epoch": 19, "best_loss": 0.03125}
    source = save(content, tmp_path / "m40000.pth")
    (imported,) = import_checkpoints([source], tmp_path / "cities")
    assert listing(tmp_path) == ["cities.onnx", "m40000.pth"]
    assert (imported.network, imported.family) == ("efficient_fpn_b0", "open_cities")
    assert (imported.epoch, imported.context) == (19, "global")
    model = Model(tmp_path / "cities.onnx", device="cpu")
    card = model.card
    assert (card.task, card.context, card.stride) == ("localisation", "global", 32)
    assert (card.tile, card.halo, card.threshold) == (256, 32, 0.56)
    assert (card.gsd_native, card.gsd_min, card.gsd_max) == (0.07, 0.02, 0.2)
    assert "Open Cities" in card.training_data
    assert "xBD" not in card.training_data + card.licence
    assert card.scores["published"] == "loss that its training noted: 0.03125, epoch 19"
    exported = Exported(network, OPEN_CITIES)
    assert check_parity(exported, model, pattern_windows(1, 128, seed=2)) < 1e-4


def test_what_is_not_published_claims_nothing(tmp_path, small_windows):
    source = save(create("timm_fpn").state_dict(), tmp_path / "own.pth")
    [*import_checkpoints([source], tmp_path / "own")]
    card = Model(tmp_path / "own.onnx", device="cpu").card
    assert (card.licence, card.training_data) == ("not stated", "not stated")


def test_a_set_of_open_cities_is_averaged_over_mirror_images():
    one = Imported(
        source=Path("m40000.pth"), path=Path("x-1.onnx"), network="efficient_fpn_b1",
        family="open_cities", task="localisation", epoch=1, best_score=None, context="global",
        halo=128, size=1, difference=0.0,
    )  # fmt: skip
    table = tomllib.loads(
        ensemble_text("x", [one, dataclasses.replace(one, path=Path("x-2.onnx"))])
    )
    assert table["threshold"] == 0.54
    assert [set(entry) for entry in table["member"]] == [{"file", "flips"}] * 2
    assert table["member"][0]["flips"] == ["none", "horizontal", "vertical", "both"]
    other = dataclasses.replace(one, network="efficientunet_b0", family="metadamagenet")
    mixed = tomllib.loads(ensemble_text("x", [one, other]))
    assert mixed["threshold"] == 0.5
    assert [set(entry) for entry in mixed["member"]] == [{"file"}] * 2
