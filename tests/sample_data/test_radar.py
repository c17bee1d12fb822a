"""The drawn images of a radar: what makes them one, and that the optical ones stay as they are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sample_data.radar import draw_look, draw_radar
from sample_data.scenes import draw_scene

ROOT = Path(__file__).parents[2]
SEED = 3


@pytest.fixture(scope="module")
def scene():
    return draw_scene(SEED, 256, sar=True)


@pytest.mark.slow
def test_the_optical_images_are_the_same_with_and_without(scene):
    plain = draw_scene(SEED, 256)
    assert plain.post_sar is None
    assert np.array_equal(plain.pre, scene.pre)
    assert np.array_equal(plain.post, scene.post)
    assert plain.grades == scene.grades


@pytest.mark.slow
def test_a_seed_decides_the_image(scene):
    again = draw_scene(SEED, 256, sar=True)
    assert np.array_equal(again.post_sar, scene.post_sar)
    assert scene.post_sar.shape == (1, 256, 256)
    assert scene.post_sar.dtype == np.uint8


def test_what_is_higher_falls_towards_the_sensor_and_its_shadow_away():
    look = draw_look(np.random.default_rng(0))
    assert look.nearer @ look.away < 0 < look.shadow @ look.away
    assert np.isclose(np.linalg.norm(look.away), 1)


def contrast(grade, *, cause="track"):
    """Return the mean and the share of brightest pixels over one building of a grade."""
    from sample_data.damage import Harm
    from sample_data.layout import Building, RoofPart, Town

    box = np.array([[50.0, 50], [80, 50], [80, 74], [50, 74]])
    part = RoofPart(np.array([50.0, 62]), np.array([1.0, 0]), 30.0, 24.0, (0, 0))
    town = Town(buildings=[Building(box, (part,), 8.0, True, 0.0, (1.0, 1.0, 1.0))])
    found = []
    for seed in range(12):
        harms = [Harm(grade, cause, seed)]
        image = draw_radar(np.random.default_rng(seed), town, [], harms, None, 128)[0]
        around = image[36:88, 36:94].astype(float)
        found.append(np.percentile(around, 99) / max(np.median(image), 1))
    return float(np.mean(found))


def test_a_building_that_is_gone_has_lost_the_bright_line_of_its_walls():
    assert contrast(1) > 1.15 * contrast(4)


def test_water_sends_nothing_back():
    from sample_data.layout import Town

    water = np.full((40, 40), -1, np.float32)
    water[:, 20:] = 1
    image = draw_radar(np.random.default_rng(0), Town(), [], [], water, 128)[0]
    assert image[:, 80:].mean() < 0.6 * image[:, :48].mean()


@pytest.mark.slow
def test_the_sample_gets_an_image_of_a_radar(tmp_path):
    command = [sys.executable, "sample_data/make.py", "--output", str(tmp_path), "--sar"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=120)
    with (
        rasterio.open(tmp_path / "post_sar.tif") as radar,
        rasterio.open(tmp_path / "pre.tif") as pre,
    ):
        assert (radar.count, radar.dtypes[0]) == (1, "uint8")
        assert (radar.crs, radar.transform, radar.shape) == (pre.crs, pre.transform, pre.shape)
    committed = ROOT / "sample_data" / "post.tif"
    assert (tmp_path / "post.tif").read_bytes() == committed.read_bytes()
