"""Imagery of more than 8 bits is stretched by the ground that both dates show."""

import json

import numpy as np
import pytest
import rasterio

from geodamage import Scene, SceneOptions
from geodamage.grid import GsdRange
from geodamage.scene.stretch import PAIR
from geodamage.windows import Window
from tests.landscapes import landscape, later

GSD = GsdRange(0.5, 0.3, 1.0)
PLACE = np.clip(landscape(256, 256) * 1.7 - 80, 1, 254).astype(np.uint8)
AFTER = np.clip((later(PLACE) - 35.0) / 0.8, 1, 254).astype(np.uint8)
ALL = Window(0, 0, 256, 256)


def opened(pre, post, **options):
    read = {"registration": "off"} | options
    return Scene.open(pre, post, gsd=GSD, options=SceneOptions(**read))


def of_16_bits(image, gain=20.0, offset=300.0):
    return (image * gain + offset).astype(np.uint16)


def ends(scene, place=ALL):
    pixels = scene.read(place)
    clear = pixels.missing == 0
    return [np.percentile(image[:, clear], (0.5, 99.5)) for image in (pixels.pre, pixels.post)]


@pytest.mark.slow
def test_both_dates_lie_where_the_models_learnt(raster):
    with opened(raster("a.tif", of_16_bits(PLACE)), raster("b.tif", of_16_bits(AFTER))) as scene:
        pre, post = ends(scene)
        facts, said = scene.facts(), scene.remarks
        assert scene.warnings == []
    assert min(pre[0], post[0]) == pytest.approx(PAIR.ends[0], abs=5)
    assert max(pre[1], post[1]) == pytest.approx(
        PAIR.ends[1], abs=5
    )  # the colours of this place are at a bound
    one, two = facts["pre"]["scaling"], facts["post"]["scaling"]
    assert one["maximum"] == pytest.approx(two["maximum"], rel=0.02)
    assert facts["pre"]["scaling"]["from"] == "guess"
    assert [line.split("; ")[1] for line in said] == [
        "give --scale if you know better", "give --post-scale or --scale if you know better",
    ]  # fmt: skip


def test_a_scale_that_is_given_is_taken_and_not_spoken_of(raster):
    paths = raster("a.tif", of_16_bits(PLACE)), raster("b.tif", of_16_bits(AFTER))
    with opened(*paths, scale=(300, 5400)) as scene:
        assert scene.facts()["post"]["scaling"]["maximum"] == [5400.0] * 3
        assert scene.remarks == ()
        assert np.array_equal(scene.read(ALL).pre, PLACE)


def test_8_bits_in_a_wider_type_stay_as_they_are(raster):
    with opened(raster("a.tif", PLACE / np.float32(255)), raster("b.tif", AFTER)) as scene:
        assert np.array_equal(scene.read(ALL).pre, PLACE)
        assert "holds 8 bits" in scene.remarks[0]


def scalings(scene):
    facts = scene.facts()
    return [facts[role]["scaling"][end][0] for role in ("pre", "post") for end in ("minimum",
            "maximum")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fill", [0, 65535, 12_000])
@pytest.mark.parametrize("obscured", ["on", "off"])
def test_fill_without_a_tag_has_no_say(raster, fill, obscured):
    plain = raster("a.tif", of_16_bits(PLACE)), raster("b.tif", of_16_bits(AFTER))
    with opened(*plain) as scene:
        expected = scalings(scene)
    filled = of_16_bits(AFTER)
    filled[:, 200:] = fill
    with opened(plain[0], raster("c.tif", filled), obscured=obscured) as scene:
        assert scalings(scene) == pytest.approx(expected, rel=0.12, abs=300)


@pytest.mark.slow
def test_what_only_one_date_shows_has_no_say(raster):
    pre = of_16_bits(PLACE)
    bright = np.concatenate([pre, np.minimum(pre.astype(int) * 9, 65535).astype(np.uint16)], axis=2)
    paths = raster("a.tif", pre), raster("b.tif", of_16_bits(AFTER))
    with opened(*paths) as scene:
        expected = scalings(scene)
    with opened(raster("c.tif", bright), paths[1]) as scene:
        assert scalings(scene) == pytest.approx(expected, rel=0.02, abs=20)


def test_an_image_alone_is_stretched_too(raster):
    with Scene.open(raster("a.tif", of_16_bits(PLACE)), None, gsd=GSD) as scene:
        found = np.percentile(scene.read(ALL).pre, (0.5, 99.5))
        assert scene.facts()["image"]["scaling"]["from"] == "guess"
    assert found == pytest.approx((24, 198), abs=3)


def with_factors(path, scale, offset):
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,) * 3, (offset,) * 3
    return path


@pytest.mark.slow
def test_dates_are_compared_by_what_was_measured(raster):
    reflectance = PLACE * 10.0, AFTER * 10.0
    plain = [raster(f"{n}.tif", image.astype(np.uint16)) for n, image in enumerate(reflectance)]
    with opened(*plain) as scene:
        expected = scalings(scene)
    offset = raster("offset.tif", (reflectance[1] + 2000).astype(np.uint16))
    paths = with_factors(plain[0], 1e-4, 0.0), with_factors(offset, 1e-4, -0.2)
    with opened(*paths) as scene:
        found, facts, said = scalings(scene), scene.facts(), scene.remarks
    assert found[:2] == pytest.approx(expected[:2], abs=2)
    assert np.array(found[2:]) == pytest.approx(np.array(expected[2:]) + 2000, abs=2)
    assert facts["post"]["scaling"]["known"] == {
        "maximum": None, "scale": 1e-4, "offset": -0.2, "from": ["the file"],
    }  # fmt: skip
    assert "knowing by the file that values are times 0.0001 plus -0.2" in said[1]
    assert facts["post"]["scaling"]["from"] == "guess"


@pytest.mark.slow
def test_what_a_sensor_saturates_stays_saturated_and_has_no_say(raster):
    images = [(image * 6.0).astype(np.uint16) for image in (PLACE, AFTER)]
    paths = [raster(f"{n}.tif", image, nbits=11) for n, image in enumerate(images)]
    with opened(*paths) as scene:
        expected = scalings(scene)
    images[1][:, 60:120, 60:120] = 2047
    with opened(paths[0], raster("c.tif", images[1], nbits=11), obscured="off") as scene:
        found, post, said = scalings(scene), scene.read(ALL).post, scene.remarks
    assert found == pytest.approx(expected, rel=0.05, abs=20)
    assert (post[:, 60:120, 60:120] == 255).all()
    assert "2047 is the highest value" in said[0]


@pytest.mark.slow
def test_a_highest_value_that_pixels_are_above_is_not_believed(raster):
    paths = raster("a.tif", of_16_bits(PLACE)), raster("b.tif", of_16_bits(AFTER))
    with opened(*paths) as scene:
        expected = scalings(scene)
    item = {"stac_version": "1.0.0", "assets": {"data": {"href": "a.tif", "raster:bands": [
        {"bits_per_sample": 11}] * 3}}}  # fmt: skip
    paths[0].with_suffix(".json").write_text(json.dumps(item))
    with opened(*paths) as scene:
        assert scalings(scene) == expected
        assert scene.facts()["pre"]["scaling"]["known"]["maximum"] is None
