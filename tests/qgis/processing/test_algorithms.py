"""The algorithms inside QGIS: every parameter, batches, scores, masks, models, cancelling."""

import json
import threading
from pathlib import Path

import pytest
from features import read_features


@pytest.fixture
def run(provider, configured, project):
    """Return a function that runs an algorithm; what was said is in `run.feedback`."""
    import processing
    from qgis.core import QgsProcessingFeedback

    def call(name, **values):
        call.feedback = QgsProcessingFeedback()
        return processing.run(f"geodamage:{name}", values, feedback=call.feedback)

    return call


@pytest.fixture
def assess(run, small_pair):
    """Return a function that assesses a corner of the sample pair."""
    pre, post = map(str, small_pair)
    return lambda **values: run("assess", PRE=pre, POST=[post], **values)


@pytest.fixture
def layers(pair, project):
    """Return the sample pair as layers of the project."""
    from qgis.core import QgsRasterLayer

    found = [QgsRasterLayer(str(path), path.stem) for path in pair]
    project.addMapLayers(found)
    return found


@pytest.fixture
def footprints(project):
    """Return the sample's footprints as a layer of the project."""
    from conftest import SAMPLE
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(str(SAMPLE / "footprints.geojson"), "footprints", "ogr")
    assert layer.isValid()
    project.addMapLayer(layer)
    return layer


@pytest.fixture
def inside(footprints, small_pair):
    """Return a footprint that lies in the middle of the corner of the pair."""
    from qgis.core import QgsCoordinateTransform, QgsProject, QgsRasterLayer

    image = QgsRasterLayer(str(small_pair[0]), "corner")
    change = QgsCoordinateTransform(footprints.crs(), image.crs(), QgsProject.instance())
    box = image.extent().buffered(-20)
    for feature in footprints.getFeatures():
        if box.contains(change.transformBoundingBox(feature.geometry().boundingBox())):
            return feature
    raise AssertionError("no footprint in the corner")


@pytest.fixture
def extent(layers):
    """Return the extent of the north-western 80 metres, in words."""
    box = layers[0].extent()
    box.setYMinimum(box.yMaximum() - 80)
    box.setXMaximum(box.xMinimum() + 80)
    return f"{box.xMinimum()},{box.xMaximum()},{box.yMinimum()},{box.yMaximum()} [EPSG:32616]"


def facts_of(path):
    return json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))


def test_layers_give_the_same_as_files(run, layers, sample_result, tmp_path):
    output = tmp_path / "buildings.gpkg"
    found = run("assess", PRE=[layers[0]], POST=[layers[1].id()], OUTPUT=str(output))
    assert read_features(output) == read_features(sample_result)
    assert found["BUILDINGS"] == len(read_features(output))
    assert 0 < found["DAMAGED"] < found["BUILDINGS"]


def test_every_output_is_written_and_named(assess, tmp_path):
    asked = {
        "OUTPUT": str(tmp_path / "b.geojson"),
        "RASTER": str(tmp_path / "grades.tif"),
        "PROBABILITIES": str(tmp_path / "p.tif"),
        "REPORT": str(tmp_path / "report.html"),
    }
    found = assess(**asked)
    assert {name: found[name] for name in asked} == asked
    assert all(Path(path).stat().st_size for path in asked.values())
    assert "preliminary, automatic" in Path(found["SUMMARY"]).read_text(encoding="utf-8")


def test_a_temporary_output_is_a_geopackage_with_its_facts(assess):
    found = assess(OUTPUT="TEMPORARY_OUTPUT")
    assert found["OUTPUT"].endswith(".gpkg")
    assert facts_of(found["OUTPUT"])["buildings"] == found["BUILDINGS"]


