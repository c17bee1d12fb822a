import pytest

from geodamage.errors import ModelNotFoundError
from geodamage.model.loading import DEFAULT_MODEL, bundled_models, find_model, load_model


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


@pytest.mark.parametrize("source", ["slow", "weights.pth", "m.zip", ""])
def test_what_is_neither_a_name_nor_a_model_is_refused(source):
    with pytest.raises(ModelNotFoundError, match=r"no bundled model .*\.onnx or \.toml"):
        find_model(source)
