import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine import _readable_by
from benchmarks.peer import polygons, starts
from geodamage.model.card import read_card, with_metadata
from tests.fakes import write_pointwise

GRID = {"transform": Affine(0.5, 0, 100, 0, -0.5, 200), "crs": "EPSG:32616"}


@given(st.integers(1, 5000), st.integers(2, 1024), st.integers(0, 1))
def test_the_windows_of_the_peer_cover_a_length(length, side, share):
    found = starts(length, side, share * side // 4)
    seen = np.zeros(length, bool)
    for start in found:
        seen[start : start + side] = True
    assert seen.all()
    assert found[-1] + side == length or length <= side


def test_the_peer_makes_a_polygon_of_each_area_of_one_grade():
    said = np.zeros((5, 6, 8))
    said[1] = 0.1
    said[0, 1:3, 1:4] = 0.9
    said[4, 1:3, 1:3] = 0.8  # destroyed, and beside it no damage
    found = polygons(said, 0.5, rasterio.profiles.Profile(GRID)).sort_values("damage_class")
    assert found["damage_class"].tolist() == [1, 4]
    assert found.area.tolist() == [2 * 0.25, 4 * 0.25]


@pytest.mark.slow
def test_a_card_loses_what_another_commit_does_not_know(tmp_path, monkeypatch):
    path = write_pointwise(tmp_path / "m.onnx")
    blob = path.read_bytes()
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    same = _readable_by(tmp_path, path, tmp_path / "same.onnx")
    assert same.read_bytes() == blob
    card = read_card(blob, "m").as_json()
    path.write_bytes(with_metadata(blob, card[:-1] + ', "of_tomorrow": 1}'))
    kept = _readable_by(tmp_path, path, tmp_path / "other.onnx").read_bytes()
    assert read_card(kept, "other") == read_card(blob, "m")
