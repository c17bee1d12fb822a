import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from geodamage.fields import FOOTPRINT_FIELDS
from geodamage.output.vectors import write_buildings
from tests.conftest import (
    GROUND,
    ROOF,
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
from tests.data_folder import DATA, needs

NAMES = [field.name for field in FOOTPRINT_FIELDS]


def find(folder, image, model, *options, name="found.geojson", code=0):
    output = folder / name
    result = run_command("buildings", image, "-o", output, "--model", model, *options)
    assert result.exit_code == code, result.stderr
    return output if code == 0 else result.stderr


def read(path):
    frame = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, layer=0)
    return frame.to_crs(UTM).sort_values("building_id", ignore_index=True)


def facts_of(path):
    return json.loads(Path(f"{path}.json").read_text())


def same_buildings(first, second, tolerance=1e-4):
    assert first["building_id"].tolist() == second["building_id"].tolist()
    assert np.allclose(first["probability"], second["probability"], atol=tolerance)
    assert first.geometry.normalize().geom_equals_exact(second.geometry.normalize(), 0.05).all()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("image")).pre


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Return a function that writes an ensemble beside two models, one of them global."""
    folder = tmp_path_factory.mktemp("ensembles")
    make_model(folder / "a.onnx")
    make_model(folder / "whole.onnx", context="global", halo=16, tile=128)

    def write(text, name="all.toml"):
        (folder / name).write_text(text)
        return folder / name

    return write


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f.geojson", "f.geojsonl", "f.gpkg", "f.fgb", "f.parquet"])
def test_every_roof_comes_out_in_every_format(tmp_path, image, model, name):
    found = read(find(tmp_path, image, model, name=name))
    # GDAL shows the id of a GeoJSON feature as a column.
    assert [column for column in found.columns if column not in ("geometry", "id")] == NAMES
    assert len(found) == len(ROOFS)
    for roof in ROOFS:
        shares = [
            shapely.intersection(roof.polygon, shape).area / shapely.union(roof.polygon, shape).area
            for shape in found.geometry
        ]
        assert max(shares) > 0.98
    assert (found["probability"] > 0.8).all()
    assert set(found["status"]) == {"assessed"}
    areas = sorted(roof.polygon.area for roof in ROOFS)
    assert np.allclose(sorted(found["area_m2"]), areas, rtol=0.02)


@pytest.mark.slow
def test_the_sidecar_says_what_was_done(tmp_path, image, model):
    output = find(tmp_path, image, model)
    facts = facts_of(output)
    assert facts["result"] == "footprints"
    assert facts["scene"]["image"]["files"][0]["path"] == str(image)
    assert "pre" not in facts["scene"]
    assert facts["buildings"] == len(ROOFS)
    assert facts["buildings_per_status"] == {"assessed": len(ROOFS), "partial": 0}
    assert facts["thresholds"]["localisation"] == 0.5
    assert facts["assessed_km2"] == pytest.approx(128 * 160 * 0.25 / 1e6, rel=0.01)
    assert listing(tmp_path) == [
        "found.geojson",
        "found.geojson.assessed_area.geojson",
        "found.geojson.json",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--tile", 64), ("--tile", 160), ("--batch-size", 3)])
def test_the_result_does_not_depend_on_windows(tmp_path, image, model, options):
    plain = read(find(tmp_path, image, model, name="plain.gpkg"))
    same_buildings(read(find(tmp_path, image, model, *options, name="other.gpkg")), plain)


@pytest.mark.slow
@pytest.mark.parametrize("tta", ["flips", "full"])
def test_turned_windows_give_the_same_buildings(tmp_path, model, tta):
    # One roof in a corner of an oblong image: a map that came back turned would lie elsewhere.
    image = make_raster(tmp_path / "one.tif", make_arrays((96, 160), [Roof(8, 10, 16, 40, 1)])[0])
    plain = read(find(tmp_path, image, model, name="plain.gpkg"))
    turned = read(find(tmp_path, image, model, "--tta", tta, name="turned.gpkg"))
    assert len(plain) == 1
    same_buildings(turned, plain)


@pytest.mark.slow
def test_sizes_are_averaged(tmp_path, image, model):
    output = find(tmp_path, image, model, "--tta-scales", "1,2", name="sized.gpkg")
    assert len(read(output)) == len(ROOFS)
    assert facts_of(output)["model"]["scales"] == [1.0, 2.0]


@pytest.mark.slow
def test_the_threshold_is_the_users_where_one_is_given(tmp_path, image, model):
    low = find(tmp_path, image, model, "--threshold", 0.05, name="low.gpkg")
    high = find(tmp_path, image, model, "--threshold", 0.999, name="high.gpkg")
    assert facts_of(low)["thresholds"]["localisation"] == 0.05
    assert read(low)["area_m2"].sum() > read(high)["area_m2"].sum()


@pytest.mark.slow
def test_what_is_too_small_is_dropped_and_counted(tmp_path, image, model):
    output = find(tmp_path, image, model, "--min-area", 100)
    assert len(read(output)) == sum(roof.polygon.area >= 100 for roof in ROOFS)
    assert facts_of(output)["dropped_too_small"] == 1


@pytest.mark.slow
def test_a_roof_at_the_edge_is_partial(tmp_path, model):
    pixels = make_arrays((96, 96), [Roof(0, 30, 20, 20, 1)])[0]
    found = read(find(tmp_path, make_raster(tmp_path / "edge.tif", pixels), model))
    assert found["status"].tolist() == ["partial"]
    assert found["status_reason"].tolist() == ["cut_by_edge_or_nodata"]


@pytest.mark.slow
def test_rasters_agree_with_the_buildings(tmp_path, image, model):
    mask, probabilities = tmp_path / "mask.tif", tmp_path / "p.tif"
    found = find(tmp_path, image, model, "--raster", mask, "--probabilities", probabilities)
    with rasterio.open(mask) as dataset:
        drawn = dataset.read(1)
        assert dataset.nodata == 0
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn == 1).sum() * 0.25 == pytest.approx(read(found)["area_m2"].sum(), rel=0.01)
    with rasterio.open(probabilities) as dataset:
        share = dataset.read(1) * dataset.scales[0]
        assert dataset.descriptions == ("building",)
    assert np.array_equal(share > 0.5, drawn == 1)
    assert Path(f"{mask}.json").exists()


@pytest.mark.slow
def test_an_area_of_interest_limits_the_result(tmp_path, image, model):
    roof = ROOFS[0]
    area = gpd.GeoDataFrame(geometry=[roof.polygon.buffer(3)], crs=UTM).to_crs(4326)
    area.to_file(tmp_path / "aoi.geojson")
    found = read(find(tmp_path, image, model, "--aoi", tmp_path / "aoi.geojson"))
    assert len(found) == 1
    assert shapely.intersection(found.geometry[0], roof.polygon).area > 0.95 * roof.polygon.area


@pytest.mark.slow
def test_finer_imagery_is_averaged_down(tmp_path, model):
    pre = make_arrays()[0].repeat(8, 1).repeat(8, 2)
    fine = rasterio.Affine(0.0625, 0, 629_600, 0, -0.0625, 3_330_560)
    output = find(tmp_path, make_raster(tmp_path / "drone.tif", pre, transform=fine), model)
    assert facts_of(output)["scene"]["pixel"] == 0.5
    assert len(read(output)) == len(ROOFS)


@pytest.mark.slow
def test_an_alpha_channel_means_validity(tmp_path, model):
    pixels = np.concatenate([make_arrays()[0], np.full((1, 128, 160), 255, np.uint8)])
    pixels[3, 40:] = 0
    image = make_raster(tmp_path / "rgba.tif", pixels, photometric="RGB", alpha="YES")
    found = read(find(tmp_path, image, model))
    assert len(found) == 2  # one whole, one cut where the image ends
    assert sorted(found["status"]) == ["assessed", "partial"]


@pytest.mark.slow
@pytest.mark.parametrize("low", [0, 300])
def test_sixteen_bits_are_scaled(tmp_path, model, low):
    pixels = make_arrays()[0].astype(np.uint16) * 20 + 100
    image = make_raster(tmp_path / "deep.tif", pixels)
    options = ("--scale", "100,5200") if low else ()
    assert len(read(find(tmp_path, image, model, *options))) == len(ROOFS)


@pytest.mark.slow
def test_one_channel_is_used_thrice_where_it_is_asked_for(tmp_path, model):
    grey = make_arrays()[0][1:2]
    image = make_raster(tmp_path / "grey.tif", grey)
    said = find(tmp_path, image, model, code=4)
    assert "1 channel, and the model takes 3" in said
    assert "--bands 1,1,1" in said
    assert len(read(find(tmp_path, image, model, "--bands", "1,1,1"))) == len(ROOFS)


@pytest.mark.slow
def test_regularised_roofs_have_right_angles(tmp_path, model):
    rows, columns = np.indices((160, 160))
    along, across = (rows * 0.8 + columns * 0.6), (columns * 0.8 - rows * 0.6)
    roof = (abs(along - 110) < 30) & (abs(across + 10) < 20)
    pixels = np.where(roof, ROOF, GROUND).astype(np.uint8)
    image = make_raster(tmp_path / "turned.tif", pixels)
    stairs = read(find(tmp_path, image, model, name="stairs.gpkg"))
    output = find(tmp_path, image, model, "--regularise", name="straight.gpkg")
    straight = read(output)
    assert len(stairs.geometry[0].exterior.coords) > 20
    assert len(straight.geometry[0].exterior.coords) == 5
    assert facts_of(output)["regularise"] is True
    assert facts_of(output)["not_regularised"] == 0
    assert straight["area_m2"].tolist() == stairs["area_m2"].tolist()


@pytest.mark.slow
def test_what_no_right_angle_fits_stays_and_is_counted(tmp_path, model):
    rows, columns = np.indices((128, 128))
    triangle = (rows > 20) & (rows < 100) & (columns > 20) & (columns < rows)
    image = make_raster(tmp_path / "t.tif", np.where(triangle, ROOF, GROUND).astype(np.uint8))
    plain = read(find(tmp_path, image, model, name="plain.gpkg"))
    output = find(tmp_path, image, model, "--regularise", name="other.gpkg")
    assert facts_of(output)["not_regularised"] == 1
    same_buildings(read(output), plain)


def test_an_image_without_a_building_gives_an_empty_layer(tmp_path, model):
    pixels = np.full((3, 64, 64), GROUND, np.uint8)
    pixels[:, ::9, ::7] = 60
    output = find(tmp_path, make_raster(tmp_path / "bare.tif", pixels), model)
    assert json.loads(output.read_text())["features"] == []
    assert facts_of(output)["buildings"] == 0


@pytest.mark.slow
def test_footprints_go_on_to_assess(tmp_path, pair, model):
    output = find(tmp_path, pair.pre, model)
    graded = tmp_path / "graded.geojson"
    result = run_command(
        "assess", pair.pre, pair.post, "--footprints", output, "-o", graded, "--model", model
    )
    assert result.exit_code == 0, result.stderr
    found, grades = read(output), read(graded)
    assert grades["building_id"].tolist() == found["building_id"].tolist()
    assert sorted(grades["damage_class"]) == sorted(roof.grade for roof in ROOFS)


# ensembles


@pytest.mark.slow
def test_members_and_saved_maps_are_averaged(tmp_path, image, model, ensemble):
    saved = ensemble("").with_name("saved.tif")
    plain = find(tmp_path, image, model, "--probabilities", saved, "--overwrite", name="p.gpkg")
    mixed = ensemble(
        '[[member]]\nfile = "a.onnx"\nflips = ["horizontal"]\ntranspose = true\n'
        '[[member]]\nfile = "saved.tif"\nweight = 2\n'
    )
    output = find(tmp_path, image, mixed, name="mixed.gpkg")
    same_buildings(read(output), read(plain), 0.01)
    (facts,) = facts_of(output)["scene"]["maps"]
    assert facts["files"][0]["path"] == str(saved)


@pytest.mark.slow
def test_an_ensemble_of_saved_maps_alone_needs_no_model(tmp_path, image, model, ensemble):
    saved = ensemble("").with_name("saved.tif")
    plain = find(tmp_path, image, model, "--probabilities", saved, "--overwrite", name="p.gpkg")
    text = '[[member]]\nfile = "saved.tif"\n'
    said = find(tmp_path, image, ensemble(text), code=5)
    assert "add gsd_native, gsd_min, gsd_max" in said
    alone = ensemble("gsd_native = 0.5\ngsd_min = 0.3\ngsd_max = 1.0\n" + text)
    same_buildings(read(find(tmp_path, image, alone, name="alone.gpkg")), read(plain), 0.01)


@pytest.mark.slow
def test_where_saved_maps_end_buildings_are_partial(tmp_path, model, ensemble):
    pixels = make_arrays((128, 160), [Roof(40, 40, 40, 40, 1)])[0]
    image = make_raster(tmp_path / "whole.tif", pixels)
    half = make_raster(tmp_path / "half.tif", pixels[:, :60])
    saved = ensemble("").with_name("half_p.tif")
    find(tmp_path, half, model, "--probabilities", saved, "--overwrite")
    alone = ensemble(
        'gsd_native = 0.5\ngsd_min = 0.3\ngsd_max = 1.0\n[[member]]\nfile = "half_p.tif"\n'
    )
    output = find(tmp_path, image, alone, name="alone.gpkg")
    assert read(output)["status"].tolist() == ["partial"]
    assert facts_of(output)["assessed_km2"] == pytest.approx(60 * 160 * 0.25 / 1e6, rel=0.02)


@pytest.mark.slow
def test_an_outlier_rule_or_a_width_fixes_the_window(tmp_path, image, ensemble):
    member = '[[member]]\nfile = "a.onnx"\n'
    drops = ensemble("drop_outliers = true\n" + member * 3)
    assert len(read(find(tmp_path, image, drops, name="drops.gpkg"))) == len(ROOFS)
    said = find(tmp_path, image, drops, "--tile", 64, name="no.gpkg", code=2)
    assert "sees its whole window at once" in said
    wide = ensemble('tile = 128\n[[member]]\nfile = "whole.onnx"\nwidth = 256\n')
    assert len(read(find(tmp_path, image, wide, name="wide.gpkg"))) == len(ROOFS)


# what is refused


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--threshold", "1"), 2, "--threshold 1: give 0 or more, and less than 1"),
        (("--tta-scales", "1,x"), 2, "--tta-scales 1,x: give numbers from 0.1 to 10"),
        (("--tta-scales", "0"), 2, "--tta-scales 0: give numbers from 0.1 to 10"),
        (("--regularise", "--simplify", "1"), 2, "give one of the two"),
        (("--tile", "40"), 2, "--tile 40: must be a multiple of 16"),
        (("--memory", "1MB"), 7, "raise --memory"),
        (("--bands", "1,2"), 2, "--bands 1,2: 2 channels, and the model takes 3"),
        (("--min-area", "-1"), 2, "not negative"),
        (("--raster", "same.tif", "--probabilities", "same.tif"), 2, "give two names"),
        (("--aoi", "nowhere.geojson"), 4, "nowhere.geojson"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, image, model, options, code, said):
    assert said in find(tmp_path, image, model, *options, code=code)
    assert listing(tmp_path) == []


def test_a_model_that_does_not_find_buildings_is_refused(tmp_path, image, ensemble):
    grades = ensemble('[[member]]\nfile = "a.onnx"\nheads = ["damage"]\n')
    said = find(tmp_path, image, grades, code=5)
    assert "grades buildings and does not find them" in said


@pytest.mark.parametrize(
    ("name", "said"), [("gone.tif", "no such file"), ("", "no .tif, .tiff or .jp2 in this folder")]
)
def test_an_image_that_is_not_there_is_said(tmp_path, model, name, said):
    (tmp_path / "in").mkdir()
    assert said in find(tmp_path, tmp_path / "in" / name, model, code=4)


@pytest.mark.slow
def test_nothing_is_overwritten_unasked(tmp_path, image, model):
    output = find(tmp_path, image, model)
    before = output.read_bytes()
    assert "exists; choose another name or give --overwrite" in find(
        tmp_path, image, model, "--min-area", 100, code=6
    )
    assert output.read_bytes() == before
    find(tmp_path, image, model, "--min-area", 100, "--overwrite")
    assert output.read_bytes() != before


@pytest.mark.slow
def test_programs_are_told_in_json(tmp_path, image, model):
    result = run_command(
        "buildings", image, "-o", tmp_path / "f.gpkg", "--model", model, "--progress", "json"
    )
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {line["stage"] for line in lines} == {"open", "predict", "write", "done", "result"}
    assert lines[-1]["buildings"] == len(ROOFS)


@pytest.mark.slow
def test_people_are_told_in_words(tmp_path, image, model):
    result = run_command("buildings", image, "-o", tmp_path / "f.gpkg", "--model", model)
    assert "5 buildings, " in result.stderr
    assert "preliminary, automatic, not validated in the field" in result.stderr


# real imagery


@pytest.mark.data
@pytest.mark.slow
@needs()
@pytest.mark.parametrize(
    ("image", "options", "pixel"),
    [
        ("open_cities/images/665946_tile_921.tif", (), 0.47),
        ("spacenet/sample_geotiff.tif", ("--bands", "1,1,1"), 0.5),
    ],
)
def test_real_imagery_of_a_drone_and_of_16_bits(tmp_path, image, options, pixel):
    output = find(tmp_path, DATA / image, "fast", "--regularise", *options)
    facts = facts_of(output)
    assert facts["scene"]["pixel"] == pixel
    assert facts["buildings"] == len(read(output)) >= 1
    assert shapely.is_valid(gpd.read_file(output, layer=0).geometry.to_numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["geojsonl", "geojson", "gpkg"])
def test_an_earlier_result_without_a_building_has_no_identity(image, model, tmp_path, extension):
    earlier = write_buildings([], tmp_path / f"earlier.{extension}", UTM)
    path = find(tmp_path, image, model, "--ids-from", earlier)
    assert facts_of(path)["ids_from"] == {"file": earlier.name, "taken_over": 0}
    assert facts_of(path)["buildings"] > 0


@pytest.mark.slow
def test_identities_of_an_earlier_result_are_taken_over(image, model, tmp_path):
    first = read(find(tmp_path, image, model, "--min-area", 0))
    earlier = first.assign(building_id=[f"house {n}" for n in range(len(first))])
    earlier.to_file(tmp_path / "earlier.gpkg")
    options = "--min-area", 0, "--ids-from", tmp_path / "earlier.gpkg"
    path = find(tmp_path, image, model, *options, name="second.geojson")
    assert set(read(path)["building_id"]) == set(earlier["building_id"])
    assert facts_of(path)["ids_from"] == {"file": "earlier.gpkg", "taken_over": len(first)}
    assert facts_of(tmp_path / "found.geojson")["ids_from"] is None
