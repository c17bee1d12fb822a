import json
import re
import signal
import subprocess
import sys
import tracemalloc
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer

import geodamage.output.writer
from geodamage.errors import OptionError, OutputExistsError, SceneReadError
from geodamage.fields import FIELDS, NAMES, attribute_fields, conform, empty_frame
from geodamage.output.geojson import to_rfc7946
from geodamage.output.publication import (
    VECTOR_EXTENSIONS,
    Publication,
    read_sidecar,
)
from geodamage.output.vectors import vector_writer, write_buildings

UTM = CRS.from_epsg(32633)
TO_WGS84 = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
LAYERED = (".gpkg", ".fgb", ".parquet")


def pixels(row, column, height, width):
    """Return the outline of a window of pixels."""
    x, y = TRANSFORM @ (column, row)
    return shapely.box(x, y - height / 2, x + width / 2, y)


def make_buildings(count, start=0):
    """Return buildings; the first has a hole, the second no grade, the third no geometry."""
    numbers = np.arange(start, start + count)
    shapes = [pixels(row * 20, 5, 10, 10) for row in numbers.tolist()]
    frame = gpd.GeoDataFrame(index=range(count), geometry=shapes, crs=UTM)
    values = {
        "building_id": [f"b{number}" for number in numbers],
        "damage": "destroyed",
        "damage_class": pd.array([4] * count, dtype="Int64"),
        "p_none": 0.123456,
        "p_minor": 1 / 3,
        "p_major": 0.2,
        "p_destroyed": 1 - 0.123456 - 1 / 3 - 0.2,
        "confidence": 0.4,
        "damage_score": 0.75,
        "damaged": pd.array([True] * count, dtype="boolean"),
        "status": "assessed",
        "status_reason": None,
        "valid_fraction": 1.0,
        "area_m2": 25.129,
        "lon": 15.123456789,
        "lat": 45.0,
        "source": "model",
    }
    for name, value in values.items():
        frame[name] = value
    if count > 2 and start == 0:
        frame.loc[0, "geometry"] = shapes[0].difference(pixels(3, 8, 2, 2))
        frame = frame.astype({"damage": object})
        graded = list(NAMES[1:10])
        frame.loc[1, graded] = [None, pd.NA, *[np.nan] * 6, pd.NA]
        frame.loc[1, ["status", "status_reason"]] = ["not_assessed", "nodata"]
        frame.loc[2, "geometry"] = None
    return frame[[*NAMES, "geometry"]]


def write(path, *frames, crs=UTM, **options):
    with vector_writer(path, crs, **options) as writer:
        for frame in frames:
            writer.append(frame)


def read(path):
    frame = (
        gpd.read_parquet(path)
        if path.suffix == ".parquet"
        else pyogrio.read_dataframe(path, layer=0)
    )
    return frame.drop(columns="id", errors="ignore").sort_values("building_id", ignore_index=True)


@pytest.fixture(params=VECTOR_EXTENSIONS)
def path(request, tmp_path):
    return tmp_path / f"buildings{request.param}"


def test_round_trip(path):
    write(path, make_buildings(3), empty_frame(UTM), make_buildings(2, start=3))
    frame = read(path)
    assert tuple(frame.columns) == (*NAMES, "geometry")
    assert frame["building_id"].tolist() == ["b0", "b1", "b2", "b3", "b4"]
    assert frame["damage_class"].isna().tolist() == [False, True, False, False, False]
    assert frame["damage_class"].dropna().tolist() == [4] * 4
    assert frame["damaged"].isna().tolist() == [False, True, False, False, False]
    assert all(frame["damaged"].dropna())
    assert frame["damage"].isna().tolist() == [False, True, False, False, False]
    assert frame["status_reason"].isna().tolist() == [True, False, True, True, True]
    assert np.isnan(frame.loc[1, "p_none"])
    assert frame.loc[0, ["p_none", "p_minor", "area_m2"]].tolist() == [0.1235, 0.3333, 25.13]
    assert frame.loc[0, "lon"] == 15.1234568
    assert frame.loc[0, list(NAMES[3:7])].sum() == pytest.approx(1, abs=1e-3)
    assert len(frame.geometry[0].interiors) == 1
    assert frame.geometry[2] is None


@pytest.mark.slow
def test_layered_formats_keep_the_crs(tmp_path):
    frame = make_buildings(3)
    for extension in LAYERED:
        path = tmp_path / f"b{extension}"
        write(path, frame)
        assert read(path).crs == UTM
        assert read(path).geometry[0].equals(frame.geometry[0])


