import json

import numpy as np
import pytest

from geodamage.errors import ModelError, OptionError, OutputExistsError
from geodamage.model.card import read_card
from geodamage.model.ensemble import Ensemble, Member
from geodamage.model.measuring import pattern_windows
from geodamage.model.onnx import Model
from geodamage.networks import importing
from geodamage.optimise import variants as optimisation
from tests.conftest import listing
from tests.labelled_pairs import write_pair
from tests.run_folders import write_run
from training import export
from training.export import ExportJob, export_model
from training.predictor import load_predictor, read_trained

#: The run has taken a few steps, and so finds nothing, of which the import warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*its localisation finds nothing")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Measure on little, and the memory, which takes a process of its own, not at all."""
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)
    monkeypatch.setattr(importing, "HALO_WINDOW", 128)
    monkeypatch.setattr(importing, "CORE", 16)
    monkeypatch.setattr(importing, "TILE", 256)
    monkeypatch.setattr(importing, "GLOBAL_HALO", 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "compact")


@pytest.fixture
def data(tmp_path):
    return write_pair(tmp_path / "data", "storm_1")


@pytest.fixture
def bright(monkeypatch, model):
    """Choose by a model that finds what is bright, in the place of the network."""

    def load(trained, *, device):
        loaded = Model(model, device="cpu")
        return Ensemble(loaded.card, [Member(loaded)])

    monkeypatch.setattr(export, "load_predictor", load)


