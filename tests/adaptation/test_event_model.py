from dataclasses import replace

import numpy as np
import pytest

from geodamage.adaptation.event_model import (
    Base,
    EventModel,
    Network,
    is_event_model,
    read_event_model,
)
from geodamage.adaptation.head import LEAST
from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.loading import load_model

MODEL = EventModel(
    base=Base(model="fast", name="fast", version="1", licence="CC0-1.0", sha256="a" * 64),
    network=Network(name="drawn", sha256="b" * 64),
    scale=0.75,
    offsets=(0.5, 0.0, -0.25, 1e-9),
    constants=(0.0, 2.0),
    weights=((1.0, -2.0, 0.125), (0.0, 3e20, -1e-20)),
    damaged_threshold=0.3,
    reviewed={"a": 1, 'quoted " \\ and ü \x7f \n \U0001f3e0': 4, "no building": 0},
    card={"answers": 2, "where": "Zürich \U0001f3e0", "gain": None},
)


def write(folder, model=MODEL, name="event-model.toml"):
    path = folder / name
    path.write_text(model.as_toml(), encoding="utf-8")
    return path


def test_what_was_written_is_read(tmp_path):
    found = read_event_model(write(tmp_path))
    assert len(found.sha256) == 64
    assert replace(found, sha256="") == MODEL


def test_a_model_that_adds_nothing_says_what_its_base_says():
    nothing = {"offsets": (0.0,) * 4, "constants": (0.0, 0.0), "weights": ((0.0,),) * 2}
    plain = replace(MODEL, scale=1.0, **nothing)
    said = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(plain.probabilities(said, np.ones((2, 1))), said, atol=LEAST)


def test_an_event_model_is_told_from_other_files(tmp_path):
    assert is_event_model(write(tmp_path))
    (tmp_path / "ensemble.toml").write_text('[[member]]\nfile = "a.onnx"\n')
    for name in ("ensemble.toml", "absent.toml", "fast"):
        assert not is_event_model(tmp_path / name)


def test_other_commands_say_what_it_is(tmp_path):
    with pytest.raises(ModelError, match="an event model; `geodamage assess` and `regrade` take"):
        load_model(write(tmp_path))


TEXT = MODEL.as_toml()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('kind = "event-model"', "", "is not an event model"),
        ("format = 1", "format = 2", "is not an event model"),
        ("scale = 0.75", "", "lacks"),
        ("scale = 0.75", "scale = 0.75\nmore = 1", "unknown keys"),
        ("scale = 0.75", 'scale = "1"', "wrong type"),
        ("scale = 0.75", "scale = nan", "not finite"),
        ("damaged_threshold = 0.3", "damaged_threshold = 1.5", "outside 0..1"),
        ("constants = [0.0, 2.0]", "constants = [0.0]", "constants are not two"),
        ("offsets = [0.5, ", "offsets = [", "offsets are not four"),
        ("weights = [[1.0, ", "weights = [[", "not two rows"),
        ('"a" = 1', '"a" = 5', "no grade of 1 to 4"),
        ('"a" = 1', '"a" = "x"', "wrong type"),
        ('name = "fast"', "name = 1", "wrong type"),
        ("[network]", "[other]", "is not there"),
        ("card = ", "card = 1 #", "no JSON object"),
        ("[base]", "[base", "not TOML"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, old, new, why):
    assert old in TEXT
    path = tmp_path / "m.toml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ModelError, match=why) as caught:
        read_event_model(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelNotFoundError):
        read_event_model(tmp_path / "m.toml")
