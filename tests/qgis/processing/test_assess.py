"""The algorithm that assesses a pair: every parameter, models, cancelling."""

import json
import threading
from pathlib import Path

import pytest
from features import facts_of, read_features


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


def test_a_shapefile_is_written_where_one_is_asked_for(assess, run, tmp_path):
    found = assess(OUTPUT=str(tmp_path / "b.shp"))
    assert found["OUTPUT"] == str(tmp_path / "b.shp")
    assert facts_of(found["OUTPUT"])["buildings"] == found["BUILDINGS"]
    assert (tmp_path / "b.dbf").stat().st_size


def test_a_temporary_output_is_a_geopackage_with_its_facts(assess):
    found = assess(OUTPUT="TEMPORARY_OUTPUT")
    assert found["OUTPUT"].endswith(".gpkg")
    assert facts_of(found["OUTPUT"])["buildings"] == found["BUILDINGS"]


def test_options_reach_the_tool(assess, run, tmp_path):
    assess(
        OUTPUT=str(tmp_path / "b.gpkg"), MODEL="fast", TTA="flips", VOTE="pixels", BANDS="3,2,1",
        MIN_AREA=60, SIMPLIFY=0.5, TILE=512, BATCH_SIZE=2, THREADS=1, MEMORY="800MB", DEVICE="cpu",
        POST_SENSOR="optical", OBSCURED="on", REGISTRATION="off", SEEN_SHARE=0.25, POST_NODATA=7,
    )  # fmt: skip
    command = next(
        line for line in run.feedback.textLog().splitlines() if " assess --progress json" in line
    )
    for word in (
        "--model=fast", "--tta=flips", "--vote=pixels", "--bands=3,2,1", "--min-area=60.0",
        "--simplify=0.5", "--tile=512", "--batch-size=2", "--threads=1", "--memory=800MB",
        "--device=cpu", "--registration=off", "--seen-share=0.25", "--post-nodata=7.0",
    ):  # fmt: skip
        assert word in command.split(), command
    assert "--post-sensor" not in command
    assert "--obscured" not in command
    assert "--nodata" not in command


def test_unusable_ground_is_not_graded(assess, layers, footprints, tmp_path):
    box = layers[0].extent()
    left, right, bottom, top = box.xMinimum(), box.xMaximum(), box.yMinimum(), box.yMaximum()
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    unusable = tmp_path / "cloud.geojson"
    unusable.write_text(json.dumps({
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": layers[0].crs().authid()}},
        "features": [{"type": "Feature", "properties": {},
                      "geometry": {"type": "Polygon", "coordinates": [ring]}}],
    }))  # fmt: skip
    found = assess(OUTPUT=str(tmp_path / "b.gpkg"), FOOTPRINTS=footprints,
                   POST_UNUSABLE=str(unusable))  # fmt: skip
    assert facts_of(found["OUTPUT"])["not_assessed_by_reason"]["obscured_post"] > 0


@pytest.mark.parametrize("name", ["PRE_UNUSABLE", "POST_UNUSABLE", "IDS_FROM"])
def test_a_file_that_is_not_there_is_refused(assess, tmp_path, name):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="no such file"):
        assess(OUTPUT=str(tmp_path / "b.gpkg"), **{name: str(tmp_path / "none.gpkg")})


def test_an_earlier_result_names_buildings_again(assess, tmp_path):
    first = assess(OUTPUT=str(tmp_path / "a.gpkg"))
    again = assess(OUTPUT=str(tmp_path / "b.gpkg"), IDS_FROM=first["OUTPUT"])
    names = [{feature[0] for feature in read_features(found["OUTPUT"])}
             for found in (first, again)]  # fmt: skip
    assert names[0] == names[1]
    assert facts_of(again["OUTPUT"])["ids_from"]["file"] == "a.gpkg"


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
        ({"OUTPUT": "/somewhere/b.kml"}, "the result is one of .gpkg, .geojson"),
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


def test_one_image_as_both_dates_is_refused(run, small_pair, tmp_path):
    from qgis.core import QgsProcessingException

    (tmp_path / "link.tif").symlink_to(small_pair[0])
    for after in (small_pair[0], tmp_path / "link.tif"):
        with pytest.raises(QgsProcessingException, match="as the image before and as"):
            run("assess", PRE=str(small_pair[0]), POST=[str(small_pair[1]), str(after)],
                OUTPUT=str(tmp_path / "b.gpkg"))  # fmt: skip
    assert not list(tmp_path.glob("b.*"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("PRE", "cannot be read as an image"), ("FOOTPRINTS", "cannot be read as a file of polygons")],
)
def test_a_broken_file_is_named_with_the_reason(provider, pair, tmp_path, name, said):
    from qgis.core import QgsProcessingContext

    broken = tmp_path / "broken.tif"
    broken.write_bytes(pair[0].read_bytes()[:100])
    values = {"PRE": str(pair[0]), "POST": str(pair[1]), "OUTPUT": str(tmp_path / "b.gpkg")}
    algorithm = provider.algorithm("assess")
    good, why = algorithm.checkParameterValues(
        {**values, name: str(broken)}, QgsProcessingContext()
    )
    assert not good
    assert why.startswith(f"{broken}: {said}: ")
    assert not why.endswith("no reason given")


def test_a_broken_layer_is_named(provider, pair, project, tmp_path):
    from qgis.core import QgsProcessingContext, QgsRasterLayer

    layer = QgsRasterLayer("/nowhere/moved.tif", "the old place")
    project.addMapLayer(layer)
    context = QgsProcessingContext()
    context.setProject(project)
    values = {"POST": str(pair[1]), "OUTPUT": str(tmp_path / "b.gpkg")}
    for given in (layer, layer.id(), [layer.id()]):
        algorithm = provider.algorithm("assess")
        good, why = algorithm.checkParameterValues({**values, "PRE": given}, context)
        assert not good
        assert why == "the old place: the layer is broken; repair its data source"


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


def test_temporary_features_lie_beside_their_result(assess):
    outputs = assess(OUTPUT="TEMPORARY_OUTPUT", FEATURES="TEMPORARY_OUTPUT")
    features = Path(outputs["FEATURES"])
    assert features.is_file()
    assert features == Path(outputs["OUTPUT"]).with_suffix(".npz")
