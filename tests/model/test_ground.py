import dataclasses

import pytest

from geodamage.model.ground import more_ground
from geodamage.plan import make_plan
from geodamage.windows import Window
from tests.fakes import make_card


@pytest.mark.parametrize(
    ("halo", "bytes_per_pixel", "memory"),
    [(176, 470, 1.5e9), (208, 469, 1.5e9), (176, 855, 1.5e9), (64, 300, 1.5e9)],
)
def test_the_ground_that_is_expected_of_a_pixel_is_that_of_a_plan(halo, bytes_per_pixel, memory):
    usual = make_card(stride=32, tile=1024, halo=176, bytes_per_pixel=470)
    card = make_card(stride=32, tile=1024, halo=halo, bytes_per_pixel=bytes_per_pixel)

    def planned(card):
        plan = make_plan(Window(0, 0, 16384, 16384), card, memory=memory)
        count = sum(1 for strip in plan.strips() for _ in plan.cores(strip))
        return count * plan.window[0] * plan.window[1]

    assert more_ground(card, usual) == pytest.approx(planned(usual) / planned(card), rel=0.06)


def test_a_global_model_has_one_window_and_keeps_as_much_of_it_in_any_memory():
    usual = make_card(context="global", stride=32, tile=512, halo=64, bytes_per_pixel=100)
    assert more_ground(dataclasses.replace(usual, bytes_per_pixel=900), usual) == 1
