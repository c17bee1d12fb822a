"""Attributes, surfaces, tables, and shapes in another CRS."""

import sqlite3
import struct
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio.raw
import pytest
import shapely
from pyproj import CRS, Transformer

from geodamage.errors import InputError, SceneError, SceneReadError
from geodamage.grid import world_width
from geodamage.vector import layer
from geodamage.vector.layer import plain_column
from geodamage.vector.placing import area_near
from geodamage.vector.reading import read_vector
from geodamage.vector.wkt import from_wkt
from tests.conftest import UTM

SQUARE = shapely.box(0, 0, 10, 10)


def surface(number, faces, order="<"):
    """Return well-known binary of a surface in three dimensions."""
    inner = 1017 if number == 1016 else 1003
    mark = b"\1" if order == "<" else b"\0"
    parts = [mark + struct.pack(f"{order}II", number, len(faces))]
    for face in faces:
        parts.append(mark + struct.pack(f"{order}III", inner, 1, len(face)))
        parts += [struct.pack(f"{order}ddd", *point) for point in face]
    return b"".join(parts)


WALL = [(0, 0, 0), (10, 0, 0), (10, 0, 5), (0, 0, 0)]
ROOF = [
    [(0, 0, 5), (10, 0, 5), (10, 10, 5), (0, 0, 5)],
    [(0, 0, 5), (10, 10, 5), (0, 10, 5), (0, 0, 5)],
]


@pytest.mark.filterwarnings("ignore:Registering non-standard")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", [1015, 1016])
def test_the_faces_of_a_city_model_become_its_footprint(tmp_path, number, order):
    wkb = np.array([surface(number, [WALL, *ROOF], order), shapely.to_wkb(SQUARE)], object)
    pyogrio.raw.write(
        tmp_path / "a.gpkg", geometry=wkb, field_data=[np.array([1, 2])], fields=["uid"],
        geometry_type="Unknown", crs=UTM,
    )  # fmt: skip
    shapes = read_vector(tmp_path / "a.gpkg").frame.geometry
    assert all(shape.equals(SQUARE) for shape in shapes)


@pytest.mark.parametrize("extension", ["gpkg", "fgb", "parquet"])
def test_whole_numbers_beside_a_null_are_not_rounded(tmp_path, extension):
    values = pd.array([2**53 + 1, None, 2**53 + 3], "Int64")
    frame = gpd.GeoDataFrame({"osm_id": values}, geometry=[SQUARE] * 3, crs=UTM)
    path = tmp_path / f"a.{extension}"
    frame.to_parquet(path) if extension == "parquet" else frame.to_file(path)
    found = plain_column(read_vector(path).frame["osm_id"])
    assert str(found.dtype) == "Int64"
    assert found[0] == 2**53 + 1
    assert found[2] == 2**53 + 3
    assert found[1] is pd.NA


def test_times_are_read_as_texts(tmp_path):
    # Whole: formats round times, cut them to dates, or move them to the zone of the machine.
    table = {"built": [pd.Timestamp("2001-02-03T04:05:06.700")]}
    frame = gpd.GeoDataFrame(table, geometry=[SQUARE], crs=UTM)
    frame.to_file(tmp_path / "a.gpkg")
    assert read_vector(tmp_path / "a.gpkg").frame["built"].tolist() == ["2001-02-03T04:05:06.700"]


def test_a_parquet_file_without_geometry_or_damaged_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(SceneReadError, match="GeoParquet"):
        read_vector(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SceneReadError, match="GeoParquet"):
        read_vector(path)


def polygon(*points):
    """Return well-known binary of a ring as it stands, closed or not."""
    coordinates = b"".join(struct.pack("<dd", *point) for point in points)
    return struct.pack("<BIII", 1, 3, 1, len(points)) + coordinates


