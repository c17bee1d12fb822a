import inspect
import json
from dataclasses import fields

import geopandas as gpd
import pytest

import geodamage
from geodamage import (
    BuildingOptions,
    Card,
    Job,
    LocalisationJob,
    Progress,
    Result,
    SceneOptions,
    Work,
    assess,
    localise,
)
from geodamage.batch.job import BatchJob
from geodamage.errors import DeviceError, InputError, OptionError, OutputExistsError
from geodamage.fields import FOOTPRINT_FIELDS, NAMES
from geodamage.job import call_options
from geodamage.scores.evaluation import EvaluationJob
from tests.conftest import ROOFS, UTM, listing, run_command


def comparable(frame):
    frame = frame.sort_values("building_id", ignore_index=True)
    return frame.assign(geometry=frame.geometry.normalize())


@pytest.fixture(scope="module")
def result(pair, model):
    return assess(pair.pre, pair.post, model=model)


@pytest.mark.slow
def test_two_images_in_and_buildings_out(result):
    assert isinstance(result, Result)
    assert isinstance(result.buildings, gpd.GeoDataFrame)
    assert [*result.buildings.columns] == [*NAMES, "geometry"]
    assert result.buildings.crs == UTM
    assert result.buildings["damage_class"].value_counts().to_dict() == dict(result.summary.counts)
    assert result.summary.buildings == result.facts["buildings"] == len(ROOFS)
    assert result.warnings == result.facts["warnings"] == []
    assert result.output is None
    assert repr(result) == "<Result: 5 buildings on 0.005 km², in memory>"


