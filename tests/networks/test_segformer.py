import pytest
import torch
from torch.nn import functional

from geodamage.errors import OptionError
from geodamage.networks.segformer import Segformer, segformer_b0

EXPECTED = [
    [0.8434436917304993, 0.8409860134124756, 0.8436797261238098, 0.8493909835815430],
    [0.8563200235366821, 0.8413695693016052, 0.8489443063735962, 0.8551144599914551],
    [0.8558821678161621, 0.8614234328269958, 0.8575950264930725, 0.8666943907737732],
    [0.8541013002395630, 0.8688644766807556, 0.8555711507797241, 0.8673793077468872],
]
PARAMETERS = {"localisation": 3_714_401, "damage": 3_846_501}


def waves(shape, *, phase, scale):
    """Return numbers that any machine makes alike."""
    count = torch.arange(int(torch.Size(shape).numel()), dtype=torch.float64)
    return (scale * torch.sin(0.7 * count + phase)).to(torch.float32).reshape(shape)


def with_waves(network):
    """Fill a network with weights that a formula gives."""
    state = network.state_dict()
    for number, (name, value) in enumerate(state.items()):
        if not value.is_floating_point():
            continue
        fan = value[0].numel() if value.ndim > 1 else 100
        wave = waves(value.shape, phase=number, scale=1.5 / fan**0.5)
        centred = value.ndim > 1 or name.endswith(("bias", "running_mean"))
        state[name] = wave if centred else 1 + wave
    network.load_state_dict(state)
    return network.eval()


@pytest.fixture(scope="module")
def localisation():
    return with_waves(Segformer(1, size=64))


@pytest.fixture(scope="module")
def damage():
    return with_waves(Segformer(5, dates=2, size=64))


@pytest.mark.slow
@torch.no_grad()
def test_it_computes_what_the_published_implementation_computes(localisation):
    # Of transformers 4.46.3: SegformerForSemanticSegmentation, one label, epsilon 1e-5, the same
    # weights and image, logits brought from 16 x 16 to 64 x 64 bilinearly.
    logits = localisation(waves((1, 3, 64, 64), phase=0, scale=1))
    assert logits.shape == (1, 1, 64, 64)
    expected = torch.tensor(EXPECTED)
    torch.testing.assert_close(logits[0, 0, ::21, ::21], expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "channels", "outputs"), [("localisation", 3, 1), ("damage", 6, 5)]
)
@torch.no_grad()
def test_logits_have_the_size_of_the_input(task, channels, outputs):
    with torch.device("meta"):
        network = segformer_b0(task, False).eval()
        assert network(torch.empty(2, channels, 40, 72)).shape == (2, outputs, 40, 72)


@pytest.mark.parametrize("task", PARAMETERS)
def test_it_has_the_published_number_of_parameters_and_entries(task):
    with torch.device("meta"):
        network = segformer_b0(task, False)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[task]
    assert len(network.state_dict()) == 208


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("segformer.encoder.patch_embeddings.0.proj.weight", (32, 3, 7, 7)),
        ("segformer.encoder.block.1.0.attention.self.sr.weight", (64, 64, 4, 4)),
        ("segformer.encoder.block.3.1.mlp.dwconv.dwconv.weight", (1024, 1, 3, 3)),
        ("segformer.encoder.layer_norm.2.bias", (160,)),
        ("decode_head.linear_c.3.proj.weight", (256, 512)),
        ("decode_head.linear_fuse.weight", (256, 1024, 1, 1)),
        ("decode_head.classifier.weight", (5, 256, 1, 1)),
    ],
)
def test_entries_carry_the_published_names(damage, name, shape):
    assert damage.state_dict()[name].shape == shape


def test_the_coarsest_stage_keeps_its_resolution_in_attention(damage):
    assert "segformer.encoder.block.3.0.attention.self.sr.weight" not in damage.state_dict()


@pytest.mark.slow
@torch.no_grad()
def test_both_dates_go_through_one_encoder_and_the_head_reads_them_side_by_side(damage):
    pre, post = waves((2, 1, 3, 64, 64), phase=0.3, scale=1)
    stages = [
        torch.cat(pair, 1)
        for pair in zip(damage.segformer(pre), damage.segformer(post), strict=True)
    ]
    expected = functional.interpolate(damage.decode_head(stages), size=(64, 64), mode="bilinear")
    torch.testing.assert_close(damage(torch.cat([pre, post], 1)), expected)


@pytest.mark.slow
@torch.no_grad()
def test_the_order_of_the_dates_matters(damage):
    pre, post = waves((2, 1, 3, 64, 64), phase=0.3, scale=1)
    there, back = damage(torch.cat([pre, post], 1)), damage(torch.cat([post, pre], 1))
    assert (there - back).abs().max() > 1e-3


@pytest.mark.slow
@torch.no_grad()
def test_pairs_of_a_batch_do_not_mix(damage):
    pairs = waves((3, 6, 64, 64), phase=0.1, scale=1)
    alone = torch.cat([damage(pair[None]) for pair in pairs])
    torch.testing.assert_close(damage(pairs), alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_every_image_is_brought_to_one_size(localisation):
    image = waves((1, 3, 48, 96), phase=0, scale=1)
    square = functional.interpolate(image, size=(64, 64), mode="bilinear")
    expected = functional.interpolate(localisation(square), size=(48, 96), mode="bilinear")
    # The logits come back once from a quarter, here twice: close, not equal.
    assert (localisation(image) - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.slow
def test_every_weight_learns():
    network = with_waves(Segformer(5, dates=2, size=64))
    network(waves((1, 6, 64, 64), phase=0, scale=1)).square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert not still


@pytest.mark.slow
def test_blocks_are_dropped_in_training_alone():
    network = with_waves(Segformer(1, size=64))
    image = waves((1, 3, 64, 64), phase=0, scale=1)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        network.train()
        assert not torch.equal(network(image), network(image))


def test_an_unknown_task_is_refused():
    with pytest.raises(OptionError, match="no task 'assess'"):
        segformer_b0("assess", False)


def test_weights_that_nobody_packages_are_refused():
    with pytest.raises(OptionError, match="load_checkpoint"):
        segformer_b0("localisation", True)
