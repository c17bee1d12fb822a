"""Footprints that lie off are said to, and are graded where the buildings are if that is asked."""

import numpy as np
import pytest
import shapely

from geodamage.output.publication import read_sidecar
from tests.assessments import run, write_footprints
from tests.conftest import Roof, make_scene

pytestmark = pytest.mark.slow

#: Metres that the footprints lie off.
EAST, NORTH = OFF = 6.0, -8.0


def town():
    """Return houses that lie as houses do: in no pattern, and apart."""
    generator, roofs = np.random.default_rng(4), []
    for row in range(16, 340, 44):
        for column in range(16, 340, 44):
            off = generator.integers(0, 14, 2)
            size = generator.integers(12, 26, 2)
            grade = int(generator.integers(1, 5))
            roofs.append(Roof(row + off[0], column + off[1], size[0], size[1], grade))
    return roofs


ROOFS = town()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a pair, footprints that fit it, and footprints that lie off."""
    folder = tmp_path_factory.mktemp("town")
    pair = make_scene(folder, (384, 384), ROOFS)
    shapes = [roof.polygon for roof in ROOFS]
    right = write_footprints(folder / "right.gpkg", range(len(ROOFS)), shapes)
    moved = [shapely.transform(shape, lambda points: points + np.array(OFF)) for shape in shapes]
    return pair, right, write_footprints(folder / "off.gpkg", range(len(ROOFS)), moved)


def grades(frame):
    return [frame.set_index("building_id")["damage_class"].get(str(n)) for n in range(len(ROOFS))]


def registration_of(path):
    return read_sidecar(path)["footprints"]["registration"]


def test_footprints_that_fit_are_not_doubted(place, model, tmp_path):
    pair, right, _ = place
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", right)
    facts = registration_of(tmp_path / "b.gpkg")
    assert facts["verdict"] == "aligned"
    assert not facts["applied"]
    assert (frame["shift_m"] == 0).all()
    assert not [text for text in read_sidecar(tmp_path / "b.gpkg")["warnings"] if "footpr" in text]


def test_footprints_are_left_alone_where_that_is_asked(place, model, tmp_path):
    pair, _, off = place
    options = "--footprints", off, "--registration", "off"
    frame = run(pair, tmp_path / "b.gpkg", model, *options)
    assert registration_of(tmp_path / "b.gpkg")["verdict"] == "off"
    assert (frame["shift_m"] == 0).all()
    assert not [text for text in read_sidecar(tmp_path / "b.gpkg")["warnings"] if "footpr" in text]


def test_footprints_that_lie_off_are_doubted(place, model, tmp_path):
    pair, _, off = place
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", off)
    facts = registration_of(tmp_path / "b.gpkg")
    assert (facts["east_m"], facts["north_m"]) == pytest.approx((EAST, NORTH), abs=0.3)
    warnings = read_sidecar(tmp_path / "b.gpkg")["warnings"]
    assert any("the footprints are shifted 10" in text for text in warnings)
    assert (frame["shift_m"] == 0).all()
    assert grades(frame) != [roof.grade for roof in ROOFS]


@pytest.mark.parametrize("kept", [10**6, 0])
def test_footprints_are_graded_where_the_buildings_are(place, model, tmp_path, monkeypatch, kept):
    monkeypatch.setattr("geodamage.given.KEPT", kept)
    pair, _, off = place
    options = "--footprints", off, "--registration", "apply"
    frame = run(pair, tmp_path / "b.gpkg", model, *options)
    assert registration_of(tmp_path / "b.gpkg")["applied"]
    assert grades(frame) == [roof.grade for roof in ROOFS]
    assert frame["shift_m"].to_numpy() == pytest.approx(10, abs=0.3)
    given = {str(n): roof.polygon for n, roof in enumerate(ROOFS)}
    first = frame.iloc[0]
    expected = shapely.transform(given[first["building_id"]], lambda points: points + np.array(OFF))
    assert shapely.equals(first.geometry, expected)  # they come out where they were given


def test_one_footprint_says_nothing_and_stays(place, model, tmp_path):
    pair, _, _ = place
    alone = write_footprints(tmp_path / "one.gpkg", ["a"], [ROOFS[0].polygon])
    options = "--footprints", alone, "--registration", "apply"
    frame = run(pair, tmp_path / "b.gpkg", model, *options)
    assert registration_of(tmp_path / "b.gpkg")["verdict"] == "unknown"
    assert grades(frame)[:1] == [None]
    assert frame["damage_class"].to_list() == [ROOFS[0].grade]
    warnings = read_sidecar(tmp_path / "b.gpkg")["warnings"]
    assert any("the shift of the footprints is not known" in text for text in warnings)
