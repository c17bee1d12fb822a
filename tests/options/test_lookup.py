import json
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from geodamage.assessment import Job
from geodamage.batch.job import BatchJob
from geodamage.buildings.finding import BuildingOptions
from geodamage.buildings.votes import VOTES
from geodamage.cli.masks import SAID
from geodamage.comparison.comparing import CompareOptions
from geodamage.errors import DeviceError, OptionError
from geodamage.exports.exporting import ExportOptions
from geodamage.footprints.gathering import FootprintsJob
from geodamage.grid import SENSORS
from geodamage.localisation import LocalisationJob
from geodamage.model.engines import PRECISIONS
from geodamage.model.ensemble import TTA
from geodamage.model.session import PROVIDERS
from geodamage.optimise.timings import TimingJob
from geodamage.optimise.variants import VARIANTS, OptimisationJob
from geodamage.options.lookup import (
    TAKERS,
    as_dict,
    check,
    columns,
    commands,
    options_of,
    taken,
)
from geodamage.options.table import TABLE
from geodamage.report.view import Words
from geodamage.report.writing import ReportOptions
from geodamage.reviews.agreement import RULES
from geodamage.reviews.estimation import EstimateOptions
from geodamage.reviews.sampling import SampleOptions
from geodamage.scene.options import SceneOptions
from geodamage.scores.evaluation import EvaluationJob
from geodamage.scores.footprints import ScoringOptions

CLASSES = {
    kind.__name__: kind
    for kind in (Job, SceneOptions, BuildingOptions, LocalisationJob, BatchJob, EvaluationJob,
                 ReportOptions, Words, SampleOptions, EstimateOptions, ScoringOptions,
                 FootprintsJob, OptimisationJob, TimingJob, ExportOptions, CompareOptions)
}  # fmt: skip
OF_CLASSES = [
    pytest.param(CLASSES[taker], option, field, id=f"{taker}.{field}")
    for taker, command in TAKERS.items()
    for option in options_of(command)
    if (field := option.field_of(taker)) is not None
]


def test_the_table_needs_nothing_but_itself():
    script = "import sys, geodamage.options.lookup\nprint(*{n.split('.')[0] for n in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"numpy", "rasterio", "geopandas", "torch", "onnxruntime", "click", "pyproj"}
    assert not heavy & set(found.stdout.split())


def test_a_name_stands_once():
    assert len({row.name for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("command", commands())
def test_what_is_said_of_an_option_is_a_sentence(command):
    for option in options_of(command):
        assert option.help.endswith("."), option.name
        assert option.check(option.default) is not None or option.default is None


@pytest.mark.parametrize(("kind", "option", "field"), OF_CLASSES)
def test_a_field_that_takes_an_option_is_there_and_has_its_default(kind, option, field):
    (there,) = (own for own in fields(kind) if own.name == field)
    # Where the command leaves an option out, the library says what is taken.
    if there.default is not MISSING and option.default is not None:
        assert there.default == option.check(option.default)


def test_every_dataclass_of_the_table_is_known():
    used = {taker.partition(".")[0] for row in TABLE for taker in row.takers}
    changed = {
        taker.partition(".")[0]
        for command in commands()
        for option in options_of(command)
        for taker in option.takers
    }
    assert used | changed == TAKERS.keys() == CLASSES.keys()


def test_the_words_are_those_of_the_library():
    words = {option.name: option.kind.facts().get("choices") for option in options_of("buildings")}
    words |= {option.name: option.kind.facts().get("choices") for option in options_of("assess")}
    assert words["vote"] == list(VOTES)
    assert words["post_sensor"] == list(SENSORS)
    (full,) = (option for option in options_of("buildings") if option.name == "tta")
    assert full.kind.facts()["choices"] == [*TTA, "enlarged"]
    (named,) = (row for row in options_of("models optimise") if row.name == "precision")
    assert named.kind.facts()["choices"] == list(VARIANTS)
    assert words["precision"] == [name for name in PRECISIONS if name != "stored"]
    (drawn,) = (row for row in TABLE if row.name == "unclassified")
    assert drawn.kind.facts()["choices"] == list(SAID)
    (resolving,) = (row for row in TABLE if row.name == "conflicts")
    assert resolving.kind.facts()["choices"] == list(RULES)
    assert all(check("device", name) == name for name in PROVIDERS)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tta", "full", "--tta full: unknown; give none, flips or enlarged"),
        ("tta", None, "--tta None: unknown; give none, flips or enlarged"),
        ("min_area", -1, "--min-area -1: give a number that is not negative"),
        ("scale", (9, 5.5), "--scale 9,5.5: give MIN,MAX with MIN below MAX"),
        ("memory", "much", "--memory much: not a size; write 1.5GB or 800MB"),
        ("tile", "x" * 500, f"--tile {'x' * 80}: give a number"),
        ("id_field", "a\n\0b", "--id-field a \0b: give a text"),
        ("aoi", object, "--aoi <class 'object'>: give the path of a file"),
    ],
)
def test_a_value_is_refused_in_the_words_of_the_command(name, value, message):
    with pytest.raises(OptionError) as caught:
        check(name, value)
    assert str(caught.value) == message


