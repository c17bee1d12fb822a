"""GeoJSON: every id as it stands in the file, no line lost, no link followed."""

import json
import tracemalloc

import pytest
import shapely

from geodamage.errors import FootprintError, SceneError, SceneReadError
from geodamage.vector import geojson
from geodamage.vector.reading import read_vector

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


def feature(identity=None, geometry=SQUARE, **properties):
    found = {"type": "Feature", "geometry": geometry, "properties": properties}
    return found if identity is None else found | {"id": identity}


def write(path, features, **members):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    return path


@pytest.mark.parametrize(
    "identities",
    [[1, 1, 2, 3], ["way/77", "way/78"], ["way/77", 5, 1.5, "1"], [2**62 + 1, 2**53 + 1]],
)
def test_ids_are_those_of_the_file(tmp_path, identities):
    path = write(tmp_path / "a.geojson", [feature(identity) for identity in identities])
    assert read_vector(path).identities == identities


def test_attributes_are_not_rounded_nor_lost(tmp_path):
    rows = [{"osm": 2**53 + 1, "tags": {"a": [1]}}, {"osm": None}, {"late": True}]
    path = write(tmp_path / "a.geojson", [feature(**row) for row in rows])
    frame = read_vector(path).frame
    assert frame["osm"].to_list() == [2**53 + 1, None, None]
    assert frame["tags"].to_list() == [{"a": [1]}, None, None]
    assert frame["late"].to_list() == [None, None, True]


@pytest.mark.slow
def test_memory_does_not_hold_all_features_as_text_and_as_dictionaries(tmp_path, monkeypatch):
    monkeypatch.setattr(geojson, "FEATURES_AT_ONCE", 200)
    rows = [{"name": f"house {n}", "osm": 10**15 + n} for n in range(6_000)]
    path = write(tmp_path / "a.geojson", [feature(n, **row) for n, row in enumerate(rows)])
    tracemalloc.start()
    found = geojson.read_geojson(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.table.to_dict("records") == rows
    assert found.identities == list(range(6_000))
    assert peak < 3 * path.stat().st_size  # of which the file is one


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        (SQUARE | {"coordinates": [SQUARE["coordinates"][0][:-1]]}, "closed"),
        (SQUARE | {"coordinates": [[[0, 0], [0, 0]]]}, "Ring"),
        (SQUARE | {"coordinates": [[[0, 0], ["1", 0], [1, 1], [0, 0]]]}, "Expected"),
        ({"type": "Polygon"}, "coordinates"),
        ({"type": "Solid", "coordinates": []}, "Solid"),
        ({"type": "GeometryCollection", "geometries": [
            {"type": "GeometryCollection", "geometries": []}]}, "GeometryCollection"),
    ],
)  # fmt: skip
def test_a_broken_geometry_is_named_and_refused_unless_asked(tmp_path, geometry, words):
    path = write(tmp_path / "a.geojson", [feature(1), feature(7, geometry)])
    with pytest.raises(FootprintError, match=rf"1 of 2 features .*feature 2 \(id 7\): .*{words}"):
        read_vector(path, refusal=FootprintError)
    layer = read_vector(path, skip_broken=True)
    assert layer.broken == 1
    assert layer.frame.geometry.isna().to_list() == [False, True]
    assert "1 of 2 features" in layer.notes[0]


def test_lines_that_cannot_be_read_are_counted(tmp_path):
    good = json.dumps(feature(1))
    path = tmp_path / "a.geojsonl"
    path.write_text(f"{good}\n\n{good[:-9]}\n{good}\n{{}}\n")
    with pytest.raises(SceneError, match=r"2 of 4 features .*line 3: .*line 5: "):
        read_vector(path)
    layer = read_vector(path, skip_broken=True)
    assert len(layer.frame) == 2
    assert layer.broken == 2


@pytest.mark.parametrize(("name", "mark"), [("a.geojson", ""), ("a.geojsons", "\x1e")])
def test_sequences_are_read_whatever_they_are_called(tmp_path, name, mark):
    path = tmp_path / name
    path.write_text("".join(f"{mark}{json.dumps(feature(n))}\n" for n in (1, 2)))
    assert read_vector(path).identities == [1, 2]


@pytest.mark.parametrize("kind", [feature(), SQUARE])
def test_a_feature_or_a_geometry_alone_is_geojson(tmp_path, kind):
    path = tmp_path / "a.geojson"
    path.write_text("\ufeff" + json.dumps(kind), encoding="utf-8")
    assert read_vector(path).frame.geometry[0].equals(shapely.box(0, 0, 1, 1))


def crs(name, kind="name"):
    return {"type": kind, "properties": {"name": name, "href": name}}


@pytest.mark.slow
def test_an_old_crs_member_is_read_by_name_alone(tmp_path):
    path = write(tmp_path / "a.geojson", [feature()], crs=crs("urn:ogc:def:crs:EPSG::32616"))
    assert read_vector(path).frame.crs.to_epsg() == 32616
    for told, words in (
        (crs("http://127.0.0.1:9/crs", "link"), "links are not followed"),
        (crs("nowhere"), "'nowhere' is not known"),
        (3, "not a name"),
        (None, "has no CRS"),
    ):
        with pytest.raises(SceneError, match=words):
            read_vector(write(tmp_path / "a.geojson", [feature()], crs=told))


def test_nesting_without_end_is_refused(tmp_path):
    path = tmp_path / "a.geojson"
    deep = "[" * 2_000 + "]" * 2_000
    path.write_text(json.dumps(feature()).replace(json.dumps(SQUARE["coordinates"]), deep))
    with pytest.raises(SceneError, match="recursion"):
        read_vector(path)


def test_an_empty_sequence_is_a_layer_and_another_empty_file_is_none(tmp_path):
    (tmp_path / "a.geojsonl").touch()
    assert read_vector(tmp_path / "a.geojsonl").frame.empty
    (tmp_path / "a.geojson").touch()
    with pytest.raises(SceneReadError, match="empty"):
        read_vector(tmp_path / "a.geojson")
