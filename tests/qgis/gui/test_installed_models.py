"""Models that a user imported: in the list of the dialog, in that of Processing, and they run."""

import subprocess

import pytest
from features import facts_of, read_features

#: A graph of another program in little: one convolution of both dates, five channels.
GRAPH = """
import sys
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

weight = np.random.default_rng(0).normal(0, 0.6, (5, 6, 3, 3)).astype(np.float32)
port = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], "foreign",
    [port("x", TensorProto.FLOAT, ["n", 6, "h", "w"])],
    [port("y", TensorProto.FLOAT, ["n", 5, "h", "w"])],
    [numpy_helper.from_array(weight, "w")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
          sys.argv[1])
"""
CONVENTION = """
layout = "stacked"
dates = ["pre", "post"]
order = "rgb"
divisor = 255
gsd = 0.5
tile = 128
stride = 16
licence = "CC0-1.0"
[[output]]
activation = "softmax"
channels = ["background", "no-damage", "minor-damage", "major-damage", "destroyed"]
"""


@pytest.fixture
def installed(configured, command_line, tmp_path, monkeypatch):
    """Import a foreign graph under the name `town`, into a folder of the test's own."""
    monkeypatch.setenv("GEODAMAGE_MODELS", str(tmp_path / "models"))
    python = configured.resolve().parent / "python"
    graph, told = tmp_path / "unet.onnx", tmp_path / "unet.toml"
    subprocess.run([str(python), "-c", GRAPH, str(graph)], check=True)
    told.write_text(CONVENTION)
    command_line("models", "import", graph, "--convention", told, "--install", "-o", "town")
    return "town"


@pytest.fixture
def dialog(iface, installed, project, small_pair, wait):
    from geodamage_qgis import classFactory
    from qgis.core import QgsRasterLayer

    project.addMapLayers([QgsRasterLayer(str(path), path.stem) for path in small_pair])
    plugin = classFactory(iface)
    plugin.initGui()
    plugin.open_dialog()
    models = plugin.dialog.form.model.models
    wait(lambda: models.findData(installed) >= 0, 120)
    yield plugin.dialog
    plugin.unload()


def test_the_dialog_lists_an_imported_model(dialog):
    models = dialog.form.model.models
    row = models.findData("town")
    assert row > 0
    assert models.itemText(row).startswith("town · ")
    assert "CC0-1.0" in models.itemText(row)


def test_processing_lists_and_runs_an_imported_model(dialog, small_pair, tmp_path):
    import processing
    from qgis.core import QgsApplication, QgsProcessingContext
    from qgis.gui import QgsGui, QgsProcessingGui

    algorithm = QgsApplication.processingRegistry().algorithmById("geodamage:assess").create()
    wrapper = QgsGui.processingGuiRegistry().createParameterWidgetWrapper(
        algorithm.parameterDefinition("MODEL"), QgsProcessingGui.WidgetType.Standard
    )
    widget = wrapper.createWrappedWidget(QgsProcessingContext())
    assert "town" in [widget.itemText(row) for row in range(widget.count())]

    output = tmp_path / "buildings.gpkg"
    processing.run(
        "geodamage:assess",
        {
            "PRE": str(small_pair[0]), "POST": str(small_pair[1]), "MODEL": "town",
            "OUTPUT": str(output),
        },
    )  # fmt: skip
    assert read_features(output)
    assert facts_of(output)["model"]["name"] == "town"
