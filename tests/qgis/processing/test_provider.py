"""The provider, and its algorithms as `qgis_process` runs them."""

import json
import os
import shutil
import signal
import time

import pytest
from features import read_features

AOI = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [
                        [-94.4942, 37.0712],
                        [-94.4924, 37.0712],
                        [-94.4924, 37.0726],
                        [-94.4942, 37.0726],
                        [-94.4942, 37.0712],
                    ]
                ],
            },
        }
    ],
}


def test_the_algorithms_are_found(provider):
    names = [algorithm.name() for algorithm in provider.algorithms()]
    assert names == [
        "adapt", "assess", "batch", "buildings", "compare", "estimate", "event", "export", "import",
        "masks", "regrade", "sample", "score",
    ]  # fmt: skip
    assert provider.defaultVectorFileExtension() == "gpkg"


def test_every_parameter_is_explained(provider):
    for algorithm in provider.algorithms():
        assert algorithm.shortHelpString()
        for parameter in algorithm.parameterDefinitions():
            assert parameter.description(), parameter.name()


def test_the_contract_of_names_holds(provider):
    names = {p.name() for p in provider.algorithm("assess").parameterDefinitions()}
    assert names >= {"PRE", "POST", "MODEL", "FOOTPRINTS", "ID_FIELD", "AOI", "OUTPUT", "RASTER"}
    assert names >= {"PROBABILITIES", "REPORT", "DEVICE", "TTA", "VOTE", "BANDS", "SCALE", "TILE"}
    both = names & {p.name() for p in provider.algorithm("batch").parameterDefinitions()}
    assert both >= {
        "POST_SENSOR", "REGISTRATION", "OBSCURED", "PRE_UNUSABLE", "POST_UNUSABLE",
        "UNUSABLE_BAND", "SEEN_SHARE", "NODATA", "POST_NODATA", "KEEP", "SKIP_BROKEN", "ENGINE",
        "FEATURES",
    }  # fmt: skip
    assert "IDS_FROM" in names
    names = {p.name() for p in provider.algorithm("buildings").parameterDefinitions()}
    assert names == {
        "IMAGE", "MODEL", "MODEL_FILE", "AOI", "AOI_EXTENT", "DEVICE", "ENGINE", "TTA", "THRESHOLD",
        "REGULARISE", "BANDS", "SCALE", "NODATA", "IDS_FROM", "MIN_AREA", "SIMPLIFY", "TILE",
        "BATCH_SIZE", "THREADS", "MEMORY", "ALLOW_REMOTE", "OVERWRITE", "OUTPUT", "RASTER",
        "PROBABILITIES",
    }  # fmt: skip


def test_the_model_is_a_list_of_the_programs_models(provider):
    from geodamage_qgis import settings
    from qgis.core import QgsProcessingContext
    from qgis.gui import QgsGui, QgsProcessingGui

    settings.set_models(["fast", "town"])
    for name in ("assess", "buildings", "batch"):
        algorithm = provider.algorithm(name).create()  # whose parameter lives as long as it does
        parameter = algorithm.parameterDefinition("MODEL")
        wrapper = QgsGui.processingGuiRegistry().createParameterWidgetWrapper(
            parameter, QgsProcessingGui.WidgetType.Standard
        )
        widget = wrapper.createWrappedWidget(QgsProcessingContext())
        shown = [widget.itemText(row) for row in range(widget.count())]
        assert shown == ["", "fast", "town"]


def test_the_rare_options_are_folded_and_work_in_models(provider):
    from qgis.core import QgsProcessingAlgorithm, QgsProcessingParameterDefinition

    flags = provider.algorithm("assess").flags()
    assert not flags & QgsProcessingAlgorithm.FlagNoThreading
    assert not flags & QgsProcessingAlgorithm.FlagHideFromModeler
    assert flags & QgsProcessingAlgorithm.FlagSupportsBatch
    assert flags & QgsProcessingAlgorithm.FlagCanCancel
    advanced = QgsProcessingParameterDefinition.FlagAdvanced
    definitions = provider.algorithm("assess").parameterDefinitions()
    shown = {d.name() for d in definitions if not d.flags() & advanced}
    assert shown == {
        "PRE", "POST", "MODEL", "FOOTPRINTS", "ID_FIELD", "AOI", "AOI_EXTENT", "OVERWRITE",
        "OUTPUT", "RASTER", "PROBABILITIES", "REPORT", "FEATURES",
    }  # fmt: skip
    definitions = provider.algorithm("buildings").parameterDefinitions()
    shown = {d.name() for d in definitions if not d.flags() & advanced}
    assert shown == {
        "IMAGE", "MODEL", "AOI", "AOI_EXTENT", "OVERWRITE", "OUTPUT", "RASTER", "PROBABILITIES",
    }  # fmt: skip


