"""A scene is examined when it is opened: what it says, refuses and moves."""

import json
import pickle
import warnings

import numpy as np
import pytest
from affine import Affine

from geodamage import Scene, SceneOptions
from geodamage.errors import OptionError, SceneError, SceneWarning
from geodamage.grid import GsdRange
from geodamage.windows import Window
from tests.conftest import CORNER, make_pixels
from tests.landscapes import landscape, later

GSD = GsdRange(0.5, 0.3, 1.0)
PLACE = landscape(600, 640)


def opened(pre, post, **options):
    return Scene.open(pre, post, gsd=GSD, options=SceneOptions(**options))


@pytest.fixture
def shifted(raster):
    """Return a pair whose post image lies 8 m east and 4 m south."""
    return raster("before.tif", PLACE), raster("after.tif", later(PLACE, 8, 16))


@pytest.mark.slow
def test_nothing_is_said_of_a_good_pair(raster):
    with opened(raster("a_pre.tif", PLACE), raster("a_post.tif", later(PLACE, 1, 1)),
                stands_shift=4.0) as scene:  # fmt: skip
        assert scene.warnings == []
        facts = scene.facts()
    assert facts["registration"]["verdict"] == "aligned"
    assert facts["registration"]["applied"] is False
    assert facts["looked_at"]["pre"]["nodata"] == 0


@pytest.mark.slow
def test_a_shift_is_in_metres_and_does_not_depend_on_the_part_asked_for(shifted):
    with pytest.warns(SceneWarning, match=r"8\.0 m east, 4\.0 m south"):
        scene = opened(*shifted, stands_shift=4.0)
    facts = scene.facts()["registration"]
    assert (facts["east_m"], facts["north_m"]) == pytest.approx((8, -4), abs=0.1)
    assert facts["verdict"] == "shifted"
    assert scene.post_shift is None
    scene.close()


@pytest.mark.slow
def test_a_shift_within_what_the_model_stands_is_no_warning(shifted):
    with opened(*shifted, stands_shift=10.0) as scene:
        assert scene.facts()["registration"]["verdict"] == "aligned"
    with opened(*shifted) as scene:
        assert scene.facts()["registration"]["model_stands_m"] is None


@pytest.mark.slow
def test_a_shift_is_applied(shifted):
    with opened(*shifted, stands_shift=4.0, registration="apply") as scene:
        assert scene.warnings == []
        window = Window(scene.extent.row + 300, scene.extent.column + 200, 200, 200)
        pixels = scene.read(window)
        assert scene.facts()["registration"]["applied"] is True
        assert scene.facts()["registration"]["field"] == "one shift"
    likeness = np.corrcoef(pixels.pre.mean(0).ravel(), pixels.post.mean(0).ravel())[0, 1]
    assert likeness > 0.9


@pytest.mark.slow
def test_a_shift_that_grows_is_applied_as_it_grows(raster):
    big = landscape(1800, 1800, 5)
    stretched = Affine(0.5 * 1.005, 0, CORNER[0], 0, -0.5 * 1.005, CORNER[1])
    pre = raster("pre.tif", big)
    post = raster("post.tif", later(big), transform=stretched)
    with opened(pre, post, registration="apply") as scene:
        assert scene.facts()["registration"]["field"] == "linear"
        window = Window(scene.extent.row + 1000, scene.extent.column + 1000, 200, 200)
        pixels = scene.read(window)
    likeness = np.corrcoef(pixels.pre.mean(0).ravel(), pixels.post.mean(0).ravel())[0, 1]
    assert likeness > 0.8


@pytest.mark.slow
def test_off_measures_nothing(shifted):
    with opened(*shifted, stands_shift=4.0, registration="off") as scene:
        assert scene.facts()["registration"] == {"asked": "off", "verdict": "off"}
        assert scene.warnings == []


@pytest.mark.slow
def test_black_without_a_tag_is_no_ground_that_stays(raster):
    pre, post = PLACE.copy(), later(PLACE, 8, 16)
    pre[:, :, :300] = post[:, :, :300] = 0
    with opened(raster("a.tif", pre), raster("b.tif", post)) as scene:
        facts = scene.facts()["registration"]
    assert (facts["east_m"], facts["north_m"]) == pytest.approx((8, -4), abs=0.2)
    assert facts["error_m"] < 1


@pytest.mark.slow
def test_another_place_is_said(raster):
    pair = raster("a.tif", landscape(900, 900, 1)), raster("b.tif", landscape(900, 900, 2))
    with pytest.warns(SceneWarning, match="post does not resemble pre"):
        scene = opened(*pair)
    assert scene.facts()["registration"]["verdict"] == "unknown"
    scene.close()