def test_a_device_that_is_none_is_an_error_of_devices():
    with pytest.raises(DeviceError, match="--device tpu: unknown; give auto, cpu, cuda"):
        check("device", "tpu")


def test_a_command_may_differ():
    assert check("tta", "full", "buildings") == "full"
    assert check("memory", None, "batch") is None
    assert check("memory", "2GB") == 2e9
    with pytest.raises(KeyError, match="footprints"):
        check("footprints", "a.gpkg", "buildings")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SceneOptions(post_sensor="lidar"), "--post-sensor lidar: unknown"),
        (lambda: SceneOptions(pre_bands="1,x"), "--bands 1,x: give a number"),
        (lambda: BuildingOptions(min_area="wide"), "--min-area wide: give a number"),
        (lambda: BuildingOptions(simplify=None), "--simplify None: give a number"),
        (lambda: BatchJob(scenes=[], output="out", workers=0), "--workers 0: .* 1 or more"),
        (lambda: BatchJob(scenes=[], output="out", merge="no"), "--merge no: give True or False"),
        (lambda: EvaluationJob(folder=Path(), tta="full"), "--tta full: unknown"),
        (lambda: EvaluationJob(folder=Path(), bootstrap=-1), "--bootstrap -1: .* 0 or more"),
        (lambda: ScoringOptions(gsd=None), "--gsd None: give a number"),
        (lambda: ReportOptions(scale=(2, 1)), "--scale 2,1: give MIN,MAX"),
        (lambda: TimingJob(devices=("tpu",)), "--device tpu: unknown"),
        (lambda: OptimisationJob(calibration="xbd", precisions=("fp8",)), "--precision fp8: unk"),
    ],
)
def test_values_are_refused_when_the_object_is_made(make, message):
    with pytest.raises((OptionError, DeviceError), match=message):
        make()


def test_values_are_read_when_the_object_is_made():
    options = SceneOptions(aoi="a.gpkg", scale="0,3000", pre_bands=[3, 2, 1])
    assert options == SceneOptions(aoi=Path("a.gpkg"), scale=(0, 3000.0), pre_bands=(3, 2, 1))
    assert BatchJob(scenes=[], output="out", memory="8GB").memory == 8e9


def test_the_fields_of_a_job_are_those_that_the_command_was_given():
    given = {"memory": 8e9, "scene_memory": 1e9, "raster": True, "tile": 64, "bands": (1, 2, 3)}
    assert taken("Job", "batch", given) == {"memory": 1e9, "tile": 64}
    assert taken("BatchJob", "batch", given) == {"memory": 8e9, "raster": True}
    assert taken("SceneOptions", "batch", given) == {"pre_bands": (1, 2, 3)}


def test_json_holds_all_of_it():
    table = json.loads(json.dumps(as_dict(), allow_nan=False))
    assert table["columns"] == list(columns())
    (found,) = (entry for entry in table["commands"]["assess"] if entry["name"] == "min_area")
    assert found == {
        "name": "min_area", "option": "--min-area", "type": "number", "minimum": 0,
        "default": 20.0, "unit": "m²", "metavar": "M2", "help": "Smallest building.",
        "required": False, "multiple": False, "column": True,
    }  # fmt: skip


def test_replacing_a_field_checks_it():
    read = BuildingOptions("12.5")
    assert replace(read, simplify="1") == BuildingOptions(12.5, 1.0)
    with pytest.raises(OptionError, match="--simplify inf: give a number"):
        replace(read, simplify=float("inf"))
