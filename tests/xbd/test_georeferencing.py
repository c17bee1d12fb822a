import json

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import LabelError, OptionError, OutputExistsError, SceneReadError
from geodamage.grid import WGS84
from geodamage.xbd.folders import find_pairs, read_image
from geodamage.xbd.georeferencing import (
    check_fit,
    find_image_pairs,
    fit_image,
    georeference,
    to_pixels,
)
from geodamage.xbd.labels import Label, fit_lonlat, read_xbd
from tests.conftest import listing
from tests.data_folder import DATA, needs
from tests.fakes import SMALL, write_xbd
from tests.xbd.label_files import edit, no_degrees

SHAPE = (96, 96)
#: The affine of the pairs of `write_xbd`, and degrees of one metre there, about.
PLACE = np.array([[5e-6, 0, 0], [0, -5e-6, 30]])
METRE = 1 / 111_000


def labels_at(corners, affine=PLACE, *, noise=0.0):
    """Return labels with these vertices, whose degrees are off by `noise` degrees."""
    rng = np.random.default_rng(0)
    return [
        Label(
            "a",
            shapely.Polygon(ring),
            None,
            shapely.Polygon(
                np.column_stack([ring, np.ones(len(ring))]) @ affine.T
                + rng.normal(0, noise, (len(ring), 2))
            ),
        )
        for ring in corners
    ]


def square(x, y, side=20):
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


FOUR = [square(x, y) for x in (5, 60) for y in (5, 60)]


def shift_a_label(metres):
    def change(features):
        ring = shapely.from_wkt(features["lng_lat"][0]["wkt"])
        moved = shapely.transform(ring, lambda xy: xy + np.array([0, metres * METRE]))
        features["lng_lat"][0]["wkt"] = moved.wkt

    return change


@SMALL
@given(
    st.tuples(*[st.floats(-1e-6, 1e-6)] * 2),
    st.tuples(st.floats(2e-6, 1e-5), st.floats(-1e-5, -2e-6)),
    st.tuples(st.floats(-179, 179), st.floats(-80, 80)),
)
def test_an_affine_is_found_again_to_a_micrometre(turn, scale, corner):
    affine = np.array([[scale[0], turn[0], corner[0]], [turn[1], scale[1], corner[1]]])
    fit = fit_image(labels_at(FOUR, affine), SHAPE)
    assert np.array(fit.transform[:6]) == pytest.approx(affine.ravel(), abs=1e-11)
    assert fit.vertices == 20
    assert fit.rms <= fit.maximum < 1e-6


def test_residuals_are_metres_on_the_ground():
    labels = labels_at(FOUR, noise=0.2 * METRE)
    fit = fit_image(labels, SHAPE)
    assert 0.1 < fit.rms < fit.maximum < 1
    ring = np.asarray(labels[0].polygon.exterior.coords)
    placed = [fit.transform @ tuple(vertex) for vertex in ring]
    degrees = np.asarray(labels[0].lonlat.exterior.coords)
    _, _, metres = WGS84.inv(*degrees.T, *np.transpose(placed))
    assert max(metres) <= fit.maximum


@pytest.mark.slow
def test_the_corner_is_as_uncertain_as_experiments_say():
    corner = (0, 96)
    one = [square(60, 10)]
    errors = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        (label,) = labels_at(one)
        ring = np.asarray(label.lonlat.exterior.coords)[:-1] + rng.normal(0, 0.1 * METRE, (4, 2))
        label = Label("a", label.polygon, None, shapely.Polygon(ring))
        x, y = fit_image([label], SHAPE).transform @ corner
        errors.append(np.array([x, y]) - (PLACE @ [*corner, 1]))
    seen = np.std(errors) / METRE / 0.1
    design = np.column_stack([[*one[0], one[0][0]], np.ones(5)])
    expected = np.sqrt(np.array([*corner, 1]) @ np.linalg.inv(design.T @ design) @ [*corner, 1])
    assert seen == pytest.approx(expected, rel=0.15)
    certain = fit_image(labels_at(one), SHAPE)
    assert certain.corner_error == pytest.approx(0.003 * expected, rel=0.01)


