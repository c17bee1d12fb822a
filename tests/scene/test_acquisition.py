"""What metadata tell of an acquisition, and what they make doubtful about a pair."""

import json
from datetime import UTC, datetime

import pytest

from geodamage.scene.acquisition import Acquisition, doubts, read_acquisition, role_of

NAMES = "a.tif", "b.tif"


def day(number, hour=12):
    return datetime(2018, 10, number, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("x/hurricane_00000001_pre_disaster.tif", "pre"),
        ("Before.TIF", "pre"),
        ("town-after-flood.tif", "post"),
        ("post/scene.tif", None),
        ("presentation_postal.tif", None),
        ("pre_and_post.tif", None),
    ],
)
def test_names_say_what_an_image_is(name, role):
    assert role_of(name) == role


def test_the_date_of_a_name_and_of_a_tag(tmp_path):
    name = str(tmp_path / "scene_20181011_x.tif")
    found = read_acquisition(name, {"TIFFTAG_DATETIME": "2019:01:02 03:04:05"}, {})
    assert (found.date, found.is_exact, found.source) == (day(11, 0), True, "name")
    found = read_acquisition("scene.tif", {"TIFFTAG_DATETIME": "2019:01:02 03:04:05"}, {})
    assert found.date == datetime(2019, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert not found.is_exact
    found = read_acquisition("scene.tif", {}, {"ACQUISITIONDATETIME": "2018-10-11 12:00:00"})
    assert (found.date, found.is_exact) == (day(11), True)


@pytest.mark.parametrize("text", ["", "soon", "0000:00:00 00:00:00", "2018:13:40 99:00:00"])
def test_what_is_no_date_is_none(text):
    assert read_acquisition("tile_1361-10160.tif", {"TIFFTAG_DATETIME": text}, {}).date is None


def test_a_stac_item_beside_the_file(tmp_path):
    item = {
        "stac_version": "1.0.0",
        "properties": {
            "datetime": "2018-10-11T12:00:00Z",
            "view:off_nadir": 31.5,
            "view:sun_elevation": 40,
            "view:sun_azimuth": "not known",
        },
    }
    (tmp_path / "s.json").write_text(json.dumps(item))
    found = read_acquisition(str(tmp_path / "s.tif"), {}, {})
    assert (found.date, found.off_nadir, found.sun_elevation) == (day(11), 31.5, 40)
    assert found.sun_azimuth is None
    assert found.facts()["date_from"] == "STAC item"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"stac_version": "1.0.0", "properties": 3}',
        '{"properties": {"datetime": "2018-10-11"}}',
        "[" * 100_000,
    ],
)
def test_what_lies_beside_a_file_may_be_anything(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    assert read_acquisition(str(tmp_path / "s.tif"), {}, {}).date is None


def test_an_older_post_image_is_doubtful_and_both_are_named():
    found = doubts(
        Acquisition(day(12), True, "name"), Acquisition(day(10), True, "STAC item"), NAMES
    )
    assert len(found) == 1
    assert "a.tif is of 2018-10-12 12:00 by its name" in found[0]
    assert "b.tif is of 2018-10-10 12:00 by its STAC item" in found[0]


@pytest.mark.parametrize(
    ("pre", "post"),
    [
        (Acquisition(day(10), True), Acquisition(day(12), True)),
        (Acquisition(day(10), True), Acquisition(day(10, 0), True)),  # a day, and an hour of it
        (Acquisition(day(14), False), Acquisition(day(12), True)),  # a file made after both
        (Acquisition(None), Acquisition(day(10), True)),
        (Acquisition(day(10), True), Acquisition(None)),
        (Acquisition(role="pre"), Acquisition(role="post")),
        (Acquisition(off_nadir=25.0), Acquisition(off_nadir=3.0)),
    ],
)
def test_nothing_is_doubtful(pre, post):
    assert doubts(pre, post, NAMES) == []


@pytest.mark.parametrize(
    ("pre", "post"),
    [
        (Acquisition(day(14), False), Acquisition(day(12), False)),
        (Acquisition(day(14), True), Acquisition(day(12), False)),
        (Acquisition(role="post"), Acquisition(role="pre")),
        (Acquisition(role="post"), Acquisition()),
        (Acquisition(), Acquisition(role="pre")),
    ],
)
def test_swapped(pre, post):
    (text,) = doubts(pre, post, NAMES)
    assert "swapped" in text


def test_off_nadir_is_said():
    (text,) = doubts(Acquisition(off_nadir=12), Acquisition(off_nadir=31.4), NAMES)
    assert text.startswith("b.tif: taken 31 degrees off nadir")