@pytest.mark.slow
def test_a_place_that_is_half_under_cloud_is_still_that_place(raster):
    pre = landscape(900, 900, 1)
    post = later(pre, 2, 2)
    post[:, :450] = 230 + np.random.default_rng(0).integers(0, 4, (3, 450, 900))
    with opened(raster("a.tif", pre), raster("b.tif", post)) as scene:
        assert scene.warnings == []
        assert scene.facts()["registration"]["verdict"] == "aligned"


@pytest.mark.slow
def test_a_shift_that_is_not_known_is_not_applied(raster):
    pair = raster("a.tif", landscape(300, 300, 1)), raster("b.tif", landscape(300, 300, 2))
    with opened(*pair) as scene:  # one block is too little to say it of a scene
        assert scene.facts()["registration"]["verdict"] == "unknown"
    with pytest.warns(SceneWarning, match="--registration apply: the shift is unknown"):
        scene = opened(*pair, registration="apply")
    assert scene.post_shift is None
    scene.close()


@pytest.mark.slow
def test_one_file_and_one_image_are_refused(raster):
    path = raster("a.tif", PLACE)
    with pytest.raises(SceneError, match="the same file"):
        opened(path, path)
    with pytest.raises(SceneError, match="the same pixels"):
        opened(path, raster("b.tif", PLACE))


@pytest.mark.slow
def test_an_image_alone_is_looked_at(raster):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = opened(raster("a.tif", PLACE), None)
    assert "registration" not in scene.facts()
    scene.close()
    with pytest.warns(SceneWarning, match="channels are equal"):
        scene = opened(raster("b.tif", np.stack([PLACE[0]] * 3)), None)
    scene.close()


@pytest.mark.slow
def test_swapped_names_are_said(raster):
    pair = raster("town_post.tif", PLACE), raster("town_pre.tif", later(PLACE))
    with pytest.warns(SceneWarning, match="by their names they are swapped"):
        scene = opened(*pair)
    scene.close()


@pytest.mark.slow
def test_angles_are_in_the_sidecar(raster):
    pre, post = raster("a.tif", PLACE), raster("b.tif", later(PLACE))
    item = {"stac_version": "1.0.0", "properties": {"view:off_nadir": 33}}
    post.with_suffix(".json").write_text(json.dumps(item))
    with pytest.warns(SceneWarning, match="33 degrees off nadir"):
        scene = opened(pre, post)
    assert scene.facts()["looked_at"]["post"]["off_nadir"] == 33
    scene.close()


def test_an_unknown_word_is_refused():
    with pytest.raises(OptionError, match="--registration sometimes"):
        SceneOptions(registration="sometimes")


@pytest.mark.slow
def test_what_was_found_is_passed_on_and_nothing_is_looked_at_again(shifted, monkeypatch):
    with opened(*shifted, registration="apply") as scene:
        window = Window(100, 100, 64, 64)
        there, reading = scene.read(window), scene.reading
    monkeypatch.setattr("geodamage.scene.scene.examine", None)
    monkeypatch.setattr("geodamage.scene.scene.exposed", None)
    again = pickle.loads(pickle.dumps(reading))
    assert again == reading
    assert again.shift is not None
    with Scene.open(*shifted, gsd=GSD, options=SceneOptions(), reading=again) as scene:
        assert np.array_equal(scene.read(window).post, there.post)


@pytest.mark.slow
def test_a_stretch_that_was_found_is_passed_on(raster):
    paths = [raster(f"{name}.tif", image.astype(np.uint16) * 3 + 500)
             for name, image in (("a", PLACE), ("b", later(PLACE, 1, 1)))]  # fmt: skip
    with opened(*paths) as scene:
        reading, pre = scene.reading, scene.read(scene.extent).pre
    assert all(scaling is not None for scaling in reading.scalings)
    with Scene.open(*paths, gsd=GSD, options=SceneOptions(), reading=reading) as scene:
        assert np.array_equal(scene.read(scene.extent).pre, pre)


@pytest.mark.slow
@pytest.mark.parametrize(("value", "given"), [(0, None), (255, None), (9, 9)])
def test_ground_that_has_the_colour_of_nodata_is_said(raster, value, given):
    pre, post = make_pixels(300, 300, low=20, high=200), make_pixels(300, 300, low=20, seed=1)
    pre[:, 100:104, 20:280] = value  # a shadow, or a roof
    pre[:, :, 290:] = post[:, :, :10] = value  # a collar is no ground
    tag = value if given is None else None
    paths = raster("pre.tif", pre, nodata=tag), raster("post.tif", post, nodata=tag)
    remedy = "give another value as nodata" if given else "gdal_edit.py -unsetnodata pre.tif"
    told = rf"^pre\.tif: 1\.\d% of .* nodata value {value} in spots narrower than 9 .*{remedy}$"
    with pytest.warns(SceneWarning, match=told):
        opened(*paths, registration="off", nodata=given).close()
