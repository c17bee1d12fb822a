"""A GeoPackage holds how QGIS draws it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import pytest
import shapely
from pyproj import CRS

from geodamage.errors import OutputError
from geodamage.fields import FIELDS, FOOTPRINT_FIELDS, Field, conform
from geodamage.output.damage_style import PALETTES
from geodamage.output.geopackage import write_layers
from geodamage.output.publication import output_errors
from geodamage.output.vectors import vector_writer
from geodamage.output.writer import common_type

UTM = CRS.from_epsg(32616)
SAMPLE_FIELDS = (*FIELDS, Field("sample_order", "integer", "order in which to look"))


def frame_of(fields: tuple[Field, ...], *shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    """Return rows of a layer that have shapes and nothing else."""
    shapes = shapes or (shapely.box(0, 0, 10, 10),)
    columns = {field.name: [None] * len(shapes) for field in fields}
    return conform(gpd.GeoDataFrame(columns, geometry=list(shapes), crs=UTM), UTM, fields)


def write(path: Path, fields: tuple[Field, ...], layer: str = "buildings") -> Path:
    with vector_writer(path, UTM, layer, geometry_type="Polygon", fields=fields) as writer:
        writer.append(frame_of(fields))
    return path


def styles_of(path: Path, layer: str = "buildings") -> dict[str, tuple[str, bool]]:
    """Return text of each style of a layer, and whether QGIS takes it by itself."""
    with closing(sqlite3.connect(path)) as base:
        rows = base.execute(
            "SELECT styleName, styleQML, useAsDefault FROM layer_styles WHERE f_table_name = ? "
            "AND f_geometry_column = (SELECT column_name FROM gpkg_geometry_columns "
            "WHERE table_name = f_table_name) ORDER BY id",
            (layer,),
        ).fetchall()
    return {name: (text, bool(default)) for name, text, default in rows}


def test_graded_buildings_have_a_style_of_each_palette(tmp_path: Path) -> None:
    styles = styles_of(write(tmp_path / "b.gpkg", FIELDS))
    assert list(styles) == [palette.name for palette in PALETTES]
    assert [default for _, default in styles.values()] == [True, False]
    labels = [
        rule.get("label")
        for rule in ElementTree.fromstring(styles["damage"][0]).findall("renderer-v2/rules/rule")
    ]
    assert labels[:4] == ["no damage", "minor damage", "major damage", "destroyed"]


@pytest.mark.parametrize("fields", [SAMPLE_FIELDS, FOOTPRINT_FIELDS])
def test_what_must_not_lead_or_has_no_grade_is_outlined(
    tmp_path: Path, fields: tuple[Field, ...]
) -> None:
    styles = styles_of(write(tmp_path / "b.gpkg", fields))
    assert list(styles) == ["outline"]
    assert "RuleRenderer" not in styles["outline"][0]


def test_layers_of_an_event_are_styled_and_declare_their_type(tmp_path: Path) -> None:
    path = tmp_path / "event.gpkg"
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
    table = frame_of(FIELDS).drop(columns="geometry")
    layers = {
        "buildings": frame_of(FIELDS), "looks": frame_of(FIELDS, two, shapely.box(0, 0, 9, 9)),
        "assessed_area": frame_of(FIELDS[:1]), "scenes": table,
    }  # fmt: skip
    write_layers(layers, path, {"buildings": "Unknown", "looks": "Unknown"})
    assert {name: list(styles_of(path, name)) for name in layers} == {
        "buildings": ["damage", "colour-blind safe"], "looks": ["damage", "colour-blind safe"],
        "assessed_area": ["outline"], "scenes": [],
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as base:
        rows = base.execute("SELECT table_name, geometry_type_name FROM gpkg_geometry_columns")
        kinds = dict(rows.fetchall())
    assert kinds["buildings"] == "POLYGON"
    assert kinds["looks"] == "MULTIPOLYGON"


def test_a_layer_that_is_written_again_keeps_no_old_style(tmp_path: Path) -> None:
    path = write(tmp_path / "b.gpkg", FIELDS)
    write(path, FOOTPRINT_FIELDS)
    assert list(styles_of(path)) == ["outline"]


def test_other_formats_have_no_styles_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "b.fgb", FIELDS)
    assert [file.name for file in tmp_path.iterdir()] == ["b.fgb"]


def test_a_database_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="disk is full"), output_errors(tmp_path / "b.gpkg"):
        raise sqlite3.OperationalError("database or disk is full")


def test_the_type_of_some_shapes_is_the_narrowest_that_holds_all() -> None:
    square = shapely.box(0, 0, 1, 1)
    two = shapely.MultiPolygon([square])
    kinds = [common_type(gpd.GeoSeries(shapes)) for shapes in (
        [square, None], [square, two], [square, shapely.Point(0, 0)],
    )]  # fmt: skip
    assert kinds == ["Polygon", "MultiPolygon", "Unknown"]
