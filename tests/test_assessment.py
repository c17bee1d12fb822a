import json
import re

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from geodamage import Job, Scene, SceneOptions, assess, find_buildings, load_model, predict
from geodamage import write_buildings as write
from geodamage.damage import COLOURS, GRADES, rgb
from geodamage.fields import NAMES
from geodamage.output.publication import read_sidecar
from tests.assessments import comparable, in_pixels, read, run
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


@pytest.mark.slow
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
    area = [] if extension == "gpkg" else [f"b.{extension}.assessed_area.geojson"]
    assert listing(tmp_path) == [f"b.{extension}", *area, f"b.{extension}.json"]
    seen = pyogrio.read_dataframe(
        tmp_path / (area or ["b.gpkg"])[0], layer=None if area else "assessed_area"
    )
    assert seen.geom_type.isin(["Polygon", "MultiPolygon"]).tolist() == [True]
    assert seen.to_crs(32616).area[0] == pytest.approx(seen["area_km2"][0] * 1e6, rel=1e-3)


@pytest.mark.slow
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


@pytest.mark.slow
def test_polygons_follow_pixel_edges(found):
    assert shapely.union_all(found.geometry).equals(
        shapely.union_all([roof.polygon for roof in ROOFS])
    )


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_hole_is_kept(model, tmp_path):
    pre, post = make_arrays((64, 64), [Roof(8, 8, 30, 30, 2), Roof(42, 42, 12, 12, 2)])
    pre[:, 16:28, 16:28] = GROUND
    pair = [make_raster(tmp_path / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert sorted(len(shape.interiors) for shape in frame.geometry) == [0, 1]
    rounding = 4  # the model rounds the corners of the hole
    assert sorted(frame.area) == [12 * 12 / 4, (30 * 30 - 12 * 12 + rounding) / 4]


@pytest.mark.slow
def test_one_building_of_two_grades_is_one_polygon_with_the_grade_of_most(model, tmp_path):
    pre, post = make_arrays((64, 64), [Roof(16, 16, 30, 30, 4)])
    post[:, 16:26] = POST_VALUE[1]
    pair = [make_raster(tmp_path / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert in_pixels(frame) == [Roof(16, 16, 30, 30, 4)]
    assert 0.5 < frame["confidence"][0] < 0.8


@pytest.mark.slow
def test_what_the_edge_cuts_is_partial(model, tmp_path):
    pair = make_scene(tmp_path, (64, 64), [Roof(0, 10, 20, 20, 3), Roof(40, 40, 12, 12, 1)])
    frame = run(pair, tmp_path / "b.gpkg", model).sort_values("damage_class")
    assert frame["status"].to_list() == ["assessed", "partial"]
    assert frame["status_reason"].fillna("-").to_list() == ["-", "cut_by_edge_or_nodata"]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    told = [read_sidecar(product) for product in (path, tmp_path / "b.geojson")]
    assert told[0].pop("result_sha256") != told[1].pop("result_sha256")
    assert told[0] == told[1]


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_area_of_interest_limits_the_result_and_not_the_halo(pair, model, found, tmp_path):
    area = shapely.union_all([ROOFS[0].polygon.buffer(2), ROOFS[4].polygon.buffer(2)])
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    frame = run(pair, tmp_path / "b.gpkg", model, "--aoi", tmp_path / "aoi.gpkg")
    assert in_pixels(frame) == [ROOFS[0], ROOFS[4]]
    assert set(frame["building_id"]) <= set(found["building_id"])
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["scene"]["aoi"] == str(tmp_path / "aoi.gpkg")
    assert facts["assessed_km2"] == pytest.approx(area.area / 1e6, rel=0.05)


@pytest.mark.slow
def test_identities_of_an_earlier_result_are_taken_over(pair, model, found, tmp_path):
    earlier = found.assign(building_id=[f"house {n}" for n in range(len(found))])
    earlier.geometry = earlier.geometry.translate(0.5, 0)  # a pixel off
    path = tmp_path / "b.gpkg"
    earlier.iloc[1:].to_file(path)
    frame = run(pair, path, model, "--ids-from", path, "--overwrite")
    names = dict(zip(found["building_id"], earlier["building_id"], strict=True))
    expected = {names.get(name, name) for name in found["building_id"][1:]}
    assert set(frame["building_id"]) == expected | {found["building_id"][0]}
    facts = read_sidecar(path)["ids_from"]
    assert facts == {"file": "b.gpkg", "taken_over": len(found) - 1}


@pytest.mark.slow
def test_what_is_no_earlier_result_of_the_place_is_refused(pair, model, found, tmp_path):
    def refusal(code, *options):
        command = ["assess", *pair, "-o", tmp_path / "b.gpkg", "--model", model, *options]
        result = run_command(*command)
        assert result.exit_code == code, result.stderr
        assert listing(tmp_path) == before
        return result.stderr

    found[["damage", "geometry"]].to_file(tmp_path / "nameless.gpkg")
    found.translate(90_000, 0).to_frame("geometry").assign(building_id="7").to_file(
        tmp_path / "far.gpkg"
    )
    before = listing(tmp_path)
    nameless, far = tmp_path / "nameless.gpkg", tmp_path / "far.gpkg"
    assert "no field 'building_id'" in refusal(4, "--ids-from", nameless)
    assert "lies in the scene" in refusal(4, "--ids-from", far)
    assert "no such file" in refusal(4, "--ids-from", tmp_path / "none.gpkg")
    assert "give one of the two" in refusal(2, "--ids-from", far, "--footprints", far)


@pytest.mark.slow
def test_a_least_area(pair, model, tmp_path):
    frame = run(pair, tmp_path / "b.gpkg", model, "--min-area", 119)
    assert in_pixels(frame) == sorted(r for r in ROOFS if r.height * r.width / 4 > 119)
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["dropped_too_small"] == 1
    assert facts["thresholds"]["min_area"] == 119


@pytest.mark.slow
def test_simplification(model, tmp_path):
    stairs = [Roof(10 + 2 * n, 10 + 2 * n, 2, 20, 3) for n in range(10)]
    pair = make_scene(tmp_path, (64, 64), stairs)
    exact = run(pair, tmp_path / "a.gpkg", model)
    simple = run(pair, tmp_path / "b.gpkg", model, "--simplify", 2)
    assert shapely.get_num_coordinates(exact.geometry[0]) > 30
    assert shapely.get_num_coordinates(simple.geometry[0]) < 10
    assert exact["building_id"].to_list() == simple["building_id"].to_list()
    assert simple.hausdorff_distance(exact).max() <= 2


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_flips_find_the_same(pair, model, found, tmp_path):
    frame = run(pair, tmp_path / "b.gpkg", model, "--tta", "flips")
    assert in_pixels(frame) == in_pixels(found)
    assert read_sidecar(tmp_path / "b.gpkg")["model"]["tta"] == "flips"


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_model_whose_stride_does_not_divide_64(tmp_path):
    model = make_model(tmp_path / "m.onnx", stride=12, halo=5, tile=96)
    pair = make_scene(tmp_path / "in")
    frame = run(pair, tmp_path / "b.gpkg", model)
    assert in_pixels(frame) == sorted(ROOFS)


@pytest.mark.slow
def test_the_same_in_python(pair, model, found, tmp_path):
    engine = load_model(model)
    with Scene.open(*pair, gsd=engine.card.gsd) as scene:
        buildings = find_buildings(predict(scene, engine), scene.grid, scene.region, engine.card)
        write(buildings, tmp_path / "b.gpkg", scene.grid.crs)
    assert comparable(read(tmp_path / "b.gpkg")).equals(comparable(found))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_outlines_are_right_angled_where_that_is_asked_for(tmp_path, pair, model):
    plain, straight = tmp_path / "plain.gpkg", tmp_path / "straight.gpkg"
    for output, options in ((plain, []), (straight, ["--regularise"])):
        done = run_command("assess", *pair, "-o", output, "--model", model, *options)
        assert done.exit_code == 0, done.stderr
    assert read_sidecar(plain)["not_regularised"] is None
    facts = read_sidecar(straight)
    assert facts["regularise"] is True
    before, after = gpd.read_file(plain, layer=0), gpd.read_file(straight, layer=0)
    assert after["damage"].tolist() == before["damage"].tolist()
    assert len(after) - facts["not_regularised"] > 0
    assert shapely.is_valid(after.geometry).all()
    overlap = before.geometry.intersection(after.geometry).area / before.geometry.area
    assert (overlap > 0.75).all()