@pytest.mark.slow
def test_the_file_says_what_the_run_says(run, tmp_path):
    output = tmp_path / "out" / "own.onnx"
    output.parent.mkdir()
    card, imported = export_model(ExportJob(source=run, output=output))
    assert listing(output.parent) == ["own.onnx"]
    assert imported.difference < 1e-4
    model, trained = Model(output, device="cpu"), load_predictor([read_trained(run)], device="cpu")
    pre, post = pattern_windows(2, 160, seed=5)[..., :96, :].swapaxes(0, 1)
    for mine, theirs in zip(trained(pre, post), model(pre, post), strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() < 1e-4
    assert model.card.name == card.name == "own"
    assert (card.task, card.context, card.stride) == ("assess", "local", 16)
    assert 0 < card.halo <= 48
    assert card.bytes_per_pixel == 99


@pytest.mark.slow
def test_the_card_says_what_the_run_was(run, tmp_path):
    card, _ = export_model(ExportJob(source=run, output=tmp_path / "own.onnx", version="2"))
    assert card.version == "2"
    assert card.training_data == (
        "own pairs: 1 pair, event flood; 350 generated scenes of sample_data/scenes.py"
    )
    assert card.licence == "not stated"
    assert card.scores["training"] == {
        "run": "compact", "commit": "c" * 40, "split_sha256": "5" * 64, "epoch": 7,
        "validation_dice": 0.5,
    }  # fmt: skip
    assert card.scores["network"] == "compact"
    assert "published" not in card.scores


@pytest.mark.slow
def test_pairs_of_xbd_bring_their_licence(tmp_path):
    run = write_run(tmp_path / "xbd", init="loc", pretrained=True, subset=1)
    rows = "palu-tsunami_1,train\nsocal-fire_2,train\nsocal-fire_3,test\n"
    (run / "split.csv").write_text("pair,part\n" + rows)
    origin = export.origin(read_trained(run))
    assert origin["licence"] == "CC BY-NC-SA 4.0"
    assert origin["training_data"].startswith("xBD (Gupta et al. 2019")
    assert "): 1 pair, events palu-tsunami, socal-fire; " in origin["training_data"]
    assert origin["training_data"].endswith("; encoder from ImageNet; weights from loc")


@pytest.mark.slow
def test_a_localisation_run_has_thresholds_and_no_grades(tmp_path, data, bright):
    run = write_run(tmp_path / "loc", "efficientunet_b0", "localisation")
    job = ExportJob(source=run, output=tmp_path / "loc.onnx", data=data, licence="CC0-1.0")
    card, _ = export_model(job)
    assert (card.task, card.context, card.halo, card.tile) == ("localisation", "global", 32, 256)
    assert card.licence == "CC0-1.0"
    assert card.threshold == 0.35  # the first of those that find every building
    assert card.temperature == 1


@pytest.mark.slow
def test_thresholds_are_chosen_on_validation(run, tmp_path, data, bright):
    # Of the split only the validation pair is there.
    job = ExportJob(source=run, output=tmp_path / "own.onnx", data=data)
    card, _ = export_model(job)
    assert card.threshold == 0.35
    assert card.temperature < 1
    assert card.grade_weights == (1, 1, 1, 1)
    with pytest.raises(OptionError, match="says temperature, which --data chooses"):
        export_model(
            ExportJob(source=run, output=tmp_path / "b.onnx", data=data, facts={"temperature": 2.0})
        )


@pytest.mark.slow
def test_a_network_that_finds_nothing_is_not_exported(run, tmp_path, data):
    job = ExportJob(source=run, output=tmp_path / "own.onnx", data=data)
    with pytest.raises(ModelError, match="nothing can be chosen there"):
        export_model(job)
    assert listing(tmp_path) == ["data"]


@pytest.mark.slow
def test_a_checkpoint_is_exported_as_it_is_imported(run, tmp_path, data):
    card, _ = export_model(ExportJob(source=run / "best", output=tmp_path / "own.onnx"))
    assert card.scores["checkpoint"] == "best"
    assert "training" not in card.scores
    with pytest.raises(OptionError, match="knows no split to choose on"):
        export_model(ExportJob(source=run / "best", output=tmp_path / "b.onnx", data=data))


@pytest.mark.slow
def test_the_command_takes_the_facts_of_calibrate(run, tmp_path, capsys):
    facts = tmp_path / "facts.json"
    scores = {"date": "2026-01-01", "test": {"pairs": 2}}
    weights = [1.0, 1.4, 1.0, 0.7]
    facts.write_text(json.dumps({"threshold": 0.4, "grade_weights": weights, "scores": scores}))
    output = tmp_path / "own.onnx"
    export.main([str(run), "-o", str(output), "--name", "fast", "--facts", str(facts)])
    assert capsys.readouterr().out.startswith(f"{output}: ")
    card = read_card(output.read_bytes(), "own")
    assert (card.name, card.threshold, card.grade_weights) == ("fast", 0.4, tuple(weights))
    assert card.scores["test"] == {"pairs": 2}
    assert card.scores["training"]["run"] == "compact"


@pytest.mark.slow
def test_nothing_is_overwritten_unasked(run, tmp_path):
    output = tmp_path / "own.onnx"
    output.write_text("mine")
    with pytest.raises(OutputExistsError):
        export_model(ExportJob(source=run, output=output))
    assert output.read_text() == "mine"
    export_model(ExportJob(source=run, output=output, overwrite=True))
    assert Model(output, device="cpu").card.name == "own"


@pytest.mark.slow
def test_a_file_that_says_something_else_stops_the_export(run, tmp_path, monkeypatch):
    def differ(*_):
        raise ModelError("own: damage of the model file differs from the network's by 0.2")

    monkeypatch.setattr(importing, "check_parity", differ)
    with pytest.raises(ModelError, match="differs"):
        export_model(ExportJob(source=run, output=tmp_path / "own.onnx"))
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_a_halo_that_does_not_settle_is_said(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importing, "HALO_WINDOW", 48)
    export.main([str(run), "-o", str(tmp_path / "own.onnx")])
    captured = capsys.readouterr()
    assert "its windows are fixed at 256 pixels" in captured.err
    assert captured.err.startswith("training.export: warning: ")
    assert ", global, halo 32," in captured.out


@pytest.mark.slow
def test_a_smaller_tolerance_gives_no_smaller_halo(run, tmp_path, capsys):
    halos = []
    for name, tolerance in (("loose", "0.001"), ("tight", "0.0000001")):
        output = tmp_path / f"{name}.onnx"
        export.main([str(run), "-o", str(output), "--tolerance", tolerance])
        halos.append(Model(output, device="cpu").card.halo)
    assert halos[0] < halos[1] <= 144  # which is where the field of the network ends


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ('{"treshold": 0.4}', "says treshold, which no card has"),
        ('{"halo": 8}', "says halo, which is measured here"),
        ('{"threshold": "high"}', "threshold = 'high' on its card is of the wrong type"),
        ('{"threshold": 2.0}', "a threshold is outside"),
        ("[1]", "no JSON object of facts"),
        ("nothing", "no JSON of facts"),
    ],
)
def test_wrong_facts_are_one_line(run, tmp_path, capsys, facts, says):
    path = tmp_path / "facts.json"
    path.write_text(facts)
    with pytest.raises(SystemExit):
        export.main([str(run), "-o", str(tmp_path / "own.onnx"), "--facts", str(path)])
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert listing(tmp_path) == ["facts.json"]


def test_variants_need_labelled_pairs(run, tmp_path):
    job = ExportJob(source=run, output=tmp_path / "own.onnx", precisions=("int8",))
    with pytest.raises(OptionError, match=r"--precision int8: .*labelled"):
        export.export_variants(job)


@pytest.mark.slow
def test_variants_are_made_beside_the_model(bright, tmp_path, data, monkeypatch, model):
    run = write_run(tmp_path / "run")
    (run / "split.csv").write_text("pair,part\nstorm_1,validation\n")
    output = tmp_path / "own.onnx"
    output.write_bytes(model.read_bytes())
    monkeypatch.setattr(optimisation, "measure_memory", lambda path, side: None)
    said = []
    variants = export.export_variants(
        ExportJob(source=run, output=output, data=data, precisions=("fp16",)),
        lambda done, total, name: said.append(name),
    )
    assert [variant.path.name for variant in variants] == ["own-fp16.onnx"]
    assert said == ["own-fp16.onnx", "storm_1"]
    assert Model(tmp_path / "own-fp16.onnx").card.parity["passed"] is True


def test_no_variant_is_made_unasked(run, tmp_path):
    assert export.export_variants(ExportJob(source=run, output=tmp_path / "own.onnx")) == []
