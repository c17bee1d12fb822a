"""What every run says of its model."""

import json

from tests.conftest import make_model, run_command


def test_a_caution_is_said_and_stands_in_the_sidecar(pair, tmp_path):
    make_model(tmp_path / "one.onnx", caution="it was tried on one town")
    make_model(tmp_path / "two.onnx")
    (tmp_path / "both.toml").write_text(
        'name = "both"\n[[member]]\nfile = "two.onnx"\n[[member]]\nfile = "one.onnx"\n'
    )
    for name, model in (("a", "one.onnx"), ("b", "both.toml"), ("c", "two.onnx")):
        output = tmp_path / f"{name}.geojson"
        result = run_command("assess", *pair, "-o", output, "--model", tmp_path / model)
        assert result.exit_code == 0, result.stderr
        warnings = json.loads((tmp_path / f"{name}.geojson.json").read_text())["warnings"]
        told = [text for text in warnings if "it was tried on one town" in text]
        assert len(told) == (name != "c")
        assert ("it was tried on one town" in result.stderr) == (name != "c")