def test_options_reach_the_tool(assess, run, tmp_path):
    assess(
        OUTPUT=str(tmp_path / "b.gpkg"), MODEL="fast", TTA="flips", VOTE="pixels", BANDS="3,2,1",
        MIN_AREA=60, SIMPLIFY=0.5, TILE=512, BATCH_SIZE=2, THREADS=1, MEMORY="800MB", DEVICE="cpu",
        POST_SENSOR="optical",
    )  # fmt: skip
    command = next(
        line for line in run.feedback.textLog().splitlines() if " assess --progress json" in line
    )
    for word in (
        "--model=fast", "--tta=flips", "--vote=pixels", "--bands=3,2,1", "--min-area=60.0",
        "--simplify=0.5", "--tile=512", "--batch-size=2", "--threads=1", "--memory=800MB",
        "--device=cpu",
    ):  # fmt: skip
        assert word in command.split(), command
    assert "--post-sensor" not in command


def test_a_radar_image_needs_a_model_that_takes_one(assess, run, tmp_path):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match=r"^(?!.*\n).*--post-sensor sar: "):
        assess(OUTPUT=str(tmp_path / "b.gpkg"), POST_SENSOR="sar")
    assert "--post-sensor=sar" in run.feedback.textLog()
    assert list(tmp_path.iterdir()) == []


def test_footprints_of_a_plain_file_are_used_as_they_are(assess, footprints, tmp_path):
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), FOOTPRINTS=footprints)
    assert found["BUILDINGS"] == footprints.featureCount()
    source = facts_of(found["OUTPUT"])["footprints"]
    assert "footprints.geojson" in json.dumps(source)


def test_a_selection_of_footprints_is_exported(assess, run, footprints, tmp_path):
    from qgis.core import QgsProcessingFeatureSourceDefinition

    footprints.selectByIds([feature.id() for feature in footprints.getFeatures()][:7])
    selected = QgsProcessingFeatureSourceDefinition(footprints.id(), True)
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), FOOTPRINTS=selected)
    assert found["BUILDINGS"] == 7
    assert "exported first, 7 polygons" in run.feedback.textLog()


def test_filtered_footprints_keep_their_identity(assess, footprints, inside, tmp_path):
    field = footprints.fields()[0].name()
    value = inside[field]
    footprints.setSubsetString(f"\"{field}\" = '{value}'")
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), FOOTPRINTS=footprints, ID_FIELD=field)
    assert [feature[0] for feature in read_features(found["OUTPUT"])] == [str(value)]


def test_an_extent_is_the_area_of_interest(assess, extent, tmp_path):
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), AOI_EXTENT=extent)
    all_of_it = assess(OUTPUT=str(tmp_path / "all.gpkg"))
    assert 0 < found["BUILDINGS"] < all_of_it["BUILDINGS"]


def test_polygons_are_the_area_of_interest(assess, footprints, inside, tmp_path):
    footprints.selectByIds([inside.id()])
    from qgis.core import QgsProcessingFeatureSourceDefinition

    one = QgsProcessingFeatureSourceDefinition(footprints.id(), True)
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), AOI=one)
    assert found["BUILDINGS"] < 5


