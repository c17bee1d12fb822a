from pathlib import Path

import pytest

from geodamage.errors import GeodamageWarning, ModelNotFoundError
from geodamage.model import loading
from geodamage.model.catalogue import list_models
from geodamage.model.loading import (
    DEFAULT_MODEL,
    bundled_models,
    find_model,
    installed_models,
    load_model,
    models_folder,
    share_models,
)
from tests.conftest import make_model


def test_the_default_model_is_named_first():
    names = list(bundled_models())
    assert names[0] == DEFAULT_MODEL
    assert names[1:] == sorted(names[1:])
    assert "accurate" in names


@pytest.mark.slow
def test_bundled_models_are_found_by_name_and_load():
    for name, path in bundled_models().items():
        assert find_model(name) == path
        load_model(name, device="cpu")


def test_a_process_may_share_the_model_that_it_loaded_last(tmp_path, monkeypatch):
    path = make_model(tmp_path / "m.onnx")
    assert load_model(path, device="cpu") is not load_model(path, device="cpu")
    monkeypatch.setattr(loading, "_shared", None)  # put back after the test
    share_models()
    first = load_model(path, device="cpu")
    assert load_model(path, device="cpu") is first
    assert load_model(path, device="cpu", threads=2) is not first
    assert load_model(path, device="cpu") is not first, "more than one is kept"
    last = load_model(path, device="cpu")
    path.write_bytes(find_model("fast").read_bytes())
    assert load_model(path, device="cpu").card.name != last.card.name


@pytest.mark.parametrize("source", ["slow", "weights.pth", "m.zip", ""])
def test_what_is_neither_a_name_nor_a_model_is_refused(source):
    with pytest.raises(ModelNotFoundError, match=r"no model of that name .*\.onnx or \.toml"):
        find_model(source)


def test_models_in_the_users_folder_are_known_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("GEODAMAGE_MODELS", str(tmp_path))
    assert models_folder() == tmp_path
    assert installed_models() == {}
    alone = make_model(tmp_path / "town.onnx")
    make_model(tmp_path / "both-1-town.onnx")
    table = tmp_path / "both.toml"
    table.write_text('name = "both"\n[[member]]\nfile = "both-1-town.onnx"\n')
    make_model(tmp_path / "fast.onnx")
    # Neither a member of an ensemble nor what bears the name of a bundled one.
    assert installed_models() == {"both": table, "town": alone}
    assert find_model("town") == alone
    assert find_model("fast") == bundled_models()["fast"]
    with pytest.raises(ModelNotFoundError, match=r"\(fast, .*town\).*did you mean town"):
        find_model("towns")


def test_without_a_folder_of_models_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("GEODAMAGE_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "geodamage" / "models"
    assert installed_models() == {}


def test_a_folder_that_cannot_be_read_matters_to_names_of_installed_models_alone(
    tmp_path, monkeypatch
):
    def refused(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("GEODAMAGE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(ModelNotFoundError, match=r"models: cannot be read .*GEODAMAGE_MODELS"):
        find_model("town")
    assert find_model("fast") == bundled_models()["fast"]
    assert find_model("other.onnx") == Path("other.onnx")
    with pytest.warns(GeodamageWarning, match="installed models are unknown"):
        assert [entry.path for entry in list_models()] == [*bundled_models().values()]
