"""What a vector file is, and what is refused before any reader sees it."""

import shutil
import sqlite3
import zipfile
from contextlib import closing

import geopandas as gpd
import pytest
import shapely

from geodamage.errors import SceneError, SceneReadError
from geodamage.vector.formats import format_of
from geodamage.vector.reading import read_vector
from tests.conftest import UTM, listing

SQUARES = [shapely.box(x, 0, x + 10, 10) for x in (0, 20)]


def write(path, **options):
    frame = gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=SQUARES, crs=UTM)
    frame.to_file(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "driver"),
    [("a.gpkg", "GPKG"), ("a.fgb", "FlatGeobuf"), ("a.shp", "ESRI Shapefile"), ("a.gml", "GML")],
)
def test_formats_are_told_by_content_and_nothing_is_written_beside(tmp_path, name, driver):
    path = write(tmp_path / name, driver=driver)
    before = listing(tmp_path)
    assert format_of(path).name == driver
    layer = read_vector(path)
    assert [shape.area for shape in layer.frame.geometry] == [100, 100]
    assert sorted(layer.frame["name"]) == ["a", "b"]  # an index orders them
    assert layer.frame.crs.to_epsg() == 32616
    assert listing(tmp_path) == before


def test_kml_is_read(tmp_path):
    frame = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(1, 2, 3, 4)], crs=4326)
    frame.to_file(tmp_path / "a.kml", driver="KML")
    layer = read_vector(tmp_path / "a.kml")
    assert layer.frame.geometry[0].bounds == (1, 2, 3, 4)


@pytest.mark.parametrize("folder", ["", "inner/"])
def test_a_zipped_shapefile_is_read(tmp_path, folder):
    write(tmp_path / "a.shp")
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for ending in ("shp", "shx", "dbf", "prj"):
            packed.write(tmp_path / f"a.{ending}", f"{folder}a.{ending}")
    assert len(read_vector(archive).frame) == 2


def test_an_archive_of_several_or_none_is_refused(tmp_path):
    for names in ([], ["a.shp", "b.shp"], ["a.txt"]):
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
            packed.writestr("readme.txt", "read me")
            for name in names:
                packed.writestr(name, "hello")
        with pytest.raises(SceneError, match="Shapefiles"):
            read_vector(tmp_path / "packed.zip")


@pytest.mark.parametrize("method", [97, 99])
def test_an_archive_packed_in_another_way_is_one_line(tmp_path, method):
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("houses.shp", bytes(100))
    blob = bytearray(archive.read_bytes())
    # The method stands 8 bytes into the entry, and 10 bytes into that of the list at the end.
    for place in (8, blob.index(b"PK\1\2") + 10):
        blob[place : place + 2] = method.to_bytes(2, "little")
    archive.write_bytes(blob)
    with pytest.raises(
        SceneReadError, match=r"packed\.zip: cannot be read .*copy it again"
    ) as told:
        read_vector(archive)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<OGRVRTDataSource/>", "names others"),
        ("<!DOCTYPE kml><kml/>", "document type"),
        ("<!-- a note --><Capabilities/>", "Capabilities"),
        ("<!-- no end", "not a vector file"),
        ('{"type": "Topology", "objects": {}}', "not a GeoJSON object"),
        ('{"geometryType": "esriGeometryPolygon", "features": []}', "not a GeoJSON object"),
        ('{"type": "FeatureCollection", "features": 3}', "not readable as GeoJSON"),
        ("{", "not readable as GeoJSON"),
        ("[1, 2]", "not a vector file"),
        ("%PDF-1.4", "not a vector file"),
        ("SQLite format 3\0" + "x" * 100, "no GeoPackage"),
    ],
)
def test_what_is_of_no_known_format_is_refused(tmp_path, content, words):
    path = tmp_path / "a.geojson"
    path.write_text(content)
    with pytest.raises(SceneError, match=words):
        read_vector(path)
    assert listing(tmp_path) == ["a.geojson"]


def test_a_virtual_table_is_refused(tmp_path):
    path = write(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        base.commit()
    with pytest.raises(SceneError, match="'words' is a virtual table"):
        read_vector(path)


def test_a_shapefile_that_is_cut_is_refused(tmp_path):
    path = write(tmp_path / "a.shp")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SceneReadError, match=r"a\.shp: cut short, .* copy it again$"):
        read_vector(path)


def test_a_shapefile_without_its_table_says_so(tmp_path):
    path = write(tmp_path / "a.shp")
    assert read_vector(path).notes == ()
    (tmp_path / "a.dbf").unlink()
    layer = read_vector(path)
    assert len(layer.frame) == len(SQUARES)
    assert layer.notes == (f"{path}: has no .dbf beside it, so it comes without attributes",)


def test_a_crs_whose_name_is_no_utf_8_is_refused(tmp_path):
    path = write(tmp_path / "a.shp")
    prj = tmp_path / "a.prj"
    prj.write_bytes(prj.read_bytes().replace(b"WGS_1984_UTM_Zone_16N", b"Z\xf4ne 16"))
    with pytest.raises(SceneReadError, match=r"a\.shp: .*its CRS is no text in UTF-8"):
        read_vector(path)


def test_layers_are_chosen_by_name(tmp_path):
    path = write(tmp_path / "a.gpkg", layer="first")
    two = gpd.GeoDataFrame(geometry=SQUARES[:1], crs=UTM)
    two.to_file(path, layer="second")
    with pytest.raises(SceneError, match=r"several layers \(first, second\)"):
        read_vector(path)
    with pytest.raises(SceneError, match=r"no layer 'third'; it has first, second"):
        read_vector(f"{path}:third")
    for name in (f"{path}:second", f"{path}|layername=second"):
        layer = read_vector(name)
        assert len(layer.frame) == 1
        assert layer.source == "a.gpkg:second"
    two.to_file(tmp_path / "ours.gpkg", layer="assessed_area")
    gpd.GeoDataFrame(geometry=SQUARES, crs=UTM).to_file(tmp_path / "ours.gpkg", layer="buildings")
    assert len(read_vector(tmp_path / "ours.gpkg").frame) == len(SQUARES)
    assert len(read_vector(f"{tmp_path / 'ours.gpkg'}:assessed_area").frame) == 1
    shutil.copy(path, tmp_path / "a.gpkg:first")
    with pytest.raises(SceneError, match="several layers"):
        read_vector(f"{path}:first")  # a file that is called so goes first


def test_a_package_whose_schema_is_damaged_is_refused(tmp_path):
    path = tmp_path / "a.gpkg"
    write(path)
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("PRAGMA writable_schema = ON")
        base.execute(
            "UPDATE sqlite_master SET name = CAST(X'ff61' AS TEXT), sql = 'CREATE nothing' "
            "WHERE name = 'gpkg_contents'"
        )
    with pytest.raises(SceneReadError, match=r"a\.gpkg: cannot be read"):
        read_vector(path)
