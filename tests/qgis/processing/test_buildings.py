"""The algorithm that finds the buildings of one image."""

from pathlib import Path

import pytest
from features import facts_of, read_features


@pytest.fixture
def find(run, small_pair):
    """Return a function that finds the buildings of a corner of the image before."""
    return lambda **values: run("buildings", **{"IMAGE": str(small_pair[0]), **values})


def test_buildings_are_those_of_the_command_line(run, layers, command_line, pair, tmp_path):
    by_command, output = tmp_path / "command.gpkg", tmp_path / "qgis.gpkg"
    command_line("buildings", pair[0], "-o", by_command, "-q")
    found = run("buildings", IMAGE=[layers[0]], OUTPUT=str(output))
    assert read_features(output) == read_features(by_command)
    assert found["BUILDINGS"] == len(read_features(output)) > 0
    assert facts_of(output)["scene"] == facts_of(by_command)["scene"]
    assert "pre.tif" in Path(found["SUMMARY"]).read_text(encoding="utf-8")


def test_buildings_of_a_plain_mosaic_are_those_of_its_tiles(find, run, small_pair, tmp_path):
    from osgeo import gdal

    halves = [tmp_path / f"{left}.tif" for left in (0, 128)]
    for half in halves:
        corner = [int(half.stem), 0, 128, 256]
        gdal.Translate(str(half), str(small_pair[0]), srcWin=corner)
    mosaic = tmp_path / "mosaic.vrt"
    gdal.BuildVRT(str(mosaic), [str(half) for half in halves])
    found = find(IMAGE=str(mosaic), OUTPUT=str(tmp_path / "b.gpkg"))
    assert "read as its 2 tiles" in run.feedback.textLog()
    files = facts_of(found["OUTPUT"])["scene"]["image"]["files"]
    assert {Path(file["path"]) for file in files} == set(halves)


def test_every_output_and_option_of_buildings_reaches_the_tool(find, run, tmp_path):
    asked = {
        "OUTPUT": str(tmp_path / "b.geojson"),
        "RASTER": str(tmp_path / "mask.tif"),
        "PROBABILITIES": str(tmp_path / "p.tif"),
    }
    found = find(
        **asked, MODEL="fast", TTA="full", THRESHOLD=0.4, REGULARISE=True, BANDS="3,2,1",
        SCALE="0,255", MIN_AREA=60, TILE=512, BATCH_SIZE=2, THREADS=1, MEMORY="800MB",
        DEVICE="cpu",
    )  # fmt: skip
    assert {name: found[name] for name in asked} == asked
    assert all(Path(path).stat().st_size for path in asked.values())
    command = next(
        line for line in run.feedback.textLog().splitlines() if " buildings --progress" in line
    )
    for word in (
        "--model=fast", "--tta=full", "--threshold=0.4", "--regularise", "--bands=3,2,1",
        "--scale=0.0,255.0", "--min-area=60.0", "--tile=512", "--batch-size=2", "--threads=1",
        "--memory=800MB", "--device=cpu",
    ):  # fmt: skip
        assert word in command.split(), command


def test_found_buildings_are_loaded_without_the_style_of_damage(
    provider, configured, small_pair, project, tmp_path
):
    import processing
    from geodamage_qgis.results.layers import is_result
    from qgis.core import QgsProcessingOutputLayerDefinition

    output = QgsProcessingOutputLayerDefinition(str(tmp_path / "b.gpkg"), project)
    values = {"IMAGE": str(small_pair[0]), "OUTPUT": output}
    processing.runAndLoadResults("geodamage:buildings", values)
    (layer,) = project.mapLayers().values()
    assert layer.featureCount()
    assert not is_result(layer)
    assert "damage" not in layer.styleManager().styles()


def test_an_extent_is_the_area_of_found_buildings(find, extent, tmp_path):
    found = find(OUTPUT=str(tmp_path / "b.gpkg"), AOI_EXTENT=extent)
    all_of_it = find(OUTPUT=str(tmp_path / "all.gpkg"))
    assert 0 < found["BUILDINGS"] < all_of_it["BUILDINGS"]


def test_found_buildings_are_footprints_of_an_assessment(find, assess, tmp_path):
    found = find(OUTPUT=str(tmp_path / "found.gpkg"))
    graded = assess(
        FOOTPRINTS=found["OUTPUT"], ID_FIELD="building_id", OUTPUT=str(tmp_path / "graded.gpkg")
    )
    names = [[row[0] for row in read_features(end["OUTPUT"])] for end in (found, graded)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"IMAGE": "/nowhere/pre.tif"}, "no such file; check the path"),
        ({"IMAGE": None}, "IMAGE"),
        ({"BANDS": "red"}, "write numbers separated by commas, as 3,2,1"),
        ({"AOI": "nowhere.gpkg", "AOI_EXTENT": "0,1,0,1"}, "give one of them"),
        ({"OUTPUT": "/somewhere/b.kml"}, "the result is one of .gpkg, .geojson"),
        ({"REGULARISE": True, "SIMPLIFY": 0.5}, "give one of the two"),
        ({"THRESHOLD": 1.5}, "THRESHOLD"),
        ({"TTA": "rotations"}, "TTA"),
    ],
)
def test_wrong_values_for_buildings_are_refused_before_anything_runs(provider, pair, values, said):
    from qgis.core import QgsProcessingContext

    given = {"IMAGE": str(pair[0]), "OUTPUT": "TEMPORARY_OUTPUT", **values}
    algorithm = provider.algorithm("buildings").create()
    good, why = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert not good
    assert said in why


def test_an_input_that_is_refused_for_buildings_is_said_in_one_line(
    find, command_line, pair, tmp_path
):
    from osgeo import gdal
    from qgis.core import QgsProcessingException

    grey, output = tmp_path / "grey.tif", tmp_path / "b.gpkg"
    gdal.Translate(str(grey), str(pair[0]), bandList=[1])
    said = command_line("buildings", grey, "-o", output, expect=4).stderr
    line = next(line for line in said.splitlines() if "geodamage: error: " in line)
    with pytest.raises(QgsProcessingException) as caught:
        find(IMAGE=str(grey), OUTPUT=str(output))
    assert str(caught.value) == line.partition("geodamage: error: ")[2]
    assert list(tmp_path.glob("*b.gpkg*")) == []


def test_cancelled_before_it_begins_no_buildings_are_written(
    provider, configured, small_pair, tmp_path
):
    from qgis.core import QgsProcessingContext, QgsProcessingFeedback

    feedback, context = QgsProcessingFeedback(), QgsProcessingContext()
    feedback.cancel()
    values = {"IMAGE": str(small_pair[0]), "OUTPUT": str(tmp_path / "b.gpkg")}
    results, _ = provider.algorithm("buildings").create().run(values, context, feedback)
    assert results == {}
    assert "cancelled" in feedback.textLog()
    assert list(tmp_path.iterdir()) == []
