"""What every run says of its model."""

import json

from geodamage.assessment import Job, assess
from geodamage.prediction import run_plan
from geodamage.roll import Rolls
from tests.conftest import make_model, run_command
from tests.siamese import strided_bytes, write_siamese


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


def test_features_roll_unless_strips_are_predicted_elsewhere(pair, tmp_path, monkeypatch):
    path = write_siamese(tmp_path / "m.onnx", strided_bytes(), stride=4, halo=20, tile=96)
    asked, ask = [], Rolls.ask
    monkeypatch.setattr(Rolls, "ask", lambda *given: asked.append(1) or ask(*given))

    def elsewhere(*given, **how):
        return run_plan(*given, **how)

    files, rolled = [], []
    for name, predict, tile in (("a", run_plan, None), ("b", run_plan, 96), ("c", elsewhere, None)):
        job = Job(
            pre=pair[0],
            post=pair[1],
            output=tmp_path / f"{name}.geojson",
            model=str(path),
            tile=tile,
        )
        asked.clear()
        for _ in assess(job, predict=predict):
            pass
        rolled.append(bool(asked))
        files.append(json.loads(job.output.read_text())["features"])
    assert rolled == [True, False, False]
    assert files[0]
    assert files[0] == files[1] == files[2]