def test_qgis_process_lists_and_explains_the_algorithms(qgis_process):
    listed, _ = qgis_process("list")
    for name in ("assess", "buildings", "batch", "sample", "adapt", "score", "masks"):
        assert f"geodamage:{name}" in listed
    explained, _ = qgis_process("help", "geodamage:assess")
    assert "PRE: Images before the disaster" in explained


def test_qgis_process_gives_the_same_file_as_the_command_line(
    qgis_app, qgis_process, pair, sample_result, tmp_path
):
    output = tmp_path / "with a blank, ä" / "buildings.gpkg"
    output.parent.mkdir()
    said, _ = qgis_process(
        "run", "geodamage:assess", f"--PRE={pair[0]}", f"--POST={pair[1]}", f"--OUTPUT={output}"
    )
    assert "100 - done" in said
    assert read_features(output) == read_features(sample_result)
    facts, expected = (
        json.loads(path.with_name(path.name + ".json").read_text())
        for path in (output, sample_result)
    )
    assert facts["buildings_per_grade"] == expected["buildings_per_grade"]
    assert facts["scene"] == expected["scene"]


@pytest.mark.data
def test_tiles_of_a_real_mosaic_give_the_same_file_as_the_command_line(
    qgis_app, qgis_process, command_line, joplin, tmp_path
):
    aoi = tmp_path / "aoi.geojson"
    aoi.write_text(json.dumps(AOI))
    by_command, by_qgis = tmp_path / "command.gpkg", tmp_path / "qgis.gpkg"
    pre, post = (sorted((joplin / name).glob("*.tif")) for name in ("pre", "post"))
    command_line("assess", joplin / "pre", joplin / "post", "--aoi", aoi, "-o", by_command, "-q")
    images = [f"--PRE={path}" for path in pre] + [f"--POST={path}" for path in post]
    qgis_process("run", "geodamage:assess", *images, f"--AOI={aoi}", f"--OUTPUT={by_qgis}")
    found = read_features(by_qgis)
    assert len(found) > 5
    assert found == read_features(by_command)


def test_a_missing_program_is_said_in_one_line(qgis_process, pair, tmp_path):
    if shutil.which("geodamage", path="/usr/bin:/bin:/usr/local/bin"):
        pytest.skip("geodamage is installed for all")
    _, said = qgis_process(
        "run", "geodamage:assess", f"--PRE={pair[0]}", f"--POST={pair[1]}",
        f"--OUTPUT={tmp_path / 'b.gpkg'}", with_program=False, expect=1,
    )  # fmt: skip
    assert "the geodamage program was not found; open GeoDamage > Set up" in said


def test_a_refused_input_is_said_as_the_tool_says_it(
    qgis_process, command_line, pair, raster_elsewhere, tmp_path
):
    output = tmp_path / "buildings.gpkg"
    said = command_line("assess", pair[0], raster_elsewhere, "-o", output, expect=4).stderr
    line = next(line for line in said.splitlines() if "geodamage: error: " in line)
    _, heard = qgis_process(
        "run", "geodamage:assess", f"--PRE={pair[0]}", f"--POST={raster_elsewhere}",
        f"--OUTPUT={output}", expect=1,
    )  # fmt: skip
    assert "the images do not overlap" in line
    assert line.partition("geodamage: error: ")[2] in heard
    assert list(tmp_path.glob("*buildings*")) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.slow
def test_a_signal_ends_the_program_and_leaves_no_half_file(qgis_process, big_pair, tmp_path):
    output = tmp_path / "buildings.gpkg"
    process = qgis_process.start(
        "run", "geodamage:assess", f"--PRE={big_pair[0]}", f"--POST={big_pair[1]}",
        f"--OUTPUT={output}",
    )  # fmt: skip
    ends = time.monotonic() + 60
    while not list(tmp_path.glob(".buildings.gpkg.*partial*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cancelled; nothing was written" in said
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_is_refused_before_anything_runs(qgis_process, pair, tmp_path):
    _, heard = qgis_process(
        "run", "geodamage:assess", f"--PRE={tmp_path / 'no.tif'}", f"--POST={pair[1]}",
        f"--OUTPUT={tmp_path / 'b.gpkg'}", expect=1,
    )  # fmt: skip
    assert "no.tif: no such file; check the path" in heard
    assert list(tmp_path.iterdir()) == []
