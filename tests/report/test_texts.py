"""Single values as texts."""

import math

import pandas as pd
import pytest

from geodamage.report.texts import decimals_text, percent_text, plain_text, rounded, status_text


@pytest.mark.parametrize("nothing", [None, pd.NA, math.nan, pd.NaT])
def test_null_is_no_text(nothing):
    assert plain_text(nothing) == ""
    assert status_text("assessed", nothing) == "assessed"


def test_a_text_that_is_called_nan_stays():
    assert plain_text("nan") == "nan"


def test_a_reason_stands_behind_its_status():
    assert status_text("not_assessed", "obscured_post") == "not assessed: obscured post"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash(value):
    assert percent_text(value) == decimals_text(value, 2) == "–"
    assert rounded(value, 2) is None


def test_numbers_have_their_decimals():
    assert (percent_text(0.756), decimals_text(12345.678, 1)) == ("76 %", "12,345.7")
    assert rounded(1.23456, 2) == 1.23
