"""`assess --features`, and what follows from it: adapt, regrade, and assess by an event model.

Roofs of whatever grade look alike to the model. Where the truth is damage, they are striped.
"""

import json

import geopandas as gpd
import numpy as np
import pytest

from geodamage import Job, assess
from geodamage.adaptation.feature_file import read_features
from geodamage.adaptation.fingerprints import fingerprint
from geodamage.errors import OutputExistsError
from geodamage.output.publication import read_sidecar
from tests.assessments import comparable, read, write_footprints
from tests.conftest import ROOF, Roof, make_arrays, make_raster, run_command

SIDE, APART, ROWS = 16, 32, 9
#: Every roof is undamaged to the model.
ROOFS = [
    Roof(16 + APART * row, 16 + APART * column, SIDE, SIDE, 1)
    for row in range(ROWS)
    for column in range(ROWS)
]
STRIPED = np.random.default_rng(0).random(len(ROOFS)) < 0.4


@pytest.fixture(scope="module")
def event(tmp_path_factory):
    """Return a pair whose damaged roofs are striped."""
    folder = tmp_path_factory.mktemp("event")
    pre, post = make_arrays((ROWS * APART + 32, ROWS * APART + 32), ROOFS)
    for roof, striped in zip(ROOFS, STRIPED, strict=True):
        rows, columns = slice(roof.row, roof.row + SIDE), slice(roof.column, roof.column + SIDE)
        if striped:
            # The first band is what the model looks at.
            post[1:, rows, columns] = np.where(np.arange(SIDE) % 4 < 2, 250, 20)
        assert (pre[0, rows, columns] == ROOF).all()
    return [make_raster(folder / f"{name}.tif", a) for name, a in (("pre", pre), ("post", post))]


@pytest.fixture(scope="module")
def assessed(event, model, tmp_path_factory):
    """Return a folder with a result, its features, and answers to half of it."""
    folder = tmp_path_factory.mktemp("assessed")
    result = run_command(
        "assess", *event, "-o", folder / "b.gpkg", "--model", model, "--features", folder / "f.npz"
    )
    assert result.exit_code == 0, result.stderr
    frame = gpd.read_file(folder / "b.gpkg", layer=0)
    rows = frame.assign(truth=is_striped(frame)).sort_values("building_id").iloc[::2]
    lines = [
        f"{row.building_id},{'destroyed' if row.truth else 'no-damage'}"
        for row in rows.itertuples()
    ]
    (folder / "answers.csv").write_text("\n".join(["building_id,damage", *lines]))
    return folder


@pytest.fixture(scope="module")
def adapted(assessed):
    """Return an event model of the answers."""
    output = assessed / "event-model.toml"
    answers = assessed / "answers.csv"
    result = run_command("adapt", assessed / "b.gpkg", "--reviewed", answers, "-o", output)
    assert result.exit_code == 0, result.stderr
    return output


def is_striped(frame):
    """Say which buildings of a frame are striped."""
    own = frame.geometry.to_crs("EPSG:32616").centroid
    places = [roof.polygon.centroid for roof in ROOFS]
    near = [int(np.argmin([point.distance(place) for place in places])) for point in own]
    return STRIPED[near]


@pytest.mark.slow
def test_features_stand_beside_the_result(assessed):
    frame, kept = gpd.read_file(assessed / "b.gpkg", layer=0), read_features(assessed / "f.npz")
    assert 0.9 * len(ROOFS) < len(frame) == len(kept.building_id)
    assert (frame["damage_class"] == 1).all()
    assert sorted(kept.building_id) == sorted(frame["building_id"])
    assert kept.features.shape == (len(frame), 192)
    assert kept.about["result"] == fingerprint(frame)
    facts = read_sidecar(assessed / "b.gpkg")
    assert facts["features"] == {"file": "f.npz"}
    assert kept.about["model_sha256"] == facts["model"]["sha256"]


@pytest.mark.slow
def test_features_do_not_depend_on_tiles(event, model, assessed, tmp_path):
    whole = read_features(assessed / "f.npz")
    paths = [tmp_path / "b.geojson", tmp_path / "f.npz"]
    result = run_command(
        "assess", *event, "-o", paths[0], "--features", paths[1], "--model", model, "--tile", 48
    )
    assert result.exit_code == 0, result.stderr
    cut = read_features(paths[1])
    order = [whole.building_id.tolist().index(name) for name in cut.building_id]
    np.testing.assert_allclose(cut.features, whole.features[order], atol=2e-2, rtol=1e-2)


@pytest.mark.slow
def test_without_features_the_result_is_the_same(event, model, assessed, tmp_path):
    result = run_command("assess", *event, "-o", tmp_path / "b.gpkg", "--model", model)
    assert result.exit_code == 0, result.stderr
    assert read_sidecar(tmp_path / "b.gpkg")["features"] is None
    frames = [comparable(read(folder / "b.gpkg")) for folder in (assessed, tmp_path)]
    assert frames[0].equals(frames[1])


