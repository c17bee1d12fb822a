import numpy as np
import pytest

from geodamage.errors import ModelError
from geodamage.optimise.reach import measure_reach
from tests.fakes import BoxModel


def windows(size=64, count=2):
    rng = np.random.default_rng(0)
    return [
        {name: rng.integers(0, 256, (1, 3, size, size), np.uint8) for name in ("pre", "post")}
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("radius", "stride", "least", "expected"),
    [(5, 1, 0, 5), (5, 4, 0, 8), (5, 4, 7, 7), (5, 4, 12, 12), (9, 4, 8, 12), (0, 4, 0, 0)],
)
def test_the_reach_is_that_of_the_model(radius, stride, least, expected):
    model = BoxModel(radius, stride=stride, tile=64)
    assert measure_reach(model, windows(), least) == expected


@pytest.mark.slow
def test_a_model_that_looks_further_than_the_windows_is_refused():
    model = BoxModel(30, stride=4, halo=4, tile=64)
    with pytest.raises(ModelError, match="looks further than 24 pixels around"):
        measure_reach(model, windows(), 4)


def test_a_change_of_one_date_counts():
    class After(BoxModel):
        def __call__(self, pre, post):
            return super().__call__(np.zeros_like(pre), post)

    assert measure_reach(After(6, stride=4, tile=64), windows(), 0) == 8