def test_a_result_that_is_there_is_kept_unless_asked(assess, tmp_path):
    from qgis.core import QgsProcessingException

    output = tmp_path / "b.gpkg"
    output.write_text("mine")
    with pytest.raises(QgsProcessingException, match="is there already"):
        assess(OUTPUT=str(output))
    assert output.read_text() == "mine"
    assess(OUTPUT=str(output), OVERWRITE=True)
    assert read_features(output)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"BANDS": "red"}, "write numbers separated by commas, as 3,2,1"),
        ({"SCALE": "9,3"}, "write two numbers, the lower first"),
        ({"ID_FIELD": "id"}, "but no footprints"),
        ({"AOI": "nowhere.gpkg", "AOI_EXTENT": "0,1,0,1"}, "give one of them"),
        ({"OUTPUT": "/somewhere/b.shp"}, "the result is one of .gpkg, .geojson"),
        ({"OUTPUT": "ogr:dbname='/a/b.gpkg' table=\"c\" (geom)"}, "a file of its own"),
        ({"PRE": "/nowhere/pre.tif"}, "no such file; check the path"),
        ({"PRE": "/tmp"}, "a folder; give its images"),
        ({"PRE": None}, "PRE"),
        ({"TILE": 0}, "TILE"),
        ({"TTA": "rotations"}, "TTA"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(provider, pair, values, said):
    from qgis.core import QgsProcessingContext

    given = {"PRE": str(pair[0]), "POST": str(pair[1]), "OUTPUT": "TEMPORARY_OUTPUT", **values}
    algorithm = provider.algorithm("assess").create()
    good, why = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert not good
    assert said in why


def test_without_a_program_no_algorithm_can_run(provider):
    from geodamage_qgis import settings

    settings.set_executable("/nowhere/geodamage")
    for algorithm in provider.algorithms():
        can, why = algorithm.canExecute()
        assert not can
        assert why == (
            "/nowhere/geodamage: no such file; name the geodamage program in GeoDamage > Set up"
        )


def test_a_program_that_is_not_geodamage_is_refused(provider, assess, tmp_path):
    from geodamage_qgis import settings
    from qgis.core import QgsProcessingException

    settings.set_executable("/bin/echo")
    with pytest.raises(QgsProcessingException, match="is not geodamage"):
        assess(OUTPUT=str(tmp_path / "b.gpkg"))


def test_a_refused_option_is_said_as_the_tool_says_it(assess, run, tmp_path):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match=r"no-such-model") as caught:
        assess(OUTPUT=str(tmp_path / "b.gpkg"), MODEL="no-such-model")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_cancelling_ends_the_program_and_leaves_no_half_file(
    provider, configured, big_pair, tmp_path, qgis_app
):
    import time

    from qgis.core import QgsProcessingContext, QgsProcessingFeedback

    feedback, context = QgsProcessingFeedback(), QgsProcessingContext()

    def cancel_when_it_writes():
        ends, begun = time.monotonic() + 60, False
        while not begun and time.monotonic() < ends:
            time.sleep(0.02)
            # GDAL replaces the empty file that it finds, so a second look may see none.
            begun = any(tmp_path.glob(".b.gpkg.*partial*"))
        cancelled.append(begun)
        feedback.cancel()

    cancelled = []
    thread = threading.Thread(target=cancel_when_it_writes)
    thread.start()
    values = {"PRE": str(big_pair[0]), "POST": str(big_pair[1])}
    results, _ = (
        provider.algorithm("assess")
        .create()
        .run({**values, "OUTPUT": str(tmp_path / "b.gpkg")}, context, feedback)
    )
    thread.join()
    assert cancelled == [True]
    assert results == {}
    assert "cancelled; nothing was written" in feedback.textLog()
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_result_is_styled(provider, configured, small_pair, project, tmp_path):
    import processing
    from qgis.core import QgsProcessingOutputLayerDefinition

    output = QgsProcessingOutputLayerDefinition(str(tmp_path / "b.gpkg"), project)
    processing.runAndLoadResults(
        "geodamage:assess",
        {"PRE": str(small_pair[0]), "POST": str(small_pair[1]), "OUTPUT": output},
    )
    (layer,) = project.mapLayers().values()
    assert "damage" in layer.styleManager().styles()
    assert "colour-blind safe" in layer.styleManager().styles()
    assert "preliminary" in layer.metadata().abstract()