def test_no_building_gives_a_typed_file(path):
    write(path)
    if path.suffix in (".geojsonl", ".ndjson"):
        assert path.read_text() == ""
        return
    frame = (
        gpd.read_parquet(path)
        if path.suffix == ".parquet"
        else pyogrio.read_dataframe(path, layer=0)
    )
    assert len(frame) == 0
    if path.suffix in LAYERED:
        assert tuple(frame.columns) == (*NAMES, "geometry")
        assert frame.crs == UTM


@pytest.mark.parametrize("extension", [".gpkg", ".fgb"])
@pytest.mark.parametrize("count", [0, 2])
def test_types_are_declared(tmp_path, extension, count):
    path = tmp_path / f"b{extension}"
    write(path, make_buildings(count))
    about = pyogrio.read_info(path, layer=0)
    ogr = {"text": "OFTString", "integer": "OFTInteger", "number": "OFTReal", "flag": "OFTInteger"}
    assert about["ogr_types"] == [ogr[field.kind] for field in FIELDS]
    assert about["ogr_subtypes"][NAMES.index("damaged")] == "OFSTBoolean"
    assert about["layer_name"] == "buildings"


def test_parquet_declares_types_and_metadata(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "b.parquet"
    write(path, make_buildings(3), make_buildings(2, start=3))
    frame = gpd.read_parquet(path)
    assert [str(frame[name].dtype) for name in ("damage_class", "damaged")] == ["Int32", "boolean"]
    metadata = json.loads(pq.ParquetFile(path).metadata.metadata[b"geo"])
    column = metadata["columns"]["geometry"]
    assert metadata["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert CRS.from_json_dict(column["crs"]) == UTM
    assert column["bbox"] == frame.total_bounds.tolist()
    # Readers skip row groups by the boxes of buildings.
    assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
    boxes = pq.read_table(path, columns=["bbox"])["bbox"].to_pylist()
    assert boxes[2] is None
    assert list(boxes[0].values()) == list(frame.geometry[0].bounds)
    west, south, east, north = frame.geometry[3].bounds
    near = gpd.read_parquet(path, bbox=(west + 1, south + 1, east - 1, north - 1))
    assert near["building_id"].tolist() == ["b3"]


@pytest.mark.slow
def test_batches_are_gathered(tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(geodamage.output.writer, "ROWS_AT_ONCE", 4)
    path = tmp_path / "b.parquet"
    write(path, *(make_buildings(1, start=number) for number in range(10)))
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(index).num_rows for index in range(3)] == [4, 4, 2]


@pytest.mark.parametrize("extension", [".gpkg", ".fgb", ".geojson"])
def test_any_geometry_comes_through(tmp_path, extension):
    frame = make_buildings(6)
    square = pixels(0, 0, 4, 4)
    shapes = [
        square,
        shapely.MultiPolygon([square, pixels(0, 10, 4, 4)]),
        shapely.Point(500_000, 5_000_000),
        shapely.LineString([(500_000, 5_000_000), (500_010, 5_000_000)]),
        shapely.force_3d(square, 7),
        shapely.Polygon(),
    ]
    path = tmp_path / f"b{extension}"
    write(path, frame.set_geometry(shapes, crs=UTM))
    shapes = read(path).geometry
    types = ["Polygon", "MultiPolygon", "Point", "LineString", "Polygon"]
    assert shapes.geom_type[:5].tolist() == types
    assert not shapes.has_z.any()
    assert shapes[5] is None


def test_declared_types(tmp_path):
    write(tmp_path / "b.gpkg", make_buildings(2), geometry_type="Polygon")
    assert pyogrio.read_info(tmp_path / "b.gpkg", layer=0)["geometry_type"] == "Polygon"
    write(tmp_path / "b.fgb", make_buildings(2))
    assert pyogrio.read_info(tmp_path / "b.fgb")["geometry_type"] == "Polygon"


def test_writing_is_quiet_under_a_partial_name(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Publication() as publication:
            write(publication.partial(path), make_buildings(3))
    assert list(path.parent.iterdir()) == [path]


def test_unknown_extension(tmp_path):
    with pytest.raises(OptionError, match=r"use \.geojson"):
        vector_writer(tmp_path / "b.dxf", UTM)


def test_write_buildings(tmp_path):
    path = tmp_path / "b.gpkg"
    assert write_buildings(iter([make_buildings(3)]), str(path), UTM) == path
    assert len(read(path)) == 3
    assert read_sidecar(path)["buildings"] == 3
    with pytest.raises(OutputExistsError):
        write_buildings([], path, UTM)
    write_buildings([], path, UTM, overwrite=True)
    assert len(read(path)) == 0


def test_write_buildings_leaves_nothing_when_they_stop_coming(path):
    def stop():
        yield make_buildings(3)
        raise SceneReadError("a block is damaged")

    with pytest.raises(SceneReadError):
        write_buildings(stop(), path, UTM)
    assert list(path.parent.iterdir()) == []


def test_geojson_is_rfc_7946(tmp_path):
    path = tmp_path / "b.geojson"
    write(path, make_buildings(3), make_buildings(2, start=3))
    text = path.read_text()
    assert not re.search(r"\.\d{8}", text)
    assert "NaN" not in text
    collection = json.loads(text)
    assert set(collection) == {"type", "features"}
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert feature["id"] == feature["properties"]["building_id"]
        assert list(feature["properties"]) == list(NAMES)
    ungraded = collection["features"][1]["properties"]
    assert [ungraded[name] for name in NAMES[1:10]] == [None] * 9
    polygon = shapely.geometry.shape(collection["features"][0]["geometry"])
    assert polygon.exterior.is_ccw
    assert not polygon.interiors[0].is_ccw
    assert polygon.bounds == pytest.approx(
        (15.0000318, 45.1534321, 15.0000954, 45.1534772), abs=1e-6
    )
    assert collection["features"][2]["geometry"] is None


def test_attributes_of_any_kind_are_json(tmp_path):
    frame = make_buildings(4).assign(
        height=[2.5, np.inf, np.nan, 1e-7],
        storeys=pd.array([2, None, -3, 2**40], dtype="Int64"),
        tiled=pd.array([True, False, None, True], dtype="boolean"),
    )
    frame['100 % of "it"'] = ["a", "b\n%s", None, "ü\\"]
    frame["source"] = "%d"
    fields = (*FIELDS, *attribute_fields(frame))
    path = tmp_path / "a.geojson"
    with vector_writer(path, UTM, fields=fields) as writer:
        writer.append(frame)
    told = [feature["properties"] for feature in json.loads(path.read_text())["features"]]
    assert [list(row) for row in told] == [[field.name for field in fields]] * 4
    assert [row["height"] for row in told] == [2.5, None, None, 1e-7]
    assert [row["storeys"] for row in told] == [2, None, -3, 2**40]
    assert [row["tiled"] for row in told] == [True, False, None, True]
    assert [row['100 % of "it"'] for row in told] == ["a", "b\n%s", None, "ü\\"]
    assert {row["source"] for row in told} == {"%d"}


def test_geojson_lines_are_features(tmp_path):
    path = tmp_path / "b.geojsonl"
    write(path, make_buildings(3), make_buildings(2, start=3))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["b0", "b1", "b2", "b3", "b4"]


def test_ids_with_quotes_survive(path):
    identifier = 'a"b\\c\n\u2028été🏠'
    write(path, make_buildings(1).assign(building_id=identifier))
    assert read(path)["building_id"].tolist() == [identifier]


def test_rounding_leaves_no_repeated_points():
    x, y = 500_000, 5_000_000
    shape = shapely.Polygon(
        [(x, y), (x + 10, y), (x + 10, y + 0.001), (x + 10, y + 10), (x, y + 10)]
    )
    (rounded,) = to_rfc7946(np.array([shape]), TO_WGS84)
    points = shapely.get_coordinates(rounded)
    assert len(points) == 5
    assert (points == points.round(7)).all()
    assert (points[0] == points[-1]).all()


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(500_000, 5_000_000, 500_000.001, 5_000_000.001),
        pixels(0, 0, 20, 20).difference(
            shapely.box(500_001, 4_999_998, 500_001.001, 4_999_998.001)
        ),
    ],
    ids=["all of it", "its hole"],
)
def test_a_footprint_that_would_collapse_stays_valid(shape):
    (kept,) = to_rfc7946(np.array([shape]), TO_WGS84)
    assert kept.is_valid
    assert kept.area > 0
    assert kept.exterior.is_ccw


def test_broken_footprints_come_through():
    flat = shapely.from_wkt(
        "POLYGON ((500000 5000000, 500000 5000000, 500000 5000000, 500000 5000000))"
    )
    bow = shapely.Polygon([(500_000, 0), (500_010, 10), (500_010, 0), (500_000, 10)])
    far = shapely.box(1e12, 1e12, 2e12, 2e12)
    shapes = to_rfc7946(np.array([flat, bow, None, far]), TO_WGS84)
    assert [None if shape is None else shape.geom_type for shape in shapes] == [
        "Polygon",
        "Polygon",
        None,
        None,
    ]


def test_the_antimeridian_cuts():
    fiji = CRS.from_epsg(32760)
    x, y = Transformer.from_crs("OGC:CRS84", fiji, always_xy=True).transform(180, -17)
    to_wgs84 = Transformer.from_crs(fiji, "OGC:CRS84", always_xy=True)
    (cut,) = to_rfc7946(np.array([shapely.box(x - 10, y - 10, x + 10, y + 10)]), to_wgs84)
    assert cut.geom_type == "MultiPolygon"
    assert sorted(part.bounds[0] > 0 for part in cut.geoms) == [False, True]
    assert cut.area < 1e-6
    assert all(part.exterior.is_ccw for part in cut.geoms)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_vectors import *

with Publication() as publication:
    writers = []
    for extension in VECTOR_EXTENSIONS:
        path = Path({folder!r}) / f"buildings{{extension}}"
        writers.append(vector_writer(publication.partial(path), UTM))
        publication.sidecar(path, {{}})
    geodamage.output.writer.ROWS_AT_ONCE = 10
    for start in range(0, 1000, 100):
        for writer in writers:
            writer.append(make_buildings(100, start))
    print("written", flush=True)
    time.sleep(60)
"""

FULL_DISK = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_vectors import *
from geodamage.errors import OutputError

frames = [make_buildings(500, start) for start in range(0, 4000, 500)]
for extension in VECTOR_EXTENSIONS:
    path = Path({folder!r}) / f"buildings{{extension}}"
    write(path, *frames)
    size = path.stat().st_size
    path.unlink()
    for limit in (0, 4096, size // 2, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with Publication() as publication:
                write(publication.partial(path), *frames)
        except OutputError as error:
            assert str(error).startswith(f"cannot write {{path}}: "), error
            assert len(str(error).splitlines()) == 1, error
        else:
            raise SystemExit(f"no error at {{limit}} of {{size}} bytes of {{extension}}")
        left = os.listdir(path.parent)
        assert not left, left
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_kill_leaves_no_final_file(tmp_path, request):
    script = KILLED.format(tests=str(request.path.parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "written\n"
        run.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir())
    for ending in (*VECTOR_EXTENSIONS, ".json"):
        assert not list(tmp_path.rglob(f"*{ending}"))
    # The next run does not mind what is left.
    with Publication() as publication:
        write(publication.partial(tmp_path / "buildings.gpkg"), make_buildings(3))
    assert len(read(tmp_path / "buildings.gpkg")) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file size")
def test_a_full_disk_leaves_nothing(tmp_path, request):
    script = FULL_DISK.format(tests=str(request.path.parent), folder=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_frames_are_typed_together_as_they_are_alone(tmp_path, monkeypatch):
    calls = []

    def counted(frame, *given):
        calls.append(len(frame))
        return conform(frame, *given)

    monkeypatch.setattr(geodamage.output.writer, "conform", counted)
    alike = [make_buildings(5, start) for start in (10, 20, 30)]
    alike[1]["status_reason"] = "cut_by_edge_or_nodata"  # texts may be of another type
    odd = make_buildings(4).astype({"damage_class": object})  # as where a grade is hidden
    texts = []
    for frames in ([*alike], [*alike, odd]):
        path = tmp_path / f"{len(texts)}.geojson"
        with vector_writer(path, UTM) as writer:
            for frame in frames:
                writer.append(frame)
        texts.append(path.read_text(encoding="utf-8"))
    assert calls == [15, 5, 5, 5, 4]
    alone = [line.rstrip(",") for line in texts[0].splitlines()[1:-1]]
    assert [line.rstrip(",") for line in texts[1].splitlines()[1:16]] == alone
    assert [json.loads(line)["id"] for line in alone] == [
        f"b{s + n}" for s in (10, 20, 30) for n in range(5)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".geojson", ".geojsonl"])
def test_the_text_of_many_buildings_is_never_in_memory_at_once(tmp_path, extension):
    frame = make_buildings(geodamage.output.writer.ROWS_AT_ONCE)
    frame["geometry"] = shapely.segmentize(frame.geometry.to_numpy(), 0.25)
    path = tmp_path / f"a{extension}"
    with vector_writer(path, UTM) as writer:
        tracemalloc.start()
        try:
            writer.append(frame)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < path.stat().st_size