ODD = {
    "open": (polygon((0, 0), (1, 0), (1, 1)), "closed"),
    "two points": (polygon((0, 0), (0, 0)), "Ring"),
    "NaN": (polygon((0, 0), (np.nan, 0), (1, 1), (0, 0)), "not a number"),
    "infinity": (polygon((0, 0), (np.inf, 0), (1, 1), (0, 0)), "not a number"),
    "huge": (polygon((0, 0), (1e308, 0), (1, 1), (0, 0)), "of no place"),
    "cut": (polygon((0, 0), (1, 0), (1, 1), (0, 0))[:-5], "buffer|damaged"),
    "curve": (struct.pack("<BII", 1, 10, 0), "curve"),
}


def with_geometry(path, wkb):
    """Write two squares, and put another geometry in the place of the second."""
    frame = gpd.GeoDataFrame({"uid": [1, 2]}, geometry=[SQUARE] * 2, crs=UTM)
    good = shapely.to_wkb(SQUARE)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
        table = pq.read_table(path)
        place = table.schema.get_field_index("geometry")
        changed = pa.array([good, wkb], pa.binary())
        pq.write_table(table.set_column(place, table.schema.field(place), changed), path)
        return
    frame.to_file(path)
    with closing(sqlite3.connect(path)) as base, base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            base.execute(f'DROP TRIGGER "{name}"')
        (blob,) = base.execute("SELECT geom FROM a WHERE fid = 2").fetchone()
        base.execute("UPDATE a SET geom = ? WHERE fid = 2", (blob.removesuffix(good) + wkb,))


@pytest.mark.parametrize("extension", ["gpkg", "parquet"])
@pytest.mark.parametrize("kind", ODD)
def test_an_odd_geometry_is_named_and_costs_no_other(tmp_path, kind, extension):
    wkb, words = ODD[kind]
    if (kind, extension) == ("curve", "gpkg"):
        pytest.skip("GDAL makes it straight")
    path = tmp_path / f"a.{extension}"
    with_geometry(path, wkb)
    with pytest.raises(SceneError, match=rf"1 of 2 features .*feature 2: .*({words})"):
        read_vector(path)
    layer = read_vector(path, skip_broken=True)
    assert layer.frame.geometry.isna().to_list() == [False, True]
    assert layer.frame["uid"].to_list() == [1, 2]
    assert layer.frame.crs.to_epsg() == 32616


def test_boxes_beside_the_geometries_of_a_parquet_file_are_no_attribute(tmp_path):
    frame = gpd.GeoDataFrame({"uid": [1]}, geometry=[SQUARE], crs=UTM)
    frame.to_parquet(tmp_path / "a.parquet", write_covering_bbox=True)
    assert read_vector(tmp_path / "a.parquet").attributes == ["uid"]
    frame.to_parquet(tmp_path / "b.parquet", geometry_encoding="geoarrow")
    assert read_vector(tmp_path / "b.parquet").frame.geometry[0].equals(SQUARE)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("id;WKT\n7;POLYGON((1 2,3 2,3 4,1 2))\n", (1, 2, 3, 4)),
        ("id,latitude,longitude\n7,2,1\n", (1, 2, 1, 2)),
    ],
)
def test_a_csv_has_well_known_text_or_degrees(tmp_path, text, bounds):
    path = tmp_path / "a.csv"
    path.write_text(text)
    layer = read_vector(path)
    assert layer.frame.geometry[0].bounds == bounds
    assert layer.frame["id"].to_list() == ["7"]
    assert "no CRS" in layer.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,wkt\n7,POLYGON((1 2,3 2\n", "1 of 1 feature"),
        ("id,wkt\n7,\"POINT(500000 4000000)\"\n", "not longitude and latitude"),
        ("id,name\n7,a\n", "no column"),
        ("id,wkt\n7,POINT(1 2)\n8\n", "1 of 2 features .*line 3: 1 cell for 2 columns"),
        ("lon,lat\n7,1,2\n", "1 of 1 feature .*line 2: 3 cells for 2 columns"),
        ('id,wkt\n7,"POINT(1 2', "unexpected end of data"),
        ("id,wkt\n7,CIRCULARSTRING EMPTY\n", "1 of 1 feature .*Nonlinear"),
    ],
)  # fmt: skip
def test_a_csv_without_places_is_refused(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_vector(tmp_path / "a.csv")


def test_well_known_text_that_nests_deep_never_reaches_geos(monkeypatch):
    nested = "GEOMETRYCOLLECTION(" * 9 + "POINT(1 2)" + ")" * 9
    assert from_wkt(nested.replace("GEOMETRYCOLLECTION(" * 9, "GEOMETRYCOLLECTION(" * 2)[:-7])
    monkeypatch.setattr(shapely, "from_wkt", None)
    with pytest.raises(ValueError, match="nested 10 deep"):
        from_wkt(nested)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([True, None], "boolean", [True, pd.NA]),
        ([1, None], "Int64", [1, pd.NA]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([1, "a", None], "string", ["1", "a", pd.NA]),
        ([2**63, 1], "string", [str(2**63), "1"]),
        ([{"a": 1}, ["é"]], "string", ['{"a": 1}', '["é"]']),
    ],
)
def test_columns_are_of_types_that_every_format_holds(values, dtype, expected):
    found = plain_column(pd.Series(values, dtype=object))
    assert str(found.dtype) == dtype
    assert [v is pd.NA or v == e for v, e in zip(found, expected, strict=True)] == [True] * len(
        values
    )


