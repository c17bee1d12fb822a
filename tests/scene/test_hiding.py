"""What hides the ground reaches the result: flags, status, reason and shares."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geodamage import Scene, SceneOptions
from geodamage.errors import OptionError, SceneReadError
from geodamage.grid import GsdRange
from geodamage.scene.cells import seen_cells
from geodamage.scene.pixels import OBSCURED_POST, OBSCURED_PRE
from geodamage.windows import Window
from tests.conftest import CORNER, ROOFS, UTM, make_arrays, make_raster, run_command
from tests.landscapes import landscape, later

GSD = GsdRange(0.5, 0.3, 1.0)
PLACE = landscape(256, 256)


def flags(pair, **options):
    """Return the flags of a whole scene."""
    with Scene.open(*pair, gsd=GSD, options=SceneOptions(**options), examined=False) as scene:
        window = scene.extent.buffer(scene.margin)
        marked = scene.mark(scene.read(window), window).missing
        margin = scene.margin
        return marked[margin : margin + 256, margin : margin + 256]


@pytest.fixture
def pair(raster):
    return raster("a.tif", PLACE), raster("b.tif", later(PLACE))


def test_what_a_window_shares_with_the_one_above_changes_nothing(raster, monkeypatch):
    post = later(landscape(640, 320))
    post[:, 300:420, 40:200] = 225 + (landscape(120, 160, 4) // 50)
    post[:, 500:540] = 90
    rows = []

    def counted(images, *arguments, **options):
        above = options.get("above")
        rows.append(images[0].shape[1] // 8 - (0 if above is None else len(above.whole[0])))
        return seen_cells(images, *arguments, **options)

    monkeypatch.setattr("geodamage.scene.hiding.seen_cells", counted)
    pair = raster("c.tif", landscape(640, 320)), raster("d.tif", post)
    with Scene.open(*pair, gsd=GSD, examined=False) as scene:
        margin, windows = scene.margin, [Window(top, 0, 160, 320) for top in range(0, 640, 160)]

        def marked(window):
            around = window.buffer(margin)
            return scene.mark(scene.read(around), around).missing[margin:-margin, margin:-margin]

        in_turn = [marked(window) for window in windows]
        backwards = [marked(window) for window in windows[::-1]][::-1]
    assert np.array_equal(in_turn, backwards)
    assert (np.vstack(in_turn) & OBSCURED_POST).any()
    assert rows == [76, 20, 20, 20, *[76] * 4]


@pytest.mark.slow
def test_polygons_are_unusable(pair, tmp_path):
    path = tmp_path / "cloud.geojson"
    left, top = CORNER
    box = shapely.box(left + 20, top - 60, left + 50, top - 10)
    gpd.GeoDataFrame(geometry=[box], crs=UTM).to_crs(4326).to_file(path)
    found = flags(pair, post_unusable=path)
    assert (found[22:118, 42:98] == OBSCURED_POST).all()
    assert (found[:18] == 0).all()
    assert (found[:, 104:] == 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("code", "doubted"), [(26716, True), (4326, False)])
def test_what_is_unusable_and_placed_by_a_doubtful_datum_is_told(
    pair, raster, tmp_path, code, doubted
):
    left, top = CORNER
    box = gpd.GeoSeries([shapely.box(left + 20, top - 60, left + 50, top - 10)], crs=UTM)
    box.to_crs(code).to_file(tmp_path / "cloud.gpkg")
    (x, y), _ = box.to_crs(code).get_coordinates().to_numpy()[[3, 0]]
    size = 1e-5 if code == 4326 else 1.0
    mask = raster("udm.tif", np.ones((1, 32, 32), np.uint8), crs=f"EPSG:{code}",
                  transform=Affine(size, 0, x, 0, -size, y))  # fmt: skip
    for path in (tmp_path / "cloud.gpkg", mask):
        options = SceneOptions(post_unusable=path)
        with Scene.open(*pair, gsd=GSD, options=options, examined=False) as scene:
            told = [text for text in scene.warnings if f"{path}: from NAD27 to WGS 84" in text]
        assert len(told) == doubted


@pytest.mark.slow
def test_a_band_of_a_raster_is_unusable_also_without_the_detector(pair, raster):
    bands = np.zeros((3, 256, 256), np.uint8)
    bands[1, 100:120, 30:50] = 1
    mask = raster("udm.tif", bands)
    found = flags(pair, pre_unusable=mask, unusable_band=2, obscured="off")
    expected = np.zeros((256, 256), np.uint8)
    expected[100:120, 30:50] = OBSCURED_PRE
    assert np.array_equal(found, expected)
    assert not flags(pair, pre_unusable=mask, unusable_band=1).any()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "palette"])
def test_a_raster_of_labels_may_have_any_type_and_a_palette(pair, raster, dtype):
    labels = np.zeros((1, 256, 256), "uint8" if dtype == "palette" else dtype)
    labels[0, 100:120, 30:50] = 3
    mask = raster("udm.tif", labels, **({"photometric": dtype} if dtype == "palette" else {}))
    if dtype == "palette":
        with rasterio.open(mask, "r+") as dataset:
            dataset.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})
    found = flags(pair, pre_unusable=mask, obscured="off")
    assert (found[100:120, 30:50] == OBSCURED_PRE).all()
    assert np.count_nonzero(found) == 400


@pytest.mark.slow
def test_a_file_that_is_not_usable_is_refused(pair, raster, tmp_path):
    mask = raster("udm.tif", np.zeros((3, 256, 256), np.uint8))
    with pytest.raises(OptionError, match="--unusable-band 5"):
        flags(pair, pre_unusable=mask, unusable_band=5)
    with pytest.raises(SceneReadError, match="no such file"):
        flags(pair, post_unusable=tmp_path / "none.tif")


def under_fill(folder, *options):
    """Assess the drawn town with white fill over the lower part of post; return rows and facts."""
    folder.mkdir(exist_ok=True)
    pre, post = make_arrays()
    post[:, 96:128] = 255
    paths = make_raster(folder / "pre.tif", pre), make_raster(folder / "post.tif", post)
    output = folder / "b.geojson"
    result = run_command("assess", *paths, "-o", output, *options)
    assert result.exit_code == 0, result.stderr
    return gpd.read_file(output), json.loads(output.with_suffix(".geojson.json").read_text())


@pytest.mark.slow
def test_found_buildings_under_fill_are_not_graded(tmp_path, model):
    frame, facts = under_fill(tmp_path / "a", "--model", model)
    assert len(frame) == len(ROOFS)
    blank = frame[frame["status"] == "not_assessed"]
    assert len(blank) == 2
    assert set(blank["status_reason"]) == {"obscured_post"}
    assert (blank["valid_fraction"] == 0).all()
    assert blank["damage"].isna().all()
    assert facts["obscured"]["ground_post"] == pytest.approx(0.25)
    assert facts["obscured"]["buildings"] == pytest.approx(0.4)
    assert any("hides 0.0% of the ground in pre and 25.0% in post" in w for w in facts["warnings"])


@pytest.mark.slow
def test_the_detector_is_turned_off(tmp_path, model):
    frame, facts = under_fill(tmp_path / "a", "--model", model, "--obscured", "off")
    assert (frame["status"] != "not_assessed").all()
    assert facts["scene"]["obscured"] == "off"
    assert facts["obscured"]["ground_post"] == 0
    assert facts["warnings"] == []
