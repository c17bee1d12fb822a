"""How far the surroundings of buildings lie from what the model learnt from."""

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest

from geodamage.errors import AdaptationError, OptionError
from geodamage.familiarity import buildings
from geodamage.familiarity.buildings import building_distances, surroundings
from geodamage.familiarity.reference import NAME, learn
from geodamage.model.catalogue import read_model
from tests.adaptation import made_results
from tests.adaptation.made_results import make_features, make_said, make_truth, write_result
from tests.conftest import make_model, run_command

SPLIT = "ab" * 32
WIDTH = 8


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Return a result of 40 buildings, the last ten of which stand on strange ground."""
    model = make_model(tmp_path / "own.onnx", scores={"training": {"split_sha256": SPLIT}})
    known = np.random.default_rng(0).normal(size=(100, 2 * WIDTH)).astype(np.float32)
    reference = replace(learn(known), split_sha256=SPLIT, network_sha256="b" * 64)
    reference.save(tmp_path / NAME)
    monkeypatch.setitem(made_results.MODEL, "sha256", read_model(model).card.sha256)
    monkeypatch.setattr(buildings, "find_model", lambda name: model)
    truth = make_truth(40)
    features = make_features(truth, 0.0, width=2 * WIDTH)
    features[30:, WIDTH : 2 * WIDTH] += 6
    return write_result(tmp_path, make_said(truth, 1.0), features, buildings=40)


def test_surroundings_are_the_second_half_of_each_date():
    whole = np.arange(8.0)[None]
    assert surroundings(whole).tolist() == [[2, 3, 6, 7]]


def test_strange_ground_is_farthest(result):
    far = building_distances([result])
    order = sorted(far, key=lambda name: far[name])
    assert set(order[30:]) == {f"b{n}" for n in range(30, 40)}


@pytest.mark.slow
def test_a_sample_has_strata_of_strange_ground(result, tmp_path):
    output = tmp_path / "sample.gpkg"
    ran = run_command("sample", result, "-n", 20, "--familiarity", "-o", output)
    assert ran.exit_code == 0, ran.stderr
    sample = gpd.read_file(output, layer=0)
    strange = sample["building_id"].isin([f"b{n}" for n in range(30, 40)])
    assert (sample["stratum"].str.startswith("less familiar") == strange).all()
    assert "less familiar: " in ran.stderr


def test_another_reference_is_none(result, tmp_path):
    (tmp_path / NAME).unlink()
    with pytest.raises(OptionError, match="nothing is kept"):
        building_distances([result])


def test_a_result_without_features_is_refused(result):
    sidecar = result.with_name(f"{result.name}.json")
    facts = json.loads(sidecar.read_text())
    del facts["features"]
    sidecar.write_text(json.dumps(facts))
    with pytest.raises(AdaptationError, match="has no features"):
        building_distances([result])