SCENE = (400_000.0, 3_340_000.0, 404_000.0, 3_344_000.0)


@pytest.mark.parametrize("width", [0.1, 1, 4, 30, 170])
def test_edges_are_straight_in_the_crs_of_the_file(width):
    # The northern edge of a box of degrees runs through the scene, along a parallel.
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(402_000, 3_342_000)
    box = shapely.box(lon - width, 20, lon + width, lat)
    area = area_near(np.array([box], object), CRS(4326), CRS(UTM), SCENE)
    points = gpd.GeoSeries(shapely.points(np.linspace(lon - 0.02, lon + 0.02, 9), lat), crs=4326)
    distance = shapely.distance(points.to_crs(UTM).to_numpy(), shapely.boundary(area))
    assert distance.max() < 0.05


@pytest.mark.parametrize(
    "box", [(-180, 0, 0, 90), (-180, -90, 180, 90), (-180, -60, 180, 60), (0, 0, 360, 80)]
)
def test_areas_of_which_utm_has_no_number_hold_the_scene(box):
    area = area_near(np.array([shapely.box(*box)], object), CRS(4326), CRS(UTM), SCENE)
    assert area.contains(shapely.box(*SCENE))


def test_an_area_across_the_antimeridian_and_at_the_pole():
    fiji, east = (180_000.0, 8_000_000.0, 185_000.0, 8_004_000.0), CRS(32701)
    scene = shapely.box(*fiji)
    for box in ((170, -30, 190, 0), (-190, -30, -170, 0), (-180, -30, 180, 0)):
        area = area_near(np.array([shapely.box(*box)], object), CRS(4326), east, fiji)
        assert area.buffer(1e-3).contains(scene)
    pole = (-9_000.0, -9_000.0, 9_000.0, 9_000.0)
    box = np.array([shapely.box(-180, 60, 180, 90)], object)
    assert area_near(box, CRS(4326), CRS(3413), pole).buffer(1).contains(shapely.box(*pole))


def test_how_far_around_the_earth_is():
    assert world_width(CRS(4326)) == 360
    assert world_width(CRS(3857)) == pytest.approx(2 * np.pi * 6378137)
    assert world_width(CRS(6933)) == pytest.approx(2 * 17367530.445, rel=1e-6)
    assert world_width(CRS(UTM)) is None
    assert world_width(CRS(3413)) is None


