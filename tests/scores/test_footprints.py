import json

import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from geodamage.scores.footprints import score_buildings
from tests.conftest import CORNER, UTM, make_raster, run_command

TRANSFORM = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])


def polygon(top, left, height, width):
    """Return the outline of a box of pixels."""
    (x0, y0), (x1, y1) = TRANSFORM @ (left, top), TRANSFORM @ (left + width, top + height)
    return shapely.box(x0, y1, x1, y0)


def layer(path, *boxes, crs=UTM):
    shapes = [polygon(*box) for box in boxes]
    gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=UTM).to_crs(crs).to_file(path)
    return path


def mask(*boxes, value=255, shape=(60, 80)):
    drawn = np.zeros(shape, np.uint8)
    for top, left, height, width in boxes:
        drawn[top : top + height, left : left + width] = value
    return drawn


def raster(path, array, **options):
    return make_raster(path, array[None], **options)


def score(*arguments, code=0):
    result = run_command("score", "--buildings", *arguments, *(["--json"] if code == 0 else []))
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout) if code == 0 else result.stderr


TRUTH = (10, 10, 20, 20), (10, 50, 20, 20)
#: The first building half over, one that is none; the second is missed.
FOUND = (10, 14, 20, 20), (40, 10, 10, 10)
SHARED, SAID, THERE = 20 * 16, 20 * 20 + 100, 2 * 400


def check(figures, tolerance=0.0):
    assert figures["jaccard"] == pytest.approx(SHARED / (SAID + THERE - SHARED), abs=tolerance)
    found = figures["buildings"]
    assert (found["tp"], found["fn"], found["fp"]) == (1, 1, 1)
    assert found["f1"] == 0.5
    assert figures["images"] == 1


@pytest.mark.parametrize("value", [1, 255])
def test_masks_are_compared(tmp_path, value):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH, value=value))
    check(score(raster(tmp_path / "p.tif", mask(*FOUND)), truth))


def test_polygons_are_drawn_on_the_truth(tmp_path):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH))
    check(score(layer(tmp_path / "p.geojson", *FOUND, crs=4326), truth))


def test_polygons_of_truth_are_drawn_on_the_prediction(tmp_path):
    check(score(raster(tmp_path / "p.tif", mask(*FOUND)), layer(tmp_path / "t.gpkg", *TRUTH)))


@pytest.mark.slow
def test_two_layers_are_drawn_on_pixels_of_the_users_size(tmp_path):
    prediction, truth = layer(tmp_path / "p.gpkg", *FOUND), layer(tmp_path / "t.gpkg", *TRUTH)
    check(score(prediction, truth))
    check(score(prediction, truth, "--gsd", 0.1), 0.01)


def test_a_prediction_on_other_pixels_is_warped(tmp_path):
    fine = np.kron(mask(*FOUND), np.ones((4, 4), np.uint8))
    prediction = raster(tmp_path / "p.tif", fine, transform=TRANSFORM @ Affine.scale(0.25))
    check(score(prediction, raster(tmp_path / "t.tif", mask(*TRUTH))))


def test_pictures_without_a_place_are_compared_pixel_by_pixel(tmp_path):
    for name, boxes in (("p.png", FOUND), ("t.png", TRUTH)):
        assert cv2.imwrite(str(tmp_path / name), mask(*boxes))
    check(score(tmp_path / "p.png", tmp_path / "t.png"))
    said = score(layer(tmp_path / "p.gpkg", *FOUND), tmp_path / "t.png", code=4)
    assert "has no place on the ground" in said


def test_probabilities_are_cut_at_a_threshold(tmp_path):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH))
    shares = mask(*FOUND).astype(np.float32) / 255 * 0.6
    prediction = raster(tmp_path / "p.tif", shares)
    check(score(prediction, truth))
    assert score(prediction, truth, "--threshold", 0.7)["jaccard"] == 0
    grey = raster(tmp_path / "g.tif", mask(*FOUND, value=150))
    assert "give --threshold" in score(grey, truth, code=4)
    check(score(grey, truth, "--threshold", 0.5))


def test_what_the_truth_does_not_know_does_not_count(tmp_path):
    known = mask(*TRUTH, value=1)
    known[:, 40:] = 9
    figures = score(
        raster(tmp_path / "p.tif", mask(*FOUND)), raster(tmp_path / "t.tif", known, nodata=9)
    )
    assert figures["buildings"]["fn"] == 0
    background = raster(tmp_path / "b.tif", mask(*TRUTH), nodata=0)
    check(score(raster(tmp_path / "q.tif", mask(*FOUND)), background))


