import json
import os

import pytest
from click.testing import CliRunner

from geodamage.cli import main
from geodamage.errors import ChecksumError, GeodamageWarning, ModelError, ModelNotFoundError
from geodamage.model.catalogue import list_models, read_model
from geodamage.model.loading import load_model
from tests.conftest import make_model


@pytest.fixture
def ensemble(tmp_path):
    make_model(tmp_path / "one.onnx")
    make_model(tmp_path / "two.onnx", halo=16, licence="MIT")
    path = tmp_path / "both.toml"
    path.write_text(
        'name = "both"\nthreshold = 0.4\n'
        '[[member]]\nfile = "one.onnx"\n[[member]]\nfile = "two.onnx"\nweight = 2.0\n'
    )
    return path


def test_the_bundled_model_is_in_the_list():
    names = [entry.name for entry in list_models()]
    assert "fast" in names
    assert all(entry.size > 0 and entry.cards for entry in list_models())


def test_installed_models_are_in_the_list_and_broken_ones_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GEODAMAGE_MODELS", str(tmp_path))
    make_model(tmp_path / "town.onnx")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "town.onnx").read_bytes()[:99])
    with pytest.warns(GeodamageWarning, match=r"cut\.onnx: .*; it is not listed"):
        entries = list_models()
    # By the name of its file, by which it is asked for; its card calls it bright.
    assert [entry.name for entry in entries if entry.path.parent == tmp_path] == ["town"]


def test_a_model_is_its_card(tmp_path):
    path = make_model(tmp_path / "one.onnx", halo=9)
    entry = read_model(path)
    assert (entry.name, entry.path, entry.size) == ("bright", path, path.stat().st_size)
    assert entry.card is not None
    assert entry.card.halo == 9
    assert json.loads(json.dumps(entry.as_dict()))["card"]["halo"] == 9


def test_an_ensemble_is_its_table_and_its_members(ensemble):
    entry = read_model(ensemble)
    assert entry.name == "both"
    assert entry.card is None
    assert [card.halo for card in entry.cards] == [8, 16]
    assert entry.size == sum(path.stat().st_size for path in ensemble.parent.iterdir())
    facts = json.loads(json.dumps(entry.as_dict()))
    assert facts["ensemble"] == {"name": "both", "threshold": 0.4}
    assert facts["members"][1]["weight"] == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "[[member",
        "name = 'x'",
        "[[member]]",
        "member = [1]",
        "[[member]]\nfile = '../x'",
        "[[member]]\nfile = 'one.onnx'\nweight = '1'",
        "colour = 1\n[[member]]\nfile = 'one.onnx'",
    ],
)
def test_a_damaged_ensemble_is_refused(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"bad\.toml: "):
        read_model(path)


def test_what_is_no_model_is_refused(tmp_path, ensemble):
    (tmp_path / "two.onnx").unlink()
    with pytest.raises(ModelNotFoundError, match=r"two\.onnx: no such model file"):
        read_model(ensemble)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelNotFoundError, match="not a regular file"):
        read_model(tmp_path / "pipe.onnx")
    with pytest.raises(ModelNotFoundError, match="no model of that name"):
        read_model("slow")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_model(tmp_path / "text.onnx")


def test_a_changed_model_is_refused(tmp_path):
    path = make_model(tmp_path / "one.onnx")
    path.write_bytes(path.read_bytes().replace(b"bright", b"brightest"[:6].upper(), 1))
    with pytest.raises(ChecksumError):
        read_model(path)


def test_a_saved_map_of_an_ensemble_is_listed_without_a_card(ensemble):
    (ensemble.parent / "map.tif").write_bytes(b"opened with the scene")
    ensemble.write_text(ensemble.read_text() + '[[member]]\nfile = "map.tif"\nweight = 0.5\n')
    found = read_model(ensemble)
    assert [member.card is None for member in found.members] == [False, False, True]
    assert len(found.cards) == 2
    assert found.size == sum(path.stat().st_size for path in ensemble.parent.iterdir())
    assert found.as_dict()["members"][2] == {"file": "map.tif", "weight": 0.5, "card": None}
    said = CliRunner().invoke(main, ["models", "show", str(ensemble)])
    assert said.exit_code == 0
    assert "map.tif" in said.output
    (ensemble.parent / "map.tif").unlink()
    with pytest.raises(ModelNotFoundError, match=r"map\.tif: no such probability map"):
        read_model(ensemble)


def test_the_catalogue_and_the_loader_refuse_an_ensemble_alike(ensemble):
    ensemble.write_text(ensemble.read_text() + "transpose = 1\n")
    said = []
    for read in (read_model, load_model):
        with pytest.raises(ModelError) as caught:
            read(ensemble)
        said.append(str(caught.value))
    assert said == [f"{ensemble}: transpose of two.onnx is neither true nor false"] * 2