@pytest.mark.parametrize("extension", ["geojson", "geojsonl", "gpkg", "fgb", "parquet", "csv"])
def test_a_layer_of_too_many_attributes_is_refused(tmp_path, monkeypatch, extension):
    frame = gpd.GeoDataFrame({f"a{n}": [n] for n in range(20)}, geometry=[SQUARE], crs=4326)
    path = tmp_path / f"a.{extension}"
    if extension == "parquet":
        frame.to_parquet(path)
    elif extension == "csv":
        frame.drop(columns="geometry").assign(wkt=SQUARE.wkt).to_csv(path, index=False)
    else:
        frame.to_file(path, driver="GeoJSONSeq" if extension == "geojsonl" else None)
    monkeypatch.setattr(layer, "MOST_ATTRIBUTES", 20)
    assert len(read_vector(path).attributes) == 20
    monkeypatch.setattr(layer, "MOST_ATTRIBUTES", 19)
    with pytest.raises(SceneError, match=r"more than 19 attributes; .*\(ogr2ogr -select\)"):
        read_vector(path)


@pytest.mark.parametrize("crs", [4326, 4807])  # degrees, and grads
def test_places_that_are_no_degrees_are_refused(tmp_path, crs):
    path = tmp_path / "a.gpkg"
    good = shapely.box(2, 48, 2.1, 48.1)
    gpd.GeoDataFrame(geometry=[SQUARE, shapely.box(5e5, 3e6, 6e5, 4e6)], crs=crs).to_file(path)
    with pytest.raises(SceneError, match=r"1 of 2 features .*feature 2: its latitude is beyond 90"):
        read_vector(path)
    assert read_vector(path, skip_broken=True).frame.geometry.isna().to_list() == [False, True]
    gpd.GeoDataFrame(geometry=[None, shapely.box(5e5, 3e6, 6e5, 4e6)], crs=crs).to_file(path)
    with pytest.raises(SceneError, match=rf"no degrees, so its CRS \(EPSG:{crs}\) is probably"):
        read_vector(path)
    gpd.GeoDataFrame(geometry=[good], crs=crs).to_file(path)
    assert len(read_vector(path).frame) == 1


def test_the_pole_and_half_a_pixel_are_degrees(tmp_path):
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(-180.2, 80, 180.2, 90.2)], crs=4326).to_file(path)
    assert read_vector(path).frame.geometry.notna().all()
    gpd.GeoDataFrame(geometry=[shapely.box(10, 100, 11, 101)], crs=4326).to_file(path)
    with pytest.raises(SceneError, match="latitude and longitude are exchanged"):
        read_vector(path)


def test_cells_and_names_of_a_csv_may_be_odd(tmp_path):
    path = tmp_path / "a.csv"
    ring = ", ".join(f"{n / 1e6:.6f} 0" for n in range(20_000))
    path.write_text(f'id,id,,wkt\n1,2,3,POINT(1 2),\n4,"5\n6","a ""b""","LINESTRING({ring})"\n')
    frame = read_vector(path).frame
    assert frame.columns.tolist() == ["id", "id.1", "column 3", "geometry"]
    assert frame.drop(columns="geometry").to_numpy().tolist() == [
        ["1", "2", "3"],
        ["4", "5\n6", 'a "b"'],
    ]
    assert len(frame.geometry[1].coords) == 20_000


@pytest.mark.parametrize("kind", ["POLYHEDRALSURFACE Z", "tin z"])
def test_a_city_model_in_well_known_text_becomes_its_footprint(kind):
    wall, *roof = ([*face[:-1], face[0]] for face in (WALL, *ROOF))
    faces = ", ".join(
        "((" + ", ".join(f"{x} {y} {z}" for x, y, z in face) + "))" for face in (wall, *roof)
    )
    assert from_wkt(f"{kind} ({faces})").equals(SQUARE)
