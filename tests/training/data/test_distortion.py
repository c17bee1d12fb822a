import numpy as np
import pytest

from training.data.augmentation import augment
from training.data.augmentation_options import Augmentation
from training.data.distortion import grid_maps, motion_blur, optical_maps, punched, remapped
from training.data.labelled import Sample

BOTH = [grid_maps, optical_maps]


def board(rows=60, columns=80):
    y, x = np.mgrid[:rows, :columns]
    return (((x // 10 + y // 10) % 2) * 200 + 20).astype(np.uint8)


@pytest.mark.parametrize("maps_of", BOTH)
def test_image_and_mask_are_bent_alike(maps_of):
    mask = (board() > 100).astype(np.uint8)
    image = np.repeat(board()[..., None], 3, 2)
    maps = maps_of(mask.shape, np.random.default_rng(3))
    bent, bent_mask = (remapped(image, maps, smooth=True), remapped(mask, maps, smooth=False))
    assert (bent != image).mean() > 0.05
    assert set(np.unique(bent_mask)) == {0, 1}
    assert ((bent[..., 0] > 100) == (bent_mask == 1)).mean() > 0.97


def test_a_grid_keeps_its_ends_and_never_folds():
    across, down = grid_maps((50, 70), np.random.default_rng(1))
    assert (across[0, 0], across[0, -1]) == pytest.approx((0, 69))
    assert (down[0, 0], down[-1, 0]) == pytest.approx((0, 49))
    assert (np.diff(across, axis=1) > 0).all()
    assert (np.diff(down, axis=0) > 0).all()


def test_a_lens_leaves_its_middle_where_it_is():
    across, down = optical_maps((64, 64), np.random.default_rng(2))
    middle = across[30:34, 30:34] - np.arange(30, 34), down[30:34, 30:34].T - np.arange(30, 34)
    assert np.abs(middle).max() < 0.05
    assert np.abs(across[0] - np.arange(64)).max() > 0.5


def test_holes_are_black_and_few():
    white = np.full((64, 64, 3), 255, np.uint8)
    holes = punched(white, np.random.default_rng(0))
    assert white.min() == 255
    assert 0 < (holes == 0).all(2).sum() <= 8 * 64


def test_motion_smears_without_changing_the_light():
    image = np.repeat(board()[..., None], 3, 2)
    smeared = [motion_blur(image, np.random.default_rng(seed)) for seed in range(5)]
    assert max(np.abs(s.astype(int) - image).max() for s in smeared) > 20
    assert max(abs(s.mean() - image.mean()) for s in smeared) < 3


def test_all_of_it_together_keeps_masks_with_their_image():
    rng = np.random.default_rng(4)
    mask = (board(100, 100) > 100).astype(np.uint8)
    sample = Sample(np.repeat(board(100, 100)[..., None], 3, 2), None, mask, mask)
    options = Augmentation(
        images="pre", crop=64, first_crop=1.5, transpose=1.0, grid_distortion=1.0,
        optical_distortion=1.0, gsd_jitter=1.0, gsd_range=(0.5, 2.0),
    )  # fmt: skip
    for _ in range(5):
        made = augment(sample, options, rng)
        assert made.pre.shape == (64, 64, 3)
        assert ((made.pre[..., 0] > 100) == (made.buildings == 1)).mean() > 0.9