def test_it_runs_in_a_thread_as_the_toolbox_runs_it(
    provider, configured, small_pair, footprints, inside, wait, tmp_path
):
    from qgis.core import (
        QgsApplication,
        QgsProcessingAlgRunnerTask,
        QgsProcessingContext,
        QgsProcessingFeatureSourceDefinition,
        QgsProcessingFeedback,
        QgsProject,
    )

    footprints.selectByIds([inside.id()])
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    context.setProject(QgsProject.instance())
    values = {
        "PRE": [str(small_pair[0])],
        "POST": [str(small_pair[1])],
        "FOOTPRINTS": QgsProcessingFeatureSourceDefinition(footprints.id(), True),
        "OUTPUT": str(tmp_path / "b.gpkg"),
    }
    task = QgsProcessingAlgRunnerTask(provider.algorithm("assess"), values, context, feedback)
    ended = []
    task.executed.connect(lambda good, results: ended.append((good, dict(results))))
    QgsApplication.taskManager().addTask(task)
    wait(lambda: ended, 120)
    ((good, results),) = ended
    assert good, feedback.textLog()
    assert results["BUILDINGS"] == 1


def test_a_model_of_the_designer_runs_it(provider, configured, small_pair, project, tmp_path):
    from qgis.core import (
        QgsProcessingContext,
        QgsProcessingFeedback,
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
        QgsProcessingModelParameter,
        QgsProcessingParameterRasterLayer,
    )

    model = QgsProcessingModelAlgorithm("graded", "test")
    for name in ("before", "after"):
        model.addModelParameter(
            QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name)
        )
    grading = QgsProcessingModelChildAlgorithm("geodamage:assess")
    grading.setChildId("grading")
    source = QgsProcessingModelChildParameterSource
    grading.addParameterSources("PRE", [source.fromModelParameter("before")])
    grading.addParameterSources("POST", [source.fromModelParameter("after")])
    model.addChildAlgorithm(grading)
    centroids = QgsProcessingModelChildAlgorithm("native:centroids")
    centroids.setChildId("centroids")
    centroids.addParameterSources("INPUT", [source.fromChildOutput("grading", "OUTPUT")])
    output = QgsProcessingModelOutput("points")
    output.setChildId("centroids")
    output.setChildOutputName("OUTPUT")
    centroids.setModelOutputs({"points": output})
    model.addChildAlgorithm(centroids)
    model.updateDestinationParameters()
    model.initAlgorithm()

    feedback = QgsProcessingFeedback()
    values = {"before": str(small_pair[0]), "after": str(small_pair[1])}
    name = next(d.name() for d in model.destinationParameterDefinitions())
    values[name] = str(tmp_path / "points.gpkg")
    _, good = model.create().run(values, QgsProcessingContext(), feedback)
    assert good, feedback.textLog()
    assert (tmp_path / "points.gpkg").stat().st_size


# Buildings of one image.


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
        ({"OUTPUT": "/somewhere/b.shp"}, "the result is one of .gpkg, .geojson"),
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


# The other commands.


def test_a_batch_of_two_scenes_is_one_layer(run, assess, small_pair, tmp_path):
    from geodamage_qgis.results.layers import dress
    from qgis.core import QgsVectorLayer

    pair = small_pair
    assess(OUTPUT=str(tmp_path / "one.gpkg"))
    manifest = tmp_path / "scenes.csv"
    manifest.write_text(f"name,pre,post\none,{pair[0]},{pair[1]}\ntwo,{pair[0]},{pair[1]}\n")
    output = tmp_path / "assessed"
    values = {"MANIFEST": str(manifest), "OUTPUT": str(output), "WORKERS": 1, "REPORTS": True}
    found = run("batch", **values, LOAD=False)
    assert (found["DONE"], found["FAILED"]) == (2, 0)
    scenes = sorted(output.glob("scenes/*/buildings.gpkg"))
    assert len(scenes) == 2
    assert read_features(scenes[0]) == read_features(tmp_path / "one.gpkg")
    event = QgsVectorLayer(found["EVENT"], "event", "ogr")
    # What two scenes show is in the event once.
    assert event.featureCount() == len(read_features(scenes[0]))
    dress(event)
    assert "preliminary" in Path(found["SUMMARY"]).read_text(encoding="utf-8")

    assert Path(found["REPORT"]).is_file()

    again = run("batch", **values, LOAD=False)
    assert (again["DONE"], again["FAILED"]) == (2, 0)


