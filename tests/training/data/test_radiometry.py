import cv2
import numpy as np
import pytest

from training.data import radiometry

RNG = np.random.default_rng(0)
IMAGE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 40, 3), np.uint8), (5, 5), 0)
FLAT = np.full((32, 32, 3), (90, 120, 60), np.uint8)


def again():
    return np.random.default_rng(1)


ALL = {
    "shift_channels": lambda i: radiometry.shift_channels(i, np.array([3, -4, 5])),
    "shift_hsv": lambda i: radiometry.shift_hsv(i, np.array([3, -4, 5])),
    "clahe": radiometry.clahe,
    "noise": lambda i: radiometry.noise(i, 5.0, again()),
    "blur": radiometry.blur,
    "saturate": lambda i: radiometry.saturate(i, 1.3),
    "brighten": lambda i: radiometry.brighten(i, 1.1),
    "contrast": lambda i: radiometry.contrast(i, 1.2),
    "elastic": lambda i: radiometry.elastic(i, 1.2, 0.2, again()),
    "coarsen": lambda i: radiometry.coarsen(i, 2.0),
    "recompress": lambda i: radiometry.recompress(i, 60),
    "haze": lambda i: radiometry.haze(i, 0.4, again()),
    "fourier_style": lambda i: radiometry.fourier_style(i, i[::-1, ::-1] // 2, 0.1),
    "colour_style": lambda i: radiometry.colour_style(i, i // 2, 0.7),
}


@pytest.mark.parametrize("name", ALL)
def test_an_operation_gives_another_image_of_the_same_kind(name):
    kept = IMAGE.copy()
    changed = ALL[name](IMAGE)
    assert changed.shape == IMAGE.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(IMAGE, kept)
    assert not np.array_equal(changed, IMAGE)
    assert np.array_equal(changed, ALL[name](IMAGE))
    # A little other, not another picture.
    assert np.corrcoef(changed.ravel(), IMAGE.ravel())[0, 1] > 0.5


def test_channels_move_by_exactly_what_is_said_and_stop_at_the_ends():
    moved = radiometry.shift_channels(np.array([[[10, 253, 2]]], np.uint8), np.array([5, 5, -5]))
    assert moved.tolist() == [[[15, 255, 0]]]


def test_hue_is_a_circle():
    red = np.array([[[200, 0, 0]]], np.uint8)
    back, forth = (radiometry.shift_hsv(red, np.array([d, 0, 0])) for d in (-5, 5))
    # Red with a little blue, red with a little green; clipped, the first would stay red.
    assert back[0, 0, 2] > back[0, 0, 1] == 0
    assert forth[0, 0, 1] > forth[0, 0, 2] == 0


def test_noise_neither_brightens_nor_darkens():
    noisy = radiometry.noise(np.full((200, 200, 3), 128, np.uint8), 5.5, again()).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    assert noisy.std() == pytest.approx(5.5, abs=0.1)


def test_clahe_works_on_lightness_and_keeps_grey_grey():
    ramp = np.repeat(np.linspace(100, 140, 64).astype(np.uint8)[None], 64, 0)
    equal = radiometry.clahe(np.dstack([ramp] * 3)).astype(int)
    assert np.ptp(equal) > np.ptp(ramp)
    assert np.abs(equal[..., 0] - equal[..., 2]).max() <= 2


def test_saturation_brightness_and_contrast_by_hand():
    pixel = np.array([[[100, 50, 0]]], np.uint8)
    grey = 0.299 * 100 + 0.587 * 50
    assert radiometry.saturate(pixel, 0).tolist() == [[[round(grey)] * 3]]
    assert radiometry.saturate(pixel, 1).tolist() == pixel.tolist()
    assert radiometry.brighten(pixel, 1.1).tolist() == [[[110, 55, 0]]]
    two = np.array([[[100] * 3, [140] * 3]], np.uint8)
    assert radiometry.contrast(two, 1.5)[0, :, 0].tolist() == [90, 150]
    assert radiometry.contrast(two, 0)[0, :, 0].tolist() == [120, 120]


def test_elastic_moves_no_farther_than_it_says():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    moved = radiometry.elastic(image, 2.0, 0.2, again())
    rows, columns = np.nonzero(moved[..., 0])
    assert rows.size
    assert max(np.abs(rows - 20).max(), np.abs(columns - 20).max()) <= 3


def test_haze_hides_everything_at_full_thickness_and_nothing_at_none():
    assert np.array_equal(radiometry.haze(IMAGE, 0, again()), IMAGE)
    thick = radiometry.haze(IMAGE, 2.6, again())
    assert thick.std((0, 1)).max() < 1
    assert thick.min() > 170


def test_a_coarser_sensor_shows_no_fine_pattern():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    assert radiometry.coarsen(stripes, 2.0).std() < 1


def test_the_channels_keep_their_places_in_jpeg():
    red = np.full((16, 16, 3), (200, 30, 30), np.uint8)
    assert np.abs(radiometry.recompress(red, 90)[8, 8].astype(int) - (200, 30, 30)).max() <= 4


def test_fourier_style_takes_the_mean_and_keeps_the_edges():
    other = np.full_like(IMAGE, 40)
    mixed = radiometry.fourier_style(IMAGE, other, 0.0).astype(float)
    plain = IMAGE - IMAGE.mean((0, 1)) + 40
    inside = (plain > 1) & (plain < 254)
    assert np.abs(mixed - plain)[inside].max() <= 1
    assert np.array_equal(radiometry.fourier_style(IMAGE, IMAGE, 0.1), IMAGE)


def test_colour_style_goes_all_the_way_or_none():
    assert radiometry.colour_style(FLAT, IMAGE, 0.0) == pytest.approx(FLAT, abs=2)
    darker = (IMAGE * 0.6).astype(np.uint8)
    moved = radiometry.colour_style(IMAGE, darker, 1.0)
    assert moved.mean((0, 1)) == pytest.approx(darker.mean((0, 1)), abs=4)
    assert moved.std() == pytest.approx(darker.std(), rel=0.15)
