import json
import re

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from geodamage import Job, Scene, SceneOptions, assess, find_buildings, load_model, predict
from geodamage import write_buildings as write
from geodamage.damage import COLOURS, GRADES, rgb
from geodamage.errors import OptionError
from geodamage.fields import NAMES
from geodamage.output.publication import read_sidecar
from tests.conftest import (
    CORNER,
    GROUND,
    POST_VALUE,
    ROOFS,
    UTM,
    Roof,
    listing,
    make_arrays,
    make_model,
    make_raster,
    make_scene,
    run_command,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # pyogrio, about .geojsonl


def run(pair, output, model, *options):
    """Run the command; it must succeed. Return what it wrote."""
    result = run_command("assess", *pair, "-o", output, "--model", model, *options)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    return read(output)


def read(path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path)


def in_pixels(frame):
    """Return the rows and columns of the boxes, and grades, as `Roof`s."""
    found = []
    for (left, bottom, right, top), grade in zip(
        frame.to_crs(UTM).bounds.to_numpy(), frame["damage_class"], strict=True
    ):
        row, column = (CORNER[1] - top) * 2, (left - CORNER[0]) * 2
        numbers = row, column, (top - bottom) * 2, (right - left) * 2, grade
        assert np.abs(np.array(numbers) - np.round(numbers)).max() < 0.05
        found.append(Roof(*(round(number) for number in numbers)))
    return sorted(found)


def comparable(frame):
    """Return the rows of a frame in an order that does not depend on how they were found."""
    frame = frame.sort_values("building_id").reset_index(drop=True)
    return frame.assign(wkt=frame.geometry.normalize().to_wkt()).drop(columns="geometry")


@pytest.fixture(scope="module")
def found(pair, model, tmp_path_factory):
    return run(pair, tmp_path_factory.mktemp("found") / "b.gpkg", model)


@pytest.mark.parametrize("extension", ["geojson", "geojsonl", "gpkg", "fgb", "parquet"])
def test_every_format_has_one_polygon_per_building_with_its_grade(pair, model, tmp_path, extension):
    frame = run(pair, tmp_path / f"b.{extension}", model)
    columns = [name for name in frame.columns if name != "id"]  # GeoJSON readers add the Feature id
    assert columns == [*NAMES, "geometry"]
    assert in_pixels(frame) == sorted(ROOFS)
    assert frame.crs.to_epsg() == (4326 if "json" in extension else 32616)
    assert set(frame.geom_type) == {"Polygon"}
    assert frame.is_valid.all()
    assert frame["building_id"].is_unique
    assert listing(tmp_path) == [f"b.{extension}", f"b.{extension}.json"]


def test_fields_agree_with_each_other(found):
    places = {(roof.height * roof.width): roof for roof in ROOFS}
    for row in found.itertuples():
        roof = places[round(row.area_m2 * 4)]
        p = [row.p_none, row.p_minor, row.p_major, row.p_destroyed]
        assert np.argmax(p) + 1 == row.damage_class == roof.grade
        assert sum(p) == pytest.approx(1, abs=2e-4)
        assert row.confidence == max(p) > 0.9
        assert row.damage == GRADES[roof.grade - 1].label
        assert row.damage_score == pytest.approx(np.dot(p, range(4)) / 3, abs=2e-4)
        assert row.damaged == (roof.grade > 1)
        assert (row.status, row.valid_fraction) == ("assessed", 1)
        assert not isinstance(row.status_reason, str)
        assert row.source == "model"
        place = Transformer.from_crs(4326, UTM, always_xy=True).transform(row.lon, row.lat)
        assert shapely.Point(place).within(roof.polygon)


def test_polygons_follow_pixel_edges(found):
    assert shapely.union_all(found.geometry).equals(
        shapely.union_all([roof.polygon for roof in ROOFS])
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--tile", 48],
        ["--tile", 64, "--threads", 1],
        ["--tile", 160, "--threads", 4, "--batch-size", 3],
        ["--batch-size", 8],
        ["--memory", "700MB"],
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_the_result_does_not_depend_on_how_it_is_cut(pair, model, found, tmp_path, options):
    frame = run(pair, tmp_path / "b.gpkg", model, *options)
    assert comparable(frame).equals(comparable(found))


def test_a_crop_of_the_images_finds_the_same_buildings(model, found, tmp_path):
    arrays = make_arrays()
    crop = [
        make_raster(
            tmp_path / f"{name}.tif",
            array[:, 7:, 3:],
            transform=Affine(0.5, 0, CORNER[0] + 1.5, 0, -0.5, CORNER[1] - 3.5),
        )
        for name, array in zip(("pre", "post"), arrays, strict=True)
    ]
    assert comparable(run(crop, tmp_path / "b.gpkg", model)).equals(comparable(found))


def test_a_hole_is_kept(model, tmp_path):
    pre, post = make_arrays((64, 64), [Roof(8, 8, 30, 30, 2), Roof(42, 42, 12, 12, 2)])
    pre[:, 16:28, 16:28] = GROUND
    pair = [make_raster(tmp_path / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert sorted(len(shape.interiors) for shape in frame.geometry) == [0, 1]
    rounding = 4  # the model rounds the corners of the hole
    assert sorted(frame.area) == [12 * 12 / 4, (30 * 30 - 12 * 12 + rounding) / 4]


def test_one_building_of_two_grades_is_one_polygon_with_the_grade_of_most(model, tmp_path):
    pre, post = make_arrays((64, 64), [Roof(16, 16, 30, 30, 4)])
    post[:, 16:26] = POST_VALUE[1]
    pair = [make_raster(tmp_path / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert in_pixels(frame) == [Roof(16, 16, 30, 30, 4)]
    assert 0.5 < frame["confidence"][0] < 0.8


def test_what_the_edge_cuts_is_partial(model, tmp_path):
    pair = make_scene(tmp_path, (64, 64), [Roof(0, 10, 20, 20, 3), Roof(40, 40, 12, 12, 1)])
    frame = run(pair, tmp_path / "b.gpkg", model).sort_values("damage_class")
    assert frame["status"].to_list() == ["assessed", "partial"]
    assert frame["status_reason"].fillna("-").to_list() == ["-", "cut_by_edge_or_nodata"]


def test_a_place_without_buildings_gives_an_empty_result(model, tmp_path):
    pre, post = make_arrays((64, 64), [])
    pre[:, 5, 5] = post[:, 6, 6] = 30  # a flat image is refused
    pair = [make_raster(tmp_path / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    for extension in ("geojson", "geojsonl", "gpkg", "fgb", "parquet"):
        path = tmp_path / f"b.{extension}"
        result = run_command("assess", *pair, "-o", path, "--model", model)
        assert result.exit_code == 0, result.stderr
        assert read_sidecar(path)["buildings"] == 0
        if extension != "geojsonl":  # an empty file, which GDAL cannot open
            assert len(read(path)) == 0


def test_the_sidecar_says_all_that_the_design_asks_for(pair, model, tmp_path):
    run(pair, tmp_path / "b.geojson", model)
    facts = json.loads((tmp_path / "b.geojson.json").read_text())
    assert facts["statement"] == "preliminary, automatic, not validated in the field"
    assert {"geodamage", "python", "rasterio", "pyogrio", "pyproj"} <= set(facts["software"])
    assert facts["model"]["name"] == "bright"
    assert re.fullmatch("[0-9a-f]{64}", facts["model"]["sha256"])
    assert facts["model"]["licence"] == "CC0-1.0"
    for role, path in zip(("pre", "post"), pair, strict=True):
        (file,) = facts["scene"][role]["files"]
        assert file["path"] == str(path)
        assert {"size", "mtime", "shape"} <= set(file)
        assert facts["scene"][role]["crs"] == UTM
        assert facts["scene"][role]["scaling"] is None
    assert facts["scene"]["crs"] == UTM
    assert facts["scene"]["gsd"] == pytest.approx(0.5, rel=1e-3)
    assert {"localisation", "damaged", "seeds", "min_area"} <= set(facts["thresholds"])
    assert facts["assessed_km2"] == pytest.approx(128 * 160 / 4e6, rel=1e-2)
    grades = [roof.grade for roof in ROOFS]
    assert facts["buildings_per_grade"] == {g.label: grades.count(g) for g in GRADES}
    assert facts["buildings_per_status"] == {"assessed": 5, "partial": 0, "not_assessed": 0}
    assert facts["cut_components"] == facts["dropped_too_small"] == 0
    assert facts["warnings"] == []
    assert facts["seconds"] > 0


def test_a_raster_of_grades(pair, model, tmp_path):
    path = tmp_path / "grades.tif"
    run(pair, tmp_path / "b.geojson", model, "--raster", path)
    expected = np.zeros((128, 160), np.uint8)
    for row, column, height, width, grade in ROOFS:
        expected[row : row + height, column : column + width] = grade
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.crs == UTM
        assert dataset.transform == Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])
        assert np.array_equal(dataset.read(1), expected)
        colours = dataset.colormap(1)
        assert all(colours[g.value][:3] == rgb(COLOURS[g]) for g in GRADES)
    assert read_sidecar(path) == read_sidecar(tmp_path / "b.geojson")


def test_a_raster_of_probabilities(pair, model, tmp_path):
    path = tmp_path / "p.tif"
    run(pair, tmp_path / "b.geojson", model, "--probabilities", path)
    with rasterio.open(path) as dataset:
        values = dataset.read()
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.scales == (1 / 250,) * 5
        assert dataset.dtypes == ("uint8",) * 5
        assert dataset.nodata == 255
    assert (np.abs(values.astype(int).sum(0) - 250) <= 2).all()
    for roof in ROOFS:
        middle = values[:, roof.row + roof.height // 2, roof.column + roof.width // 2]
        assert middle.argmax() == roof.grade
    assert values[0, 0, 0] == 250
    assert read_sidecar(path)["buildings"] == 5


def write_footprints(path, ids, shapes, crs=UTM):
    gpd.GeoDataFrame({"uid": ids}, geometry=shapes, crs=crs).to_file(path)
    return path


def test_footprints_all_come_out(pair, model, tmp_path):
    far = Roof(500, 500, 20, 20, 1)
    half = Roof(118, 120, 20, 20, 1)  # 10 of its 20 rows are beyond the images
    shapes = [*(roof.polygon for roof in ROOFS), far.polygon, half.polygon, None]
    ids = [f"b{n}" for n in range(7)] + ["null"]
    footprints = write_footprints(tmp_path / "f.gpkg", ids, shapes)
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints)
    frame = frame.set_index("building_id").loc[ids]
    assert frame["damage_class"].to_list()[:5] == [roof.grade for roof in ROOFS]
    assert (frame["status"][:5] == "assessed").all()
    assert frame["status"].to_list()[5:] == ["not_assessed", "partial", "not_assessed"]
    assert frame["status_reason"].to_list()[5:] == ["outside_pre", "outside_pre", "no_geometry"]
    graded = list(NAMES[NAMES.index("damage") : NAMES.index("status")])
    assert frame.loc[["b5", "null"], graded].isna().all(axis=None)
    assert frame["valid_fraction"].to_list()[:7] == [1, 1, 1, 1, 1, 0, 0.5]
    assert frame.geometry.isna().to_list() == [False] * 7 + [True]
    assert shapely.equals(frame.geometry.to_numpy()[:7], np.array(shapes[:7])).all()
    assert (frame["source"] == "f.gpkg").all()
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["footprints"]["count"] == facts["buildings"] == 8
    assert facts["buildings_per_status"] == {"assessed": 5, "partial": 1, "not_assessed": 2}


def test_footprints_do_not_depend_on_the_tile_nor_on_their_crs(pair, model, tmp_path):
    footprints = write_footprints(tmp_path / "f.gpkg", range(5), [r.polygon for r in ROOFS])
    expected = run(pair, tmp_path / "a.gpkg", model, "--footprints", footprints)
    found = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints, "--tile", 48)
    assert comparable(found).equals(comparable(expected))
    degrees = gpd.read_file(footprints).to_crs(4326)
    degrees.to_file(tmp_path / "d.geojson")
    found = run(pair, tmp_path / "c.gpkg", model, "--footprints", tmp_path / "d.geojson")
    assert found.set_index("building_id")["damage_class"].to_dict() == {
        str(n): roof.grade for n, roof in enumerate(ROOFS)
    }


def test_a_footprint_of_a_pixel_is_graded_with_its_ring(pair, model, tmp_path):
    dots = [Roof(60, 50, 1, 1, 2), Roof(108, 70, 1, 2, 4)]
    footprints = write_footprints(tmp_path / "f.gpkg", ["a", "b"], [d.polygon for d in dots])
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints)
    assert sorted(frame["damage_class"]) == [2, 4]
    assert set(frame["status"]) == {"partial"}
    assert set(frame["status_reason"]) == {"too_small"}


def test_an_id_field_is_kept(pair, model, tmp_path):
    frame = gpd.GeoDataFrame(
        {"uid": ["x", "y"], "ref": [7, 9]}, geometry=[r.polygon for r in ROOFS[:2]], crs=UTM
    )
    frame.to_file(tmp_path / "f.gpkg")
    options = "--footprints", tmp_path / "f.gpkg", "--id-field", "ref"
    found = run(pair, tmp_path / "b.geojson", model, *options)
    assert sorted(found["building_id"].astype(str)) == ["7", "9"]
    text = json.loads((tmp_path / "b.geojson").read_text())
    assert [f["id"] for f in text["features"]] == [
        f["properties"]["building_id"] for f in text["features"]
    ]


def test_an_area_of_interest_limits_the_result_and_not_the_halo(pair, model, found, tmp_path):
    area = shapely.union_all([ROOFS[0].polygon.buffer(2), ROOFS[4].polygon.buffer(2)])
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    frame = run(pair, tmp_path / "b.gpkg", model, "--aoi", tmp_path / "aoi.gpkg")
    assert in_pixels(frame) == [ROOFS[0], ROOFS[4]]
    assert set(frame["building_id"]) <= set(found["building_id"])
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["scene"]["aoi"] == str(tmp_path / "aoi.gpkg")
    assert facts["assessed_km2"] == pytest.approx(area.area / 1e6, rel=0.05)


def test_a_least_area(pair, model, tmp_path):
    frame = run(pair, tmp_path / "b.gpkg", model, "--min-area", 119)
    assert in_pixels(frame) == sorted(r for r in ROOFS if r.height * r.width / 4 > 119)
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["dropped_too_small"] == 1
    assert facts["thresholds"]["min_area"] == 119


def test_simplification(model, tmp_path):
    stairs = [Roof(10 + 2 * n, 10 + 2 * n, 2, 20, 3) for n in range(10)]
    pair = make_scene(tmp_path, (64, 64), stairs)
    exact = run(pair, tmp_path / "a.gpkg", model)
    simple = run(pair, tmp_path / "b.gpkg", model, "--simplify", 2)
    assert shapely.get_num_coordinates(exact.geometry[0]) > 30
    assert shapely.get_num_coordinates(simple.geometry[0]) < 10
    assert exact["building_id"].to_list() == simple["building_id"].to_list()
    assert simple.hausdorff_distance(exact).max() <= 2


def test_bands_choose_the_channels_of_both(model, tmp_path):
    pre, post = make_arrays()
    noise = np.full((1, *pre.shape[1:]), 255, np.uint8)
    pair = [
        make_raster(tmp_path / f"{name}.tif", np.concatenate([noise, array, noise]))
        for name, array in (("pre", pre), ("post", post))
    ]
    frame = run(pair, tmp_path / "b.gpkg", model, "--bands", "2,3,4")
    assert in_pixels(frame) == sorted(ROOFS)
    assert read_sidecar(tmp_path / "b.gpkg")["scene"]["pre"]["bands"] == [2, 3, 4]


def test_scale_says_what_becomes_0_and_255(model, tmp_path):
    pair = [
        make_raster(tmp_path / f"{name}.tif", array.astype(np.uint16) * 10 + 100)
        for name, array in zip(("pre", "post"), make_arrays(), strict=True)
    ]
    frame = run(pair, tmp_path / "b.gpkg", model, "--scale", "100,2650")
    assert in_pixels(frame) == sorted(ROOFS)
    scaling = read_sidecar(tmp_path / "b.gpkg")["scene"]["post"]["scaling"]
    assert "100" in json.dumps(scaling)
    assert "2650" in json.dumps(scaling)


def test_flips_find_the_same(pair, model, found, tmp_path):
    frame = run(pair, tmp_path / "b.gpkg", model, "--tta", "flips")
    assert in_pixels(frame) == in_pixels(found)
    assert read_sidecar(tmp_path / "b.gpkg")["model"]["tta"] == "flips"


def test_an_ensemble(pair, model, tmp_path):
    for name in ("one", "two"):
        make_model(tmp_path / f"{name}.onnx", name=name, licence=name)
    (tmp_path / "both.toml").write_text(
        'version = "3"\nthreshold = 0.4\n[[member]]\nfile = "one.onnx"\nweight = 2\n'
        '[[member]]\nfile = "two.onnx"\nflips = ["none", "horizontal"]\ntranspose = true\n'
    )
    frame = run(pair, tmp_path / "b.gpkg", tmp_path / "both.toml")
    assert in_pixels(frame) == sorted(ROOFS)
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["model"]["name"] == "both"
    assert facts["model"]["version"] == "3"
    assert facts["model"]["licence"] == "one AND two"
    assert facts["thresholds"]["localisation"] == 0.4


def write_first_place(folder, *, extra="", dilation=5, **card):
    """Write an ensemble with the rules of the xView2 first place: one member for each head."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("where", "what"):
        make_model(folder / f"{name}.onnx", name=name, **card)
    path = folder / "first.toml"
    path.write_text(
        f"{extra}\n[pixels]\nthresholds = [0.38, 0.13, 0.13, 0.14]\ndilation = {dilation}\n"
        'dilation_covers = "intended"\n'
        '[[member]]\nfile = "where.onnx"\nheads = ["localisation"]\n'
        '[[member]]\nfile = "what.onnx"\nheads = ["damage"]\n'
        'flips = ["none", "vertical"]\n'
    )
    return path


#: A pre value that the model takes for a building with a probability of 0.22: between the
#: thresholds of no-damage and of the other grades.
FAINT = 105


def faint_pair(folder):
    """Write a faint building of each grade, and one of grades 1, 2 and 3 side by side."""
    pre, post = make_arrays((128, 160), [])
    for n, value in POST_VALUE.items():
        box = slice(10, 26), slice(10 + 30 * (n - 1), 30 + 30 * (n - 1))
        pre[:, *box], post[:, *box] = FAINT, value
    pre[:, 60:90, 40:100] = 250
    for n in (1, 2, 3):
        post[:, 60:90, 20 + 20 * n : 40 + 20 * n] = POST_VALUE[n]
    folder.mkdir(parents=True, exist_ok=True)
    pair = [make_raster(folder / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    return pair, pre, post


def grades_in(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize("options", [[], ["--tile", 48], ["--tile", 64, "--batch-size", 3]])
def test_a_raster_of_an_ensemble_with_rules_holds_the_grades_of_pixels(tmp_path, options):
    path = write_first_place(tmp_path / "m")
    pair, pre, post = faint_pair(tmp_path / "in")
    run(pair, tmp_path / "b.gpkg", path, "--raster", tmp_path / "r.tif", *options)
    ensemble = load_model(path, device="cpu")
    localisation, damage = ensemble(pre[None], post[None])
    expected = ensemble.rules.grades(localisation[0, 0], damage[0])
    found = grades_in(tmp_path / "r.tif")
    assert np.array_equal(found, expected)
    middles = [found[18, 20 + 30 * n] for n in range(4)]
    assert middles == [0, 2, 3, 4]
    assert set(found[75, 40:58]) == {1}
    assert set(found[75, 58:80]) == {2}
    assert set(found[75, 80:100]) == {3}
    facts = read_sidecar(tmp_path / "r.tif")
    assert facts["pixels"] == {
        "own": True,
        "thresholds": [0.38, 0.13, 0.13, 0.14],
        "dilation": 5,
        "dilation_covers": "intended",
    }
    assert facts["vote"] == "probabilities"


def test_pixels_vote_where_probabilities_would_not_find_a_building(tmp_path):
    path = write_first_place(tmp_path / "m", extra="threshold = 0.4\ntemperature = 3.0")
    pair, _, _ = faint_pair(tmp_path / "in")
    by_probability = run(pair, tmp_path / "a.gpkg", path)
    frame = run(pair, tmp_path / "b.gpkg", path, "--vote", "pixels", "--raster", tmp_path / "r.tif")
    # The faint ones are under the one threshold; of three pixels by their own.
    assert len(by_probability) == 1
    assert sorted(frame["damage_class"]) == [2, 2, 3, 4]
    grades = grades_in(tmp_path / "r.tif")
    for row in frame.itertuples():
        (box,) = in_pixels(frame[frame["building_id"] == row.building_id])
        pixels = grades[box.row : box.row + box.height, box.column : box.column + box.width]
        shares = np.bincount(pixels[pixels > 0], minlength=5)[1:] / (pixels > 0).sum()
        p = [row.p_none, row.p_minor, row.p_major, row.p_destroyed]
        assert p == pytest.approx(shares.tolist(), abs=1e-4)
        assert row.confidence == max(p)
    wide = frame[frame["area_m2"] > 300].iloc[0]
    # Minor damage has grown by two columns into no-damage, which alone makes it the most.
    assert (wide["p_none"], wide["p_minor"]) == pytest.approx((18 / 60, 22 / 60), abs=5e-3)
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["vote"] == "pixels"
    assert facts["thresholds"]["localisation"] is None
    assert facts["thresholds"]["temperature"] == 1


def test_votes_of_pixels_do_not_depend_on_the_tile(tmp_path):
    path = write_first_place(tmp_path / "m")
    pair, _, _ = faint_pair(tmp_path / "in")
    expected = run(pair, tmp_path / "a.gpkg", path, "--vote", "pixels")
    found = run(pair, tmp_path / "b.gpkg", path, "--vote", "pixels", "--tile", 48)
    assert comparable(found).equals(comparable(expected))


def test_footprints_are_voted_on_by_pixels(tmp_path):
    path = write_first_place(tmp_path / "m")
    pair, _, _ = faint_pair(tmp_path / "in")
    # The faint house without damage is no building by the rules; a footprint says that it is one.
    faint, wide = Roof(10, 10, 16, 20, 1), Roof(60, 40, 30, 42, 2)
    footprints = write_footprints(tmp_path / "f.gpkg", ["a", "b"], [faint.polygon, wide.polygon])
    options = "--footprints", footprints, "--vote", "pixels"
    frame = run(pair, tmp_path / "b.gpkg", path, *options).set_index("building_id")
    assert frame.loc["a", "damage_class"] == 1
    assert frame.loc["a", "p_none"] == pytest.approx(1, abs=1e-4)
    # 20 columns of each grade and two of major damage: minor damage has taken two of no-damage.
    assert frame.loc["b", "damage_class"] == 2
    wanted = pytest.approx([18 / 42, 22 / 42, 2 / 42], abs=1e-4)
    assert frame.loc["b", ["p_none", "p_minor", "p_major"]].to_list() == wanted


def test_pixels_of_a_plain_model_vote_by_its_threshold(pair, model, found, tmp_path):
    raster = tmp_path / "r.tif"
    frame = run(pair, tmp_path / "b.gpkg", model, "--vote", "pixels", "--raster", raster)
    assert in_pixels(frame) == in_pixels(found)
    assert set(frame["confidence"]) == {1.0}
    assert read_sidecar(raster)["pixels"]["own"] is False
    assert set(np.unique(grades_in(raster))) == {0, 1, 2, 3, 4}


def test_the_raster_of_probabilities_does_not_depend_on_the_vote(pair, model, tmp_path):
    rasters = []
    for vote in ("probabilities", "pixels"):
        rasters.append(tmp_path / f"{vote}.tif")
        output = tmp_path / f"{vote}.gpkg"
        run(pair, output, model, "--probabilities", rasters[-1], "--vote", vote)
    values = []
    for path in rasters:
        with rasterio.open(path) as dataset:
            values.append(dataset.read())
    assert np.array_equal(*values)
    assert set(np.unique(values[0])) > {0, 250}


def test_the_tile_of_a_global_ensemble_is_refused_with_the_reason(pair, tmp_path):
    path = write_first_place(tmp_path / "m", context="global")
    result = run_command(
        "assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path, "--tile", 64
    )  # fmt: skip
    assert result.exit_code == 2
    assert "sees its whole window at once" in result.stderr
    frame = run(pair, tmp_path / "b.gpkg", path)
    assert in_pixels(frame) == sorted(ROOFS)


def test_an_ensemble_too_large_for_the_memory_says_what_it_needs(pair, tmp_path, monkeypatch):
    path = write_first_place(tmp_path / "m")
    monkeypatch.setattr("geodamage.model.ensemble.Ensemble.resident_bytes", 5_600_000_000)
    result = run_command("assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path)
    assert result.exit_code == 7
    (needed,) = re.findall(r"raise --memory to ([\d.]+GB) or more", result.stderr)
    frame = run(pair, tmp_path / "b.gpkg", path, "--memory", needed)
    assert in_pixels(frame) == sorted(ROOFS)


def test_rules_that_make_no_sense_are_refused(pair, tmp_path):
    path = write_first_place(tmp_path / "m", dilation=4)
    result = run_command("assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path)
    assert result.exit_code == 5
    assert "dilation = 4 is neither 0 nor an odd number" in result.stderr
    assert not (tmp_path / "b.gpkg").exists()


def test_an_unknown_vote_is_refused(pair, model, tmp_path):
    output = tmp_path / "b.gpkg"
    options = "--model", model, "--vote", "majority"
    assert run_command("assess", *pair, "-o", output, *options).exit_code == 2
    with pytest.raises(OptionError, match="--vote majority: unknown; give probabilities or pixels"):
        Job(pre=pair.pre, post=pair.post, output=output, vote="majority")


def test_a_model_whose_stride_does_not_divide_64(tmp_path):
    model = make_model(tmp_path / "m.onnx", stride=12, halo=5, tile=96)
    pair = make_scene(tmp_path / "in")
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert in_pixels(frame) == sorted(ROOFS)


def test_the_same_in_python(pair, model, found, tmp_path):
    engine = load_model(model)
    with Scene.open(*pair, gsd=engine.card.gsd) as scene:
        buildings = find_buildings(predict(scene, engine), scene.grid, scene.region, engine.card)
        write(buildings, tmp_path / "b.gpkg", scene.grid.crs)
    assert comparable(read(tmp_path / "b.gpkg")).equals(comparable(found))


def test_a_job_is_a_generator_that_can_be_closed(pair, model, tmp_path):
    job = Job(pre=pair.pre, post=pair.post, output=tmp_path / "b.geojson", model=model, tile=48)
    work = assess(job)
    stages = []
    for progress in work:
        stages.append(progress.stage)
        if progress.stage == "predict" and progress.done:
            break
    assert listing(tmp_path) != []
    work.close()
    assert listing(tmp_path) == []
    assert stages[:2] == ["open", "open"]


def test_progress_ends_at_the_whole(pair, model, tmp_path):
    job = Job(
        pre=[pair.pre],
        post=str(pair.post),
        output=tmp_path / "b.geojson",
        model=model,
        scene=SceneOptions(),
    )
    steps = list(assess(job))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert (steps[-1].stage, steps[-1].done, steps[-1].total) == ("done", 128 * 160, 128 * 160)
    assert steps[-1].buildings == 5


def test_a_damaged_block_leaves_no_file(model, tmp_path):
    folder = tmp_path / "in"
    rng = np.random.default_rng(0)
    array = rng.integers(1, 250, (3, 256, 256)).astype(np.uint8)
    folder.mkdir()
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    pre = make_raster(folder / "pre.tif", array, **layout)
    post = make_raster(folder / "post.tif", array[::-1])
    content = bytearray(pre.read_bytes())
    start = len(content) * 3 // 4
    content[start : start + 4096] = bytes(4096)
    pre.write_bytes(content)
    output = tmp_path / "out"
    output.mkdir()
    result = run_command(
        "assess", pre, post, "-o", output / "b.gpkg", "--model", model, "--tile", 64,
        "--raster", output / "r.tif", "--probabilities", output / "p.tif",
    )  # fmt: skip
    assert result.exit_code == 4
    assert listing(output) == []