@pytest.mark.slow
def test_no_file_stays_where_none_is_asked_for(pair, model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert len(assess(pair.pre, pair.post, model=model).buildings) == len(ROOFS)
    assert listing(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b.gpkg", "b.geojson", "b.fgb"])
def test_with_output_it_writes_as_the_command_does(pair, model, result, tmp_path, name):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    options = {"raster": ours / "r.tif", "probabilities": ours / "p.tif", "min_area": 5}
    found = assess(pair.pre, str(pair.post), output=str(ours / name), model=model, **options)
    command = ["assess", *pair, "-o", theirs / name, "--model", model, "--min-area", "5",
               "--raster", theirs / "r.tif", "--probabilities", theirs / "p.tif"]  # fmt: skip
    assert run_command(*command).exit_code == 0
    assert listing(ours) == listing(theirs)
    for path in (*ours.glob("*.tif"), *ours.glob("*.geojson")):
        assert path.read_bytes() == (theirs / path.name).read_bytes()
    facts, said = (json.loads((at / f"{name}.json").read_text()) for at in (ours, theirs))
    for table in (facts, said):
        assert table.pop("seconds") > 0
        assert table.pop("created")
        assert table.pop("result_sha256")  # a GeoPackage holds the time at which it was written
    assert [*facts.items()] == [*said.items()]
    assert found.facts["scene"] == facts["scene"]
    assert found.output == ours / name
    left, right = comparable(found.buildings), comparable(result.buildings)
    assert left.drop(columns="geometry").equals(right.drop(columns="geometry"))
    # GeoJSON has seven decimals.
    assert left.symmetric_difference(right).area.max() < (1 if name == "b.geojson" else 1e-9)


@pytest.mark.slow
def test_a_result_needs_its_file_until_its_buildings_were_asked_for(pair, model, tmp_path):
    kept = assess(pair.pre, pair.post, model=model, output=tmp_path / "a.gpkg")
    lost = assess(pair.pre, pair.post, model=model, output=tmp_path / "b.gpkg")
    assert len(kept.buildings) == len(ROOFS)
    for path in tmp_path.iterdir():
        path.unlink()
    assert len(kept.buildings) == len(ROOFS)
    with pytest.raises(InputError, match=r"b\.gpkg"):
        _ = lost.buildings


@pytest.mark.slow
def test_a_scene_without_buildings_has_every_column(pair, model, tmp_path):
    for output in (None, tmp_path / "b.geojson"):
        found = assess(*pair, model=model, output=output, min_area=1e6).buildings
        assert (len(found), [*found.columns]) == (0, [*NAMES, "geometry"])
        assert found.crs == UTM


@pytest.mark.slow
def test_progress_takes_a_function(pair, model):
    steps = []
    assess(pair.pre, pair.post, model=model, progress=steps.append)
    assert {type(step) for step in steps} == {Progress}
    assert (steps[-1].stage, steps[-1].buildings) == ("done", len(ROOFS))


def test_an_error_in_that_function_stops_the_work(pair, model, tmp_path):
    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess(pair.pre, pair.post, model=model, output=tmp_path / "b.gpkg", progress=stop)
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_footprints_are_graded(pair, model, result, tmp_path):
    given = tmp_path / "given.gpkg"
    result.buildings[["geometry"]].to_file(given)
    found = assess(pair.pre, pair.post, model=model, footprints=str(given))
    assert found.facts["footprints"]["count"] == len(found.buildings) == len(ROOFS)
    assert found.summary.counts == result.summary.counts


@pytest.mark.slow
def test_results_are_not_replaced_unasked(pair, model, tmp_path):
    output = tmp_path / "b.gpkg"
    assess(pair.pre, pair.post, model=model, output=output)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        assess(pair.pre, pair.post, model=model, output=output)
    assess(pair.pre, pair.post, model=model, output=output, overwrite=True, date="2024-05-01")
    assert json.loads((tmp_path / "b.gpkg.json").read_text())["date"] == "2024-05-01"


@pytest.mark.slow
def test_of_a_job_the_work_is_returned_before_it_has_begun(pair, model, tmp_path):
    job = Job(pre=pair.pre, post=pair.post, output=tmp_path / "b.gpkg", model=model)
    work = assess(job)
    assert isinstance(work, Work)
    assert listing(tmp_path) == []
    assert next(work).stage == "open"
    found = work.result()
    assert (tmp_path / "b.gpkg.json").exists()
    assert len(found.buildings) == found.summary.buildings == len(ROOFS)
    assert repr(found) == f"<Result: 5 buildings on 0.005 km², in {tmp_path / 'b.gpkg'}>"


@pytest.mark.slow
def test_buildings_of_one_image(pair, model, tmp_path):
    found = localise(pair.pre, model=model, threshold=0.4, tta_scales="1")
    names = [field.name for field in FOOTPRINT_FIELDS]
    assert [*found.buildings.columns] == [*names, "geometry"]
    assert len(found.buildings) == found.summary.buildings == len(ROOFS)
    assert found.facts["thresholds"]["localisation"] == 0.4
    output = tmp_path / "found.gpkg"
    work = localise(LocalisationJob(image=pair.pre, output=output, model=model, threshold=0.4))
    same = work.result().buildings
    assert comparable(same).equals(comparable(found.buildings))
    assert listing(tmp_path) == ["found.gpkg", "found.gpkg.json"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("tta", "x", "--tta x: unknown; give none, flips or enlarged"),
        ("tta", "full", "--tta full: unknown; give none, flips or enlarged"),
        ("vote", "mean", "--vote mean: unknown"),
        ("memory", "2XB", "--memory 2XB: not a size"),
        ("memory", -1, "--memory -1: not a size"),
        ("threads", -1, "--threads -1: give a whole number"),
        ("batch_size", 0, "--batch-size 0: give a whole number"),
        ("tile", 0.5, "--tile 0.5: give a whole number"),
        ("overwrite", "yes", "--overwrite yes: give True or False"),
        ("footprints", 7, "--footprints 7: give the path"),
        ("device", "tpu", "--device tpu: unknown"),
    ],
)
def test_a_job_refuses_a_value_when_it_is_made(option, value, message):
    error = DeviceError if option == "device" else OptionError
    with pytest.raises(error, match=message):
        Job(pre="a.tif", post="b.tif", output="b.gpkg", **{option: value})
    with pytest.raises(error, match=message):
        assess("not_there.tif", "not_there.tif", **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("tta", "x", "--tta x: unknown; give none, flips, full or enlarged"),
        ("threshold", 1, "--threshold 1: give 0 or more, and less than 1"),
        ("tta_scales", "0,1", "--tta-scales 0,1: give numbers from 0.1 to 10"),
        ("min_area", -1, "--min-area -1"),
    ],
)
def test_localise_refuses_a_value_before_any_work(option, value, message):
    with pytest.raises(OptionError, match=message):
        localise("not_there.tif", **{option: value})


