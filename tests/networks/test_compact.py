import pytest
import torch
from torch import nn

from geodamage.networks.compact import CompactSiamese

STRIDE = CompactSiamese.stride


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CompactSiamese().eval()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (48, 80)])
def test_heads_have_their_shapes(network, rows, columns):
    images = torch.rand(2, 3, rows, columns)
    with torch.no_grad():
        pre, post, damage = network(images, images)
    assert pre.shape == post.shape == (2, 1, rows, columns)
    assert damage.shape == (2, 4, rows // 2, columns // 2)


@pytest.mark.slow
@pytest.mark.parametrize("side", [24, 33, 40])
def test_a_size_that_is_no_multiple_of_the_stride_is_refused(network, side):
    images = torch.rand(1, 3, side, 32)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"[Ss]ize"):
        network(images, images)


@pytest.mark.slow
def test_other_channels_make_another_stem():
    network = CompactSiamese(channels=1).eval()
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert network(images, images)[0].shape == (1, 1, 32, 32)


def test_it_is_small(network):
    assert sum(parameter.numel() for parameter in network.parameters()) < 2_000_000


def test_nothing_in_it_sees_the_whole_window(network):
    allowed = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Identity)
    leaves = [module for module in network.modules() if not list(module.children())]
    assert {type(module) for module in leaves} <= set(allowed)


def reach(network):
    """Return how many pixels from a core a change is felt, from the gradients."""
    size, core = 320, slice(144, 176)
    images = torch.rand(2, 3, size, size, requires_grad=True)
    pre, post, damage = network(images[:1], images[1:])
    half = slice(core.start // 2, core.stop // 2)
    total = pre[..., core, core].sum() + post[..., core, core].sum()
    (total + damage[..., half, half].sum()).backward()
    felt = torch.nonzero(images.grad.abs().sum((0, 1, 3)))
    return max(core.start - int(felt.min()), int(felt.max()) - core.stop + 1)


@pytest.mark.slow
def test_its_context_is_bounded(network):
    distance = reach(network)
    assert 16 < distance < 144
    size, core = 320, slice(144, 176)
    kept = slice(core.start - distance, core.stop + distance)
    images = torch.rand(2, 1, 3, size, size)
    other = torch.rand_like(images)
    other[..., kept, kept] = images[..., kept, kept]
    with torch.no_grad():
        for a, b in zip(network(*images), network(*other), strict=True):
            step = size // a.shape[-1]
            part = slice(core.start // step, core.stop // step)
            assert torch.equal(a[..., part, part], b[..., part, part])
            assert not torch.equal(a, b)


@pytest.mark.slow
def test_localisation_looks_at_its_own_date_alone(network):
    a, b, c = torch.rand(3, 1, 3, 32, 32)
    with torch.no_grad():
        one, other = network(a, b), network(a, c)
        assert torch.allclose(one[0], other[0], atol=1e-5)
        assert not torch.allclose(one[1], other[1], atol=1e-3)
        assert not torch.allclose(one[2], other[2], atol=1e-3)
        assert torch.allclose(network(b, a)[0], one[1], atol=1e-5)


@pytest.mark.slow
def test_a_shift_by_the_stride_shifts_the_answer(network):
    images = torch.rand(2, 1, 3, 384, 384)
    moved = torch.roll(images, (STRIDE, 2 * STRIDE), (-2, -1))
    core = slice(176, 208)
    with torch.no_grad():
        whole, there = network(*images)[0], network(*moved)[0]
    there = torch.roll(there, (-STRIDE, -2 * STRIDE), (-2, -1))
    assert torch.allclose(whole[..., core, core], there[..., core, core], atol=1e-5)