def test_nothing_is_fitted_to_a_line_or_to_pixels_alone():
    assert fit_image([], SHAPE) is None
    assert fit_image([Label("a", shapely.Polygon(FOUR[0]), None)], SHAPE) is None
    line = [[(0, 0), (4, 4), (8, 8)]]
    assert fit_image(labels_at(line), SHAPE) is None


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (labels_at(FOUR, noise=3 * METRE), r"over 1 m; its pixels and degrees are of two images"),
        (labels_at([square(3, 3, 0.2)]), "leave a corner of the image uncertain"),
        (labels_at(FOUR, PLACE * [[1, 1, 1], [1, 1e-4, 1]]), "pixels of"),
        (labels_at(FOUR, PLACE * [[1e3, 1, 1], [1e3, 1e3, 1]]), "pixels of"),
        (labels_at(FOUR, PLACE + np.array([[0, 0, 0], [0, 0, 90]])), "over 1 m"),
        (labels_at(FOUR, PLACE * 1e-4), "pixels of"),
    ],
)
def test_what_cannot_be_the_place_is_refused(labels, why):
    with pytest.raises(LabelError, match=f"storm_1 pre: .*{why}"):
        check_fit(fit_image(labels, SHAPE), SHAPE, "storm_1 pre")


def test_images_become_geotiffs_at_their_place(tmp_path):
    folder = write_xbd(tmp_path / "xbd", ["storm_1", "storm_2"])
    outcomes = list(georeference(find_image_pairs(folder), tmp_path / "new" / "tifs"))
    assert [outcome.pair for outcome in outcomes] == ["storm_1", "storm_2"]
    assert len(listing(tmp_path / "new" / "tifs")) == 4
    for number, outcome in enumerate(outcomes):
        for image, date in zip(outcome.images, ("pre", "post"), strict=True):
            assert (image.date, image.labels_of) == (date, date)
            with rasterio.open(image.path) as dataset:
                expected = Affine(5e-6, 0, number * 0.1, 0, -5e-6, 30)
                assert dataset.transform.almost_equals(expected, 1e-9)
                assert dataset.crs == "EPSG:4326"
                assert dataset.profile["tiled"]
                assert dataset.compression.name == "deflate"
                assert dataset.dtypes == ("uint8",) * 3
            source = folder / "images" / f"{outcome.pair}_{date}_disaster.png"
            assert np.array_equal(read_image(image.path), read_image(source))


@pytest.mark.parametrize("missing", ["file", "degrees"])
def test_a_date_without_labels_takes_those_of_its_partner(tmp_path, missing):
    folder = write_xbd(tmp_path / "xbd", ["storm_1"])
    if missing == "file":
        (folder / "labels" / "storm_1_pre_disaster.json").unlink()
    else:
        edit(folder, "pre", no_degrees)
    (outcome,) = georeference(find_image_pairs(folder), tmp_path / "tifs")
    assert [image.labels_of for image in outcome.images] == ["post", "post"]
    with rasterio.open(outcome.images[0].path) as dataset:
        assert dataset.transform.almost_equals(Affine(5e-6, 0, 0, 0, -5e-6, 30), 1e-9)


def test_a_pair_that_cannot_be_placed_does_not_stop_the_others(tmp_path):
    names = ["storm_1", "storm_2", "storm_3", "storm_4", "storm_5", "storm_6"]
    folder = write_xbd(tmp_path / "xbd", names)
    for date in ("pre", "post"):
        edit(folder, date, no_degrees, "storm_1")
    edit(folder, "post", shift_a_label(30), "storm_2")
    (folder / "labels" / "storm_3_pre_disaster.json").write_text("{")
    (folder / "images" / "storm_4_post_disaster.png").write_bytes(b"\x89PNG")
    (folder / "images" / "storm_5_post_disaster.png").unlink()
    outcomes = list(georeference(find_image_pairs(folder), tmp_path / "tifs"))
    reasons = {outcome.pair: outcome.why for outcome in outcomes}
    assert "storm_1: neither label file has 3 vertices" in reasons["storm_1"]
    assert "storm_2 post: a label vertex lies" in reasons["storm_2"]
    assert "storm_3_pre_disaster.json" in reasons["storm_3"]
    assert "storm_4_post_disaster.png" in reasons["storm_4"]
    assert "storm_5_post_disaster.*: no such image" in reasons["storm_5"]
    assert reasons["storm_6"] is None
    expected = [f"storm_6_{date}_disaster.tif" for date in ("post", "pre")]
    assert listing(tmp_path / "tifs") == expected