@pytest.mark.slow
def test_an_event_is_learnt_from_answers(assessed, adapted, tmp_path):
    output = tmp_path / "better.gpkg"
    result = run_command("regrade", assessed / "b.gpkg", "--model", adapted, "-o", output)
    assert result.exit_code == 0, result.stderr
    better = gpd.read_file(output, layer=0)
    unseen = better[better["source"] == "model"]
    assert 0 < len(unseen) < len(better)
    assert np.mean(unseen["damaged"].to_numpy(bool) == is_striped(unseen)) > 0.9


@pytest.mark.slow
def test_assessing_by_an_event_model_is_regrading(event, assessed, adapted, tmp_path):
    regraded, again = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    result = run_command("regrade", assessed / "b.gpkg", "--model", adapted, "-o", regraded)
    assert result.exit_code == 0, result.stderr
    result = run_command("assess", *event, "-o", again, "--model", adapted)
    assert result.exit_code == 0, result.stderr
    frames = [comparable(read(path)) for path in (regraded, again)]
    for name in ("building_id", "damage_class", "source", "status"):
        assert frames[0][name].to_list() == frames[1][name].to_list(), name
    assert np.abs(frames[0]["p_destroyed"] - frames[1]["p_destroyed"]).max() < 0.02
    facts = [read_sidecar(path) for path in (regraded, again)]
    for name in ("sha256", "base", "adapted", "licence"):
        assert facts[0]["model"][name] == facts[1]["model"][name], name
    assert facts[0]["buildings_per_grade"] == facts[1]["buildings_per_grade"]
    assert facts[0]["thresholds"] == facts[1]["thresholds"]


@pytest.mark.slow
def test_the_raster_has_the_grades_of_the_event_model(event, adapted, tmp_path):
    raster = tmp_path / "r.tif"
    result = run_command(
        "assess", *event, "-o", tmp_path / "b.gpkg", "--model", adapted, "--raster", raster
    )
    assert result.exit_code == 0, result.stderr
    assert set(gpd.read_file(tmp_path / "b.gpkg", layer=0)["damage_class"]) > {1}


@pytest.mark.slow
def test_footprints_that_are_not_assessed_have_no_features(event, model, tmp_path):
    shapes = [ROOFS[0].polygon, Roof(5000, 5000, 9, 9, 1).polygon]
    given = write_footprints(tmp_path / "given.gpkg", ["near", "far"], shapes)
    result = run_command(
        "assess", *event, "-o", tmp_path / "b.gpkg", "--features", tmp_path / "f.npz",
        "--model", model, "--footprints", given, "--id-field", "uid",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    kept = read_features(tmp_path / "f.npz")
    known = dict(zip(kept.building_id, np.isfinite(kept.probabilities).all(1), strict=True))
    assert known == {"near": True, "far": False}


@pytest.mark.slow
def test_an_event_model_whose_base_changed_is_refused(event, adapted, tmp_path):
    text = adapted.read_text()
    facts = json.loads(json.dumps(text.partition("[base]")[2]))
    sha = facts.partition('sha256 = "')[2][:64]
    other = tmp_path / "other.toml"
    other.write_text(text.replace(sha, "0" * 64))
    result = run_command("assess", *event, "-o", tmp_path / "b.gpkg", "--model", other)
    assert result.exit_code == 5
    assert "is not the model that the event model starts from" in result.stderr
    assert not (tmp_path / "b.gpkg").exists()


def test_features_are_not_replaced_unasked(event, model, tmp_path):
    (tmp_path / "f.npz").write_text("mine")
    job = Job(
        pre=event[0], post=event[1], output=tmp_path / "b.gpkg", model=model,
        features=tmp_path / "f.npz",
    )  # fmt: skip
    with pytest.raises(OutputExistsError):
        list(assess(job))
    assert (tmp_path / "f.npz").read_text() == "mine"


@pytest.mark.slow
def test_a_run_that_is_stopped_leaves_no_features(event, model, tmp_path):
    job = Job(
        pre=event[0], post=event[1], output=tmp_path / "b.gpkg", model=model,
        features=tmp_path / "f.npz",
    )  # fmt: skip
    work = assess(job)
    next(step for step in work if step.stage == "predict")
    work.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "provider"), [("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")]
)
def test_an_event_model_heeds_the_engine(event, adapted, tmp_path, engine, provider):
    pytest.importorskip(engine)
    output = tmp_path / "b.gpkg"
    ran = run_command("assess", *event, "-o", output, "--model", adapted, "--engine", engine, "-q")
    assert ran.exit_code == 0, ran.stderr
    assert provider in read_sidecar(output)["model"]["provider"]
