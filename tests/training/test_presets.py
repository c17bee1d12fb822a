from dataclasses import dataclass

import pytest

from geodamage.errors import OptionError
from training.presets import resolve


@dataclass(frozen=True)
class Paint:
    colour: str = "grey"
    coats: int = 1
    gloss: float = 0.5
    dry: bool = False
    range: tuple[int, int] = (1, 2)
    shares: tuple[float, ...] = ()


PRESETS = {"door": Paint("red", 3), "wall": Paint("white", 2)}


def paint(**keys):
    return resolve(Paint, keys, topic="paint", presets=PRESETS)


def test_defaults_then_the_preset_then_the_keys():
    assert paint() == Paint()
    assert paint(paint="door") == Paint("red", 3)
    assert paint(paint="door", paint_coats=1, other="x") == Paint("red", 1)


def test_values_of_toml_become_the_types_of_the_fields():
    made = paint(paint_gloss=1, paint_range=[3, 4], paint_shares=[1, 0.5, 2], paint_dry=True)
    assert made == Paint(gloss=1.0, range=(3, 4), shares=(1.0, 0.5, 2.0), dry=True)
    assert type(made.gloss) is float


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"paint": "dor"}, "paint = 'dor': no such preset; did you mean 'door'"),
        ({"paint": "zzz"}, "known: door, wall"),
        ({"paint_coat": 1}, "unknown key 'paint_coat'; did you mean 'paint_coats'"),
        ({"paint_coats": 1.5}, "paint_coats = 1.5 is not int"),
        ({"paint_coats": True}, "paint_coats = True is not int"),
        ({"paint_gloss": "much"}, "paint_gloss = 'much' is not float"),
        ({"paint_range": [1, 2, 3]}, "paint_range = .* is not tuple"),
        ({"paint_shares": ["a"]}, "paint_shares = 'a' is not float"),
    ],
)
def test_what_is_wrong_is_named_on_one_line(keys, said):
    with pytest.raises(OptionError, match=said) as caught:
        paint(**keys)
    assert "\n" not in str(caught.value)
