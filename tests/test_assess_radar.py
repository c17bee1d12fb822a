"""`assess` with an optical pre image and one of a radar after."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from geodamage.assessment import Job, assess
from geodamage.errors import OptionError
from geodamage.scene.options import SceneOptions, choose_bands, with_choices
from tests.conftest import ROOFS, make_arrays, make_model, make_raster, run_command
from tests.data_folder import DATA, needs

BRIGHT = DATA / "bright" / "la_palma-volcano_00000279"


@pytest.fixture(scope="module")
def radar_model(tmp_path_factory):
    """Return a model that grades by the one channel of a radar's image."""
    return make_model(
        tmp_path_factory.mktemp("model") / "radar.onnx",
        post_channels=("intensity",),
        post_sensor="sar",
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return an optical image and one of a radar, of the same buildings."""
    folder = tmp_path_factory.mktemp("images")
    pre, post = make_arrays()
    return make_raster(folder / "pre.tif", pre), make_raster(folder / "sar.tif", post[:1])


def grades_of(path):
    return sorted(gpd.read_file(path, layer=0)["damage_class"].astype(int))


@pytest.mark.slow
def test_buildings_are_graded_by_what_the_radar_sees(radar_model, images, tmp_path):
    output = tmp_path / "b.geojson"
    result = run_command(
        "assess", *images, "-o", output, "--model", radar_model, "--post-sensor", "sar"
    )
    assert result.exit_code == 0, result.stderr
    assert grades_of(output) == sorted(roof.grade for roof in ROOFS)
    scene = json.loads((tmp_path / "b.geojson.json").read_text())["scene"]
    assert scene["pre"]["sensor"] == "optical"
    assert scene["post"]["sensor"] == "sar"
    assert scene["post"]["bands"] == [1]


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_windows(radar_model, images, tmp_path):
    for name, tile in (("a", 64), ("b", 96)):
        options = ("--model", radar_model, "--post-sensor", "sar", "--tile", tile)
        result = run_command("assess", *images, "-o", tmp_path / f"{name}.geojson", *options)
        assert result.exit_code == 0, result.stderr
    first, second = (
        gpd.read_file(tmp_path / f"{name}.geojson").sort_values("building_id", ignore_index=True)
        for name in "ab"
    )
    assert len(first) == len(ROOFS)
    assert first.drop(columns="source").equals(second.drop(columns="source"))


@pytest.mark.slow
def test_a_report_shows_both_sensors(radar_model, images, tmp_path):
    result = run_command(
        "assess", *images, "-o", tmp_path / "b.geojson", "--model", radar_model,
        "--post-sensor", "sar", "--report", tmp_path / "b.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "b.html").stat().st_size > 10_000


def test_a_radar_model_is_refused_without_the_option(radar_model, images, tmp_path):
    result = run_command("assess", *images, "-o", tmp_path / "b.geojson", "--model", radar_model)
    assert result.exit_code == 5
    assert "give --post-sensor sar" in result.stderr
    assert len(result.stderr.strip().splitlines()[-1:]) == 1
    assert not list(tmp_path.iterdir())


def test_a_radar_image_is_refused_by_an_optical_model(model, pair, tmp_path):
    result = run_command(
        "assess", *pair, "-o", tmp_path / "b.geojson", "--model", model, "--post-sensor", "sar"
    )
    assert result.exit_code == 4
    assert "takes an optical post image" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_radar_before_is_refused(images, tmp_path):
    model = make_model(tmp_path / "radar.onnx", pre_sensor="sar")
    result = run_command("assess", *images, "-o", tmp_path / "b.geojson", "--model", model)
    assert result.exit_code == 5
    assert "takes a sar pre image" in result.stderr


def test_an_unknown_sensor_is_refused():
    with pytest.raises(OptionError, match="--post-sensor lidar"):
        SceneOptions(post_sensor="lidar")


@pytest.mark.slow
def test_bands_are_of_the_optical_image_alone(radar_model, images, tmp_path):
    """A radar's file of two channels takes the user to choose; the optical bands stay."""
    with rasterio.open(images[1]) as dataset:
        plane = dataset.read(1)
    both = make_raster(tmp_path / "vv_vh.tif", np.stack([plane * 0 + 7, plane]))
    common = ("--model", radar_model, "--post-sensor", "sar", "--bands", "1,2,3")
    refused = run_command("assess", images[0], both, "-o", tmp_path / "a.geojson", *common)
    assert refused.exit_code == 4
    assert "--post-bands" in refused.stderr
    options = (*common, "--post-bands", "2")
    result = run_command("assess", images[0], both, "-o", tmp_path / "b.geojson", *options)
    assert result.exit_code == 0, result.stderr
    assert grades_of(tmp_path / "b.geojson") == sorted(roof.grade for roof in ROOFS)


@pytest.mark.slow
def test_decibels_are_scaled_by_a_range_of_their_own(radar_model, images, tmp_path):
    with rasterio.open(images[1]) as dataset:
        plane = dataset.read()
    decibels = make_raster(tmp_path / "db.tif", (plane / 255 * 30 - 25).astype(np.float32))
    options = ("--model", radar_model, "--post-sensor", "sar", "--post-scale", "-25,5")
    result = run_command("assess", images[0], decibels, "-o", tmp_path / "b.geojson", *options)
    assert result.exit_code == 0, result.stderr
    assert grades_of(tmp_path / "b.geojson") == sorted(roof.grade for roof in ROOFS)
    scene = json.loads((tmp_path / "b.geojson.json").read_text())["scene"]
    assert scene["pre"]["scaling"] is None
    assert scene["post"]["scaling"] == {"minimum": [-25.0], "maximum": [5.0], "from": "option"}


@pytest.mark.slow
def test_a_dark_pixel_of_a_radar_is_not_a_missing_one(radar_model, images, tmp_path):
    """Files of BRIGHT call 0 nodata, and speckle is 0 here and there."""
    with rasterio.open(images[1]) as dataset:
        plane = dataset.read()
    plane[:, ::5, ::7] = 0
    tagged = make_raster(tmp_path / "sar.tif", plane, nodata=0)
    options = ("--model", radar_model, "--post-sensor", "sar")
    result = run_command("assess", images[0], tagged, "-o", tmp_path / "b.geojson", *options)
    assert result.exit_code == 0, result.stderr
    found = gpd.read_file(tmp_path / "b.geojson")
    assert set(found["status"]) == {"assessed"}
    assert set(found["valid_fraction"]) == {1.0}


@pytest.mark.slow
def test_a_job_of_the_library_takes_the_sensor(radar_model, images, tmp_path):
    job = Job(
        pre=images[0],
        post=images[1],
        output=tmp_path / "b.geojson",
        model=radar_model,
        scene=SceneOptions(post_sensor="sar"),
    )
    for _ in assess(job):
        pass
    assert grades_of(job.output) == sorted(roof.grade for roof in ROOFS)


@pytest.mark.slow
def test_a_list_of_scenes_names_the_sensor_of_each(radar_model, images, tmp_path):
    listed = tmp_path / "scenes.csv"
    listed.write_text(
        "name,pre,post,model,post_sensor\n"
        f"radar,{images[0]},{images[1]},{radar_model},sar\n"
        f"wrong,{images[0]},{images[1]},{radar_model},optical\n"
    )
    result = run_command("batch", listed, "-o", tmp_path / "out", "--no-merge", "--workers", "1")
    assert result.exit_code == 3, result.stderr
    assert "give --post-sensor sar" in result.stderr
    buildings = tmp_path / "out" / "scenes" / "radar" / "buildings.gpkg"
    assert grades_of(buildings) == sorted(roof.grade for roof in ROOFS)


def test_bands_of_both_are_of_one_sensor():
    assert choose_bands((3, 2, 1), None, "optical")["post_bands"] == (3, 2, 1)
    assert choose_bands((3, 2, 1), None, "sar")["post_bands"] is None
    assert choose_bands((3, 2, 1), (2,), "sar") == {"pre_bands": (3, 2, 1), "post_bands": (2,)}


def test_a_scene_of_another_sensor_leaves_the_bands_of_all():
    common = SceneOptions(pre_bands=(3, 2, 1), post_bands=(3, 2, 1), scale=(0.0, 9.0))
    chosen = with_choices(common, {"post_sensor": "sar"})
    assert (chosen.pre_bands, chosen.post_bands) == ((3, 2, 1), None)
    assert chosen.scales == ((0.0, 9.0), None)
    assert with_choices(common, {"aoi": None}) == common
    assert with_choices(common, {"bands": [1, 2, 3]}).post_bands == (1, 2, 3)


@pytest.mark.slow
@pytest.mark.data
@needs("bright")
def test_a_pair_of_bright_goes_through(radar_model, tmp_path):
    """The pair has no labels: it must come out, no more."""
    pre, post = (Path(f"{BRIGHT}_{date}_disaster.tif") for date in ("pre", "post"))
    output = tmp_path / "b.gpkg"
    result = run_command(
        "assess", pre, post, "-o", output, "--model", radar_model, "--post-sensor", "sar"
    )
    assert result.exit_code == 0, result.stderr
    facts = json.loads((tmp_path / "b.gpkg.json").read_text())
    assert facts["scene"]["post"]["sensor"] == "sar"
    assert facts["assessed_km2"] > 0.05