def test_what_the_prediction_leaves_out_is_missed(tmp_path):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH))
    figures = score(raster(tmp_path / "p.tif", mask(TRUTH[0])[:40, :40]), truth)
    assert (figures["buildings"]["tp"], figures["buildings"]["fn"]) == (1, 1)


def test_an_area_limits_what_counts(tmp_path):
    area = layer(tmp_path / "aoi.gpkg", (0, 0, 35, 40))
    figures = score(
        layer(tmp_path / "p.gpkg", *FOUND), raster(tmp_path / "t.tif", mask(*TRUTH)), "--aoi", area
    )
    assert figures["buildings"]["f1"] == 1
    assert figures["pixels"]["tp"] == SHARED


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("code", "doubted"), [(26716, True), (4326, False)])
def test_what_is_placed_by_a_doubtful_datum_is_told(tmp_path, code, doubted):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH))
    area = layer(tmp_path / "aoi.gpkg", (0, 0, 60, 80), crs=code)
    found = layer(tmp_path / "p.gpkg", *FOUND, crs=code)
    result = run_command("score", "--buildings", found, truth, "--aoi", area, "--json")
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if "from NAD27 to WGS 84" in line]
    assert ["aoi.gpkg" in line for line in told] == [False, True] * doubted
    assert len(json.loads(result.stdout)["warnings"]) == len(told)


@pytest.mark.parametrize("beside", [(10_000, 10_000, 10, 10), (100, 100, 10, 10)])
def test_an_area_beside_all_truths_is_refused(tmp_path, beside):
    truth, area = raster(tmp_path / "t.tif", mask(*TRUTH)), layer(tmp_path / "a.gpkg", beside)
    done = run_command(
        "score", "--buildings", layer(tmp_path / "p.gpkg", *FOUND), truth, "--aoi", area
    )
    assert done.exit_code == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "a.gpkg: lies beside all truths" in line


def test_an_empty_prediction_has_found_nothing(tmp_path):
    empty = tmp_path / "p.geojson"
    empty.write_text('{"type":"FeatureCollection","features":[]}')
    figures = score(empty, raster(tmp_path / "t.tif", mask(*TRUTH)))
    assert figures["jaccard"] == 0
    assert figures["buildings"]["fn"] == 2
    bare = score(empty, raster(tmp_path / "bare.tif", mask()))
    assert bare["jaccard"] is None


@pytest.mark.slow
def test_folders_are_added_up(tmp_path):
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
    for number in range(3):
        layer(tmp_path / "p" / f"a{number}.geojson", *FOUND)
        raster(tmp_path / "t" / f"a{number}_mask.tif", mask(*TRUTH))
    figures = score(tmp_path / "p", tmp_path / "t")
    assert figures["images"] == 3
    assert figures["buildings"]["tp"] == 3
    (tmp_path / "p" / "a1.geojson").unlink()
    assert "a1_mask.tif: no prediction in" in score(tmp_path / "p", tmp_path / "t", code=4)


def test_touching_polygons_stay_two_buildings():
    truth = np.zeros((4, 8), int)
    truth[:, :4], truth[:, 4:] = 1, 2
    assert score_buildings(truth, truth).buildings == (2, 0, 0)
    assert score_buildings(truth, np.ones((4, 8), int)).buildings == (1, 1, 0)


def test_people_see_a_table(tmp_path):
    truth = raster(tmp_path / "t.tif", mask(*TRUTH))
    result = run_command("score", "--buildings", truth, truth)
    assert "Jaccard 1.0000 by pixel" in result.stdout
    assert "by building" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("gone.tif", "t.tif"), 4, "gone.tif: no such file or folder"),
        ((".", "t.tif"), 4, "one is a folder"),
        (("t.tif", "text.tif"), 4, "not a GeoTIFF, or damaged"),
        (("text.geojson", "t.tif"), 4, "not a vector file"),
        (("t.tif", "t.tif", "--threshold", "2"), 2, "--threshold 2"),
        (("t.tif", "t.tif", "--gsd", "0"), 2, "--gsd 0"),
        (("t.tif", "t.tif", "--strict"), 2, "belong to the official metric"),
        (("wild.tif", "t.tif"), 4, "holds -1 to 3; a probability is 0-1"),
    ],
)
def test_what_cannot_be_scored_is_said(tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    raster(tmp_path / "t.tif", mask(*TRUTH))
    raster(tmp_path / "wild.tif", np.array([[-1, 3]] * 60, np.float32))
    for name in ("text.tif", "text.geojson"):
        (tmp_path / name).write_text("no image")
    assert said in score(*arguments, code=code)


def test_options_of_buildings_need_buildings(tmp_path):
    result = run_command("score", tmp_path, tmp_path, "--threshold", 0.5)
    assert result.exit_code == 2
    assert "--threshold: only with --buildings; also give --buildings" in result.stderr