def test_labels_of_an_image_of_another_size_are_refused(tmp_path):
    folder = write_xbd(tmp_path / "xbd", ["storm_1"])
    path = folder / "labels" / "storm_1_pre_disaster.json"
    document = json.loads(path.read_text()) | {"metadata": {"width": 96, "height": 1024}}
    path.write_text(json.dumps(document))
    (outcome,) = georeference(find_image_pairs(folder), tmp_path / "tifs")
    assert "are of 1024 x 96 pixels and the image of storm_1 pre has 96 x 96" in outcome.why


def test_nothing_is_replaced_unasked(tmp_path):
    folder = write_xbd(tmp_path / "xbd", ["storm_1", "storm_2"])
    pairs = find_image_pairs(folder)
    old = tmp_path / "storm_2_post_disaster.tif"
    old.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        list(georeference(pairs, tmp_path))
    assert old.read_bytes() == b"mine"
    assert listing(tmp_path) == [old.name, "xbd"]
    assert len(list(georeference(pairs, tmp_path, overwrite=True))) == 2
    assert read_image(old).shape == (96, 96, 3)


def test_an_image_is_never_replaced(tmp_path, raster):
    folder = write_xbd(tmp_path / "xbd", ["storm_1"])
    (folder / "images" / "storm_1_pre_disaster.png").unlink()
    image = raster("xbd/images/storm_1_pre_disaster.tif", np.ones((3, *SHAPE), np.uint8))
    content = image.read_bytes()
    with pytest.raises(OptionError, match="is also an input"):
        list(georeference(find_image_pairs(folder), folder / "images", overwrite=True))
    assert image.read_bytes() == content


def test_pairs_are_found_by_their_images_in_folders_and_downloads(tmp_path):
    for tier in ("train", "hold"):
        folder = write_xbd(tmp_path / tier, [f"{tier}_1"])
        (folder / "labels" / f"{tier}_1_post_disaster.json").unlink()
    (folder / "images" / "notes.txt").write_text("")
    assert [pair.name for pair in find_image_pairs(tmp_path)] == ["train_1", "hold_1"]
    assert [pair.name for pair in find_image_pairs(folder)] == ["hold_1"]
    write_xbd(tmp_path / "tier3", ["hold_1"])
    with pytest.raises(LabelError, match=r"hold_1: is in .*tier3 and in .*hold"):
        find_image_pairs(tmp_path)
    with pytest.raises(LabelError, match="give the folder of an xBD download"):
        find_image_pairs(tmp_path / "none")


def test_places_are_found_in_an_image_of_any_crs(raster):
    path = raster("utm.tif", np.ones((3, 8, 8), np.uint8))
    with rasterio.open(path) as dataset:
        x, y = dataset.transform @ (3, 5)
    lon, lat = rasterio.warp.transform("EPSG:32616", "EPSG:4326", [x], [y])
    found = to_pixels(path, np.array([[lon[0], lat[0]]]))
    assert found == pytest.approx(np.array([[3, 5]]), abs=1e-4)


def test_an_image_that_says_no_place_is_refused(tmp_path, raster):
    plain = tmp_path / "plain.tif"
    cv2.imwrite(str(plain), np.ones((8, 8, 3), np.uint8))
    with pytest.raises(LabelError, match=r"plain\.tif: has no georeference"):
        to_pixels(plain, np.zeros((1, 2)))
    (tmp_path / "text.tif").write_text("<VRTDataset/>")
    with pytest.raises(SceneReadError, match=r"text\.tif"):
        to_pixels(tmp_path / "text.tif", np.zeros((1, 2)))
    far = raster("far.tif", np.ones((3, 8, 8), np.uint8))
    with pytest.raises(LabelError, match="does not hold its labels"):
        to_pixels(far, np.array([[500.0, 95.0]]))


@pytest.mark.slow
@pytest.mark.data
@needs("xbd")
def test_every_real_label_file_with_degrees_fits_to_about_a_centimetre():
    fits = []
    for pair in find_pairs(DATA / "xbd")[::6]:
        for date in ("pre", "post"):
            if pair.label_file(date).exists():
                labels = read_xbd(pair.label_file(date))
                if fit_lonlat(labels) is not None:
                    fits.append(check_fit(fit_image(labels, (1024, 1024)), (1024, 1024), pair.name))
    assert len(fits) > 30
    assert max(fit.rms for fit in fits) < 0.003
    assert max(fit.maximum for fit in fits) < 0.015
    assert np.median([fit.rms for fit in fits]) < 0.002
