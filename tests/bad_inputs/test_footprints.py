import struct

import geopandas as gpd
import numpy as np
import pyogrio.raw
import pytest
import shapely

from geodamage.output.publication import read_sidecar
from tests.bad_inputs.attempts import row
from tests.conftest import (
    CORNER,
    ROOFS,
    UTM,
)


def curve(roof):
    """Return a circle within a roof as a WKB CurvePolygon."""
    x, y = roof.polygon.centroid.coords[0]
    points = [(x - 2, y), (x, y + 2), (x + 2, y), (x, y - 2), (x - 2, y)]
    ring = struct.pack("<BII", 1, 8, len(points)) + b"".join(struct.pack("<dd", *p) for p in points)
    return struct.pack("<BII", 1, 10, 1) + ring


@pytest.mark.slow
def test_row76_odd_footprints_all_come_out_and_are_counted(attempts):
    first, second = (roof.polygon for roof in ROOFS[:2])
    left, bottom, right, top = second.bounds
    bow = shapely.Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    angles = np.linspace(0, 2 * np.pi, 10**6)
    x, y = ROOFS[2].polygon.centroid.coords[0]
    many = shapely.Polygon(np.column_stack([x + 3 * np.cos(angles), y + 3 * np.sin(angles)]))
    shapes = {
        "null": None,
        "empty": shapely.Polygon(),
        "bow": bow,
        "flat": shapely.Polygon([(left, bottom), (right, top), (left, bottom)]),
        "vertices": many,
        "3D": shapely.force_3d(first, 12.0),
        "several": shapely.MultiPolygon([first, second]),
        "curve": curve(ROOFS[3]),
        "twice": ROOFS[4].polygon,
        "collection": shapely.GeometryCollection([first, shapely.Point(left, top)]),
    }
    ids = [*shapes, "twice", "twice"]
    wkb = [s if isinstance(s, bytes) else shapely.to_wkb(s) for s in shapes.values()]
    wkb += [shapely.to_wkb(ROOFS[4].polygon)] * 2
    pyogrio.raw.write(
        attempts.folder / "odd.gpkg",
        geometry=np.array(wkb, object),
        field_data=[np.array(ids, object)],
        fields=["uid"],
        geometry_type="Unknown",
        crs=UTM,
    )
    frame = attempts.read("--footprints", attempts.folder / "odd.gpkg")
    assert len(frame) == len(ids)
    frame = frame.set_index("building_id")
    assert {*shapes, "twice-2", "twice-3"} == set(frame.index)
    assert (frame.loc[["null", "empty"], "status_reason"] == "no_geometry").all()
    expected = {"bow": 2, "vertices": 3, "3D": 1, "several": 2, "curve": 4, "twice-3": 4}
    assert frame.loc[list(expected), "damage_class"].to_dict() == expected
    assert frame.loc["flat", "status"] != "assessed"
    facts = read_sidecar(attempts.out / "b.gpkg")
    assert facts["footprints"]["duplicate_ids"] == 2
    assert facts["footprints"]["repaired"] >= 1
    assert facts["buildings"] == len(ids)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("crs", "words"),
    [
        row(77, None, ["no CRS", "a_srs"], name="no CRS"),
        row(77, 4326, ["CRS", "wrong"], name="metres called degrees"),
        row(77, 32756, ["no footprint lies in the scene"], name="another zone"),
    ],
)
@pytest.mark.parametrize("extension", ["gpkg", "fgb", "shp"])
def test_footprints_without_a_right_crs_are_refused(attempts, crs, words, extension):
    path = attempts.folder / f"f.{extension}"
    frame = gpd.GeoDataFrame(geometry=[roof.polygon for roof in ROOFS], crs=UTM)
    frame.set_crs(crs, allow_override=True).to_file(path)
    attempts.refuse("--footprints", path, words=[path.name, *words])


@pytest.mark.slow
def test_row78_footprints_elsewhere_are_refused_with_both_places(attempts):
    path = attempts.folder / "f.gpkg"
    shapes = [shapely.transform(roof.polygon, lambda xy: xy + 5000) for roof in ROOFS]
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_file(path)
    words = [path.name, "no footprint lies in the scene", "629600", "634605"]
    attempts.refuse("--footprints", path, words=words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes",
    [row(76, [], name="none at all"), row(76, [shapely.Point(CORNER)], name="points")],
)
def test_a_file_without_footprints_is_refused(attempts, shapes):
    path = attempts.folder / "f.gpkg"
    gpd.GeoDataFrame({"uid": range(len(shapes))}, geometry=shapes, crs=UTM).to_file(path)
    attempts.refuse("--footprints", path, words=[path, "no polygon"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [row(76, b"hello", name="text"), row(76, b"", name="empty file")]
)
def test_what_is_no_vector_file_is_refused(attempts, content):
    for name, option in (("f.geojson", "--footprints"), ("a.gpkg", "--aoi")):
        path = attempts.folder / name
        path.write_bytes(content)
        attempts.refuse(option, path, words=[path])


RING = "[[[{0}, 30], [-85.6, 30], [-85.6, 30.1], [{0}, 30]]]"
FEATURES = (
    '{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {{}}, '
    '"geometry": {{"type": "Polygon", "coordinates": {}}}}}]}}'
)


@pytest.mark.filterwarnings("ignore:Non closed ring")
@pytest.mark.parametrize(
    "rings",
    [
        row(80, RING.format("NaN"), name="NaN"),
        row(80, RING.format("1e999"), name="infinity"),
        row(80, "[" * 100_000 + "]" * 100_000, name="nesting"),
    ],
)
@pytest.mark.parametrize("option", ["--footprints", "--aoi"])
def test_geojson_with_odd_coordinates_is_refused(attempts, rings, option):
    path = attempts.folder / "odd.geojson"
    path.write_text(FEATURES.format(rings))
    attempts.refuse(option, path, words=[path])
