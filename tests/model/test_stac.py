"""Cards as STAC items: valid by STAC's schemas and by the rules of the extension, and true."""

import copy
import hashlib
import json

import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from geodamage.errors import ModelError
from geodamage.model.catalogue import read_model
from geodamage.model.loading import bundled_models
from geodamage.model.stac import stac_item
from tests.conftest import make_model, run_command
from tests.model.mlm_rules import ITEM

jsonschema = pytest.importorskip("jsonschema")


def misfits(item):
    validator = jsonschema.Draft7Validator(ITEM)
    return [error.json_path for error in validator.iter_errors(item)]


def check(item):
    """Check an item by the schemas of STAC, which pystac holds, and by those of the extension."""
    assert misfits(item) == []
    local = pytest.importorskip("pystac.validation.local_validator")
    schemas = local.get_local_schema_cache()
    known = [(uri, DRAFT7.create_resource(schema)) for uri, schema in schemas.items()]
    name = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
    validator = jsonschema.Draft7Validator(schemas[name], registry=Registry().with_resources(known))
    assert [error.message for error in validator.iter_errors(item)] == []


@pytest.fixture
def item(tmp_path):
    path = make_model(tmp_path / "one.onnx", halo=9)
    return stac_item(read_model(path), hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("name", bundled_models())
def test_the_bundled_models_are_valid(name):
    shown = run_command("models", "show", name, "--stac")
    assert shown.exit_code == 0, shown.stderr
    item = json.loads(shown.stdout)
    check(item)
    path = bundled_models()[name]
    asset = item["assets"]["model"]
    assert (item["id"], item["properties"]["license"]) == (name, "CC-BY-NC-SA-4.0")
    assert asset["file:size"] == path.stat().st_size
    assert asset["file:checksum"] == f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
    taken = [(i["name"], i["input"]["shape"]) for i in item["properties"]["mlm:input"]]
    assert taken == [("pre", [-1, 3, -1, -1]), ("post", [-1, 3, -1, -1])]
    given = [o["name"] for o in item["properties"]["mlm:output"]]
    assert given == ["localisation", "damage"]


def test_a_radar_a_fixed_window_and_a_caution(tmp_path):
    path = make_model(
        tmp_path / "a b.onnx", name="é 9", context="global", tile=64, post_sensor="sar",
        post_channels=("intensity",), caution="do not trust it", licence="MIT AND more",
        scene_statistics="stretch",
    )  # fmt: skip
    item = stac_item(read_model(path), "0" * 64)
    check(item)
    facts = item["properties"]
    assert (item["id"], facts["title"]) == ("model-9", "é 9")
    assert facts["license"] == "other"
    assert "Caution: do not trust it." in facts["description"]
    after = facts["mlm:input"][1]
    assert (after["bands"], after["input"]["shape"]) == (["post-intensity"], [-1, 1, 64, 64])
    assert "stretch the scene" in after["description"]
    assert {"name": "post-intensity", "description": "intensity, sar, post"} in facts["bands"]


def test_an_ensemble_has_its_members_as_assets(tmp_path):
    make_model(tmp_path / "one.onnx")
    path = tmp_path / "both.toml"
    path.write_text('name = "both"\nthreshold = 0.4\n[[member]]\nfile = "one.onnx"\n')
    item = stac_item(read_model(path), "0" * 64)
    check(item)
    assert item["assets"]["member-1"]["href"] == "one.onnx"
    assert item["properties"]["mlm:hyperparameters"]["threshold"] == 0.4


def test_an_ensemble_of_maps_alone_is_refused(tmp_path):
    path = make_model(tmp_path / "one.onnx")
    read = read_model(path)
    without = type(read)(read.name, read.path, read.size, None, {}, ())
    with pytest.raises(ModelError, match="holds saved maps and no graph"):
        stac_item(without, "0" * 64)


def put(item, value, *keys):
    for key in keys[:-1]:
        item = item[key]
    item[keys[-1]] = value


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("1x", ["properties", "mlm:name"]),
        (["guessing"], ["properties", "mlm:tasks"]),
        (1.5, ["properties", "mlm:memory_size"]),
        ("gpu", ["properties", "mlm:accelerator"]),
        ({}, ["properties", "mlm:hyperparameters"]),
        (1, ["properties", "mlm:colour"]),
        ("byte", ["properties", "mlm:input", 0, "input", "data_type"]),
        ([-2], ["properties", "mlm:input", 0, "input", "shape"]),
        ([{"type": "z-score"}], ["properties", "mlm:input", 0, "value_scaling"]),
        ([{"value": 1, "name": "a b"}], ["properties", "mlm:output", 0, "classification:classes"]),
        ([], ["properties", "bands"]),
        (["data"], ["assets", "model", "roles"]),
        ("", ["assets", "model", "mlm:artifact_type"]),
        (["https://stac-extensions.github.io/mlm/v1.4.0/schema.json"], ["stac_extensions"]),
    ],
)
def test_the_rules_refuse_what_the_extension_refuses(item, value, keys):
    assert misfits(item) == []
    changed = copy.deepcopy(item)
    put(changed, value, *keys)
    assert misfits(changed)


def test_the_package_of_the_extension_reads_it(item):
    schema = pytest.importorskip("stac_model.schema")
    read = schema.MLModelProperties(**item["properties"])
    assert read.name == item["properties"]["mlm:name"]
    assert [taken.name for taken in read.input] == ["pre", "post"]
