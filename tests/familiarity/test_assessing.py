"""An assessment says how familiar its scene is, on the console and in the sidecar."""

import json
from dataclasses import replace

import numpy as np
import pytest

from geodamage.adaptation.network import FeatureNetwork
from geodamage.familiarity.reference import NAME, learn
from tests.conftest import make_model, run_command
from tests.landscapes import landscape, later

SPLIT = "ab" * 32
PLACE = landscape(600, 640)


@pytest.fixture
def pair(raster):
    return raster("a_pre.tif", PLACE), raster("a_post.tif", later(PLACE))


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "bright.onnx", scores={"training": {"split_sha256": SPLIT}})


def assessed(pair, model, tmp_path, **limits):
    """Return what the console and the sidecar say, with a reference of such limits."""
    network = FeatureNetwork(device="cpu", threads=1)
    features = np.random.default_rng(0).normal(size=(100, 4 * network.channels))
    if limits:
        made = learn(features.astype(np.float32))
        replace(made, split_sha256=SPLIT, network_sha256=network.sha256, **limits).save(
            tmp_path / NAME
        )
    output = tmp_path / "out.geojson"
    result = run_command("assess", *pair, "-o", output, "--model", model)
    assert result.exit_code == 0, result.stderr
    return result.stderr, json.loads((tmp_path / "out.geojson.json").read_text())


@pytest.mark.slow
def test_a_model_without_a_reference_says_nothing(pair, model, tmp_path):
    said, facts = assessed(pair, model, tmp_path)
    assert facts["familiarity"]["verdict"] == "unknown"
    assert "no record of its training imagery" in facts["familiarity"]["why"]
    assert "learnt from" not in said


@pytest.mark.slow
def test_what_is_near_is_like_training_and_no_warning(pair, model, tmp_path):
    said, facts = assessed(pair, model, tmp_path, like=1e6, known=2e6)
    assert facts["familiarity"]["verdict"] == "like training"
    assert facts["familiarity"]["blocks"] >= 3
    assert "expect" not in facts["familiarity"]
    assert "looks like the training imagery" in said
    assert not [line for line in facts["warnings"] if "learnt" in line or "unlike" in line]


@pytest.mark.slow
def test_what_is_far_is_unlike_and_expects_less(pair, model, tmp_path):
    said, facts = assessed(pair, model, tmp_path, like=1e-3, known=1e6)
    assert facts["familiarity"]["verdict"] == "unlike training"
    assert "expect worse grades" in said
    assert facts["familiarity"]["expect"] in said
    assert not [line for line in facts["warnings"] if "unlike" in line]


@pytest.mark.slow
def test_beyond_all_that_is_known_there_is_a_warning(pair, model, tmp_path):
    said, facts = assessed(pair, model, tmp_path, like=1e-3, known=2e-3)
    assert [line for line in facts["warnings"] if "unlike everything" in line]
    assert "unlike everything" in said