def test_what_excludes_each_other_is_refused_when_a_job_is_made():
    with pytest.raises(OptionError, match="give one of the two"):
        localise("not_there.tif", regularise=True, simplify=1)
    for kind, images in ((Job, {"pre": "a", "post": "b"}), (LocalisationJob, {"image": "a"})):
        with pytest.raises(OptionError, match="give two names"):
            kind(**images, output="b.gpkg", raster="a.tif", probabilities="a.tif")


def test_values_are_read_as_the_command_reads_them():
    job = Job(pre="a", post="b", output="b.gpkg", memory="2GB", threads="2")
    assert (job.memory, job.threads, job.output.suffix) == (2e9, 2, ".gpkg")


@pytest.mark.slow
def test_options_reach_what_they_are_of(pair, model):
    found = assess(
        pair.pre, pair.post, model=model, bands=[3, 2, 1], post_bands="1,2,3", min_area=5,
        simplify=1, vote="pixels", tta="flips", tile=48, batch_size=2, memory="2GB",
    )  # fmt: skip
    facts = found.facts
    assert facts["scene"]["pre"]["bands"] == [3, 2, 1]
    assert facts["scene"]["post"]["bands"] == [1, 2, 3]
    assert (facts["thresholds"]["min_area"], facts["thresholds"]["simplify"]) == (5, 1)
    assert (facts["vote"], facts["model"]["tta"]) == ("pixels", "flips")


def test_an_option_that_is_none_is_named_with_what_it_may_have_been():
    with pytest.raises(TypeError, match="'tille'; did you mean tile"):
        assess("a.tif", "b.tif", tille=512)
    with pytest.raises(TypeError, match="'qqq'; there are model"):
        localise("a.tif", qqq=1)


def test_beside_a_job_nothing_is_taken():
    job = Job(pre="a", post="b", output="b.gpkg")
    with pytest.raises(TypeError, match="give it post"):
        assess(job, "b.tif")
    with pytest.raises(TypeError, match="give it tta"):
        assess(job, tta="flips")
    with pytest.raises(TypeError, match="localise"):
        assess("a.tif")


@pytest.mark.parametrize(
    ("function", "command", "job"),
    [(assess, "assess", "Job"), (localise, "buildings", "LocalisationJob")],
)
def test_help_shows_every_option(function, command, job):
    options = call_options(command, job)
    shown = inspect.signature(function).parameters
    text = inspect.getdoc(function)
    assert {"model", "min_area", "aoi", "bands", "memory"} <= options.keys()
    assert not options.keys() & {"quiet", "verbose", "progress", "output"}
    for name, option in options.items():
        assert shown[name].default == option.default
        assert f"\n{name}" in text
    assert "OPTIONS" not in text


@pytest.mark.parametrize(
    "kind",
    [Job, LocalisationJob, BatchJob, EvaluationJob, SceneOptions, BuildingOptions, Card, Result],
)
def test_help_explains_every_field(kind):
    text = inspect.getdoc(kind)
    section = text.partition("Attributes\n----------\n")[2]
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    named = {name for line in heads for name in line.split(", ")}
    private = {"crs", "fields", "frame"} if kind is Result else set()
    assert {field.name for field in fields(kind)} - private <= named


def test_names_that_people_import_are_there():
    for name in geodamage.__all__:
        assert getattr(geodamage, name) is not None