def test_a_scene_that_fails_is_named_and_the_others_are_done(
    run, small_pair, raster_elsewhere, tmp_path
):
    pair = small_pair
    manifest = tmp_path / "scenes.csv"
    manifest.write_text(
        f"name,pre,post\ngood,{pair[0]},{pair[1]}\nbad,{pair[0]},{raster_elsewhere}\n"
    )
    found = run("batch", MANIFEST=str(manifest), OUTPUT=str(tmp_path / "out"), LOAD=False)
    assert (found["DONE"], found["FAILED"]) == (1, 1)
    assert "bad: the images do not overlap" in run.feedback.textLog()


def test_predictions_that_are_the_targets_score_one(run, masks, tmp_path):
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    targets = tmp_path / "targets"
    targets.mkdir()
    for kind in ("localization", "damage"):
        from osgeo import gdal

        for folder, end in ((predictions, "prediction"), (targets, "target")):
            path = folder / f"test_{kind}_00000_{end}.png"
            gdal.GetDriverByName("PNG").CreateCopy(str(path), masks[kind])
    output = tmp_path / "scores.json"
    found = run("score", PREDICTIONS=str(predictions), TARGETS=str(targets), OUTPUT=str(output))
    assert found["SCORE"] == pytest.approx(1.0)
    assert json.loads(output.read_text())["score"] == pytest.approx(1.0)
    assert "1.0000" in Path(found["SUMMARY"]).read_text(encoding="utf-8")


def test_masks_without_labels_are_refused(provider):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("masks").create()
    values = {"OUTPUT": "TEMPORARY_OUTPUT"}
    good, why = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not good
    assert why == "no labels: give label files or a folder of them"


def test_labels_become_masks(run, label_file, command_line, tmp_path):
    by_command = tmp_path / "command"
    command_line("masks", label_file, "-o", by_command, "-q")
    found = run("masks", LABELS=[str(label_file)], OUTPUT=str(tmp_path / "qgis"))
    assert found["MASKS"] == 1
    of_folder = run("masks", FOLDER=str(label_file.parent), OUTPUT=str(tmp_path / "all"))
    assert of_folder["MASKS"] == 1
    (expected,) = by_command.glob("*.png")
    assert (tmp_path / "qgis" / expected.name).read_bytes() == expected.read_bytes()


@pytest.fixture
def masks(qgis_app):
    """Return masks with every grade, in memory."""
    from osgeo import gdal

    made = {}
    for kind, values in (("localization", [0, 1]), ("damage", [0, 1, 2, 3, 4])):
        dataset = gdal.GetDriverByName("MEM").Create("", 64, 64, 1, gdal.GDT_Byte)
        pixels = bytes(values[(column // 8) % len(values)] for column in range(64)) * 64
        if kind == "localization":
            grades = [0, 1, 2, 3, 4]
            pixels = bytes(bool(grades[(c // 8) % 5]) for c in range(64)) * 64
        dataset.WriteRaster(0, 0, 64, 64, pixels)
        made[kind] = dataset
    return made


@pytest.fixture
def label_file(tmp_path):
    """Return an xBD label file with two buildings."""

    def building(left, grade):
        corners = [(left, 20), (left + 30, 20), (left + 30, 50), (left, 50), (left, 20)]
        ring = ", ".join(f"{x} {y}" for x, y in corners)
        properties = {"feature_type": "building", "subtype": grade, "uid": f"b{left}"}
        return {"properties": properties, "wkt": f"POLYGON (({ring}))"}

    shapes = [building(10, "no-damage"), building(60, "destroyed")]
    path = tmp_path / "storm_00000001_post_disaster.json"
    content = {
        "features": {"xy": shapes, "lng_lat": []},
        "metadata": {"width": 1024, "height": 1024, "img_name": "storm_00000001_post_disaster.png"},
    }
    path.write_text(json.dumps(content))
    return path
