import json
import re
import sqlite3
import zipfile
from contextlib import closing

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from geodamage.errors import (
    InputError,
    MissingExtraError,
    OptionError,
    OutputError,
    OutputExistsError,
)
from geodamage.exports import geoparquet, tiles, workbook
from geodamage.exports.exporting import EXPORT_EXTENSIONS, ExportOptions, export
from geodamage.exports.styles import categorised
from geodamage.fields import NAMES, Field
from geodamage.output.publication import read_sidecar
from geodamage.output.styles import set_styles
from tests.conftest import listing, run_command
from tests.exports.results import TO_LONLAT, make_frame, make_result, middle, square

GRADES = (1, 2, 3, 4, 0)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_result(tmp_path_factory.mktemp("result") / "buildings.gpkg", GRADES)


def read(path, **options):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, **options)


@pytest.mark.parametrize("extension", EXPORT_EXTENSIONS)
def test_an_export_has_a_sidecar_and_the_assessed_area(result, tmp_path, extension):
    output = tmp_path / f"out{extension}"
    done = export(result, output, ExportOptions(schema="cems"))
    facts = read_sidecar(output)
    assert facts["buildings"] == done.buildings == 5
    assert facts["schema"]["mapping"]["destroyed"] == "Destroyed"
    assert facts["schema"]["loses"]
    assert facts["export_of"]["file"] == "buildings.gpkg"
    inside = extension in (".gpkg", ".kml", ".kmz")
    area = tmp_path / f"out{extension}.assessed_area.geojson"
    assert area.exists() != inside
    if not inside:
        assert gpd.read_file(area)["area_km2"].tolist() == pytest.approx([130 * 50 / 1e6], rel=0.01)
    with pytest.raises(OutputExistsError):
        export(result, output)
    export(result, output, overwrite=True)


@pytest.mark.parametrize("extension", [".gpkg", ".geojson", ".geojsonl", ".fgb", ".parquet"])
def test_formats_with_geometry_keep_every_field(result, tmp_path, extension):
    output = tmp_path / f"out{extension}"
    export(result, output)
    options = {"layer": "buildings"} if extension == ".gpkg" else {}
    frame = read(output, **options).sort_values("building_id")
    assert set(NAMES) <= set(frame.columns)
    assert frame["damage_class"].fillna(0).tolist() == list(GRADES)
    same = frame.to_crs(make_frame(GRADES).crs).geometry.to_numpy()
    assert shapely.hausdorff_distance(same, [square(n) for n in range(5)]).max() < 0.02


def test_geoparquet_is_1_1_unless_told(result, tmp_path):
    export(result, tmp_path / "old.parquet")
    done = export(result, tmp_path / "new.parquet", ExportOptions(geoparquet="2.0"))
    old, new = (pq.ParquetFile(tmp_path / f"{name}.parquet") for name in ("old", "new"))
    assert [json.loads(f.metadata.metadata[b"geo"])["version"] for f in (old, new)] == [
        "1.1.0",
        "2.0.0",
    ]
    column = old.schema.names.index("geometry")
    assert old.schema.column(column).logical_type.type == "NONE"
    native = new.schema.column(new.schema.names.index("geometry")).logical_type
    assert str(native).startswith("Geometry(")
    assert done.facts["geoparquet"] == "2.0.0"
    assert any("readers of 1.1" in note for note in done.notes)
    assert_geodataframe_equal(
        gpd.read_parquet(tmp_path / "new.parquet").drop(columns="bbox", errors="ignore"),
        gpd.read_parquet(tmp_path / "old.parquet").drop(columns="bbox", errors="ignore"),
        check_dtype=False,
    )
    with pytest.raises(OptionError, match="--geoparquet is for"):
        export(result, tmp_path / "a.gpkg", ExportOptions(geoparquet="2.0"))


def test_geoparquet_2_needs_what_writes_it(result, tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "version", lambda name: "1.1.2")
    with pytest.raises(MissingExtraError, match=r"needs geopandas 1\.2 or newer, and 1\.1\.2 is"):
        export(result, tmp_path / "new.parquet", ExportOptions(geoparquet="2.0"))
    assert listing(tmp_path) == []


def test_a_geopackage_has_both_layers_typed_and_styled(result, tmp_path):
    output = tmp_path / "out.gpkg"
    export(result, output, ExportOptions(schema="unosat"))
    assert dict(pyogrio.list_layers(output)) == {
        "buildings": "Point", "assessed_area": "MultiPolygon", "layer_styles": None,
    }  # fmt: skip
    with closing(sqlite3.connect(output)) as base:
        rows = base.execute("SELECT f_table_name, useAsDefault, styleQML FROM layer_styles")
        styles = {name: (default, text) for name, default, text in rows}
    assert {name: default for name, (default, _) in styles.items()} == {
        "buildings": 1, "assessed_area": 1,
    }  # fmt: skip
    assert 'attr="Main_Damage_Site_Class"' in styles["buildings"][1]


def test_a_layer_has_one_style_however_often_it_is_set(result, tmp_path):
    # GDAL leaves the rows where they are when it writes a layer anew.
    output = tmp_path / "out.gpkg"
    export(result, output)
    frame = pyogrio.read_dataframe(output, layer="buildings")
    pyogrio.write_dataframe(frame, output, layer="buildings", driver="GPKG", append=True)
    style = categorised("damage", [("destroyed", "Destroyed", "#ff0000")], is_point=False)
    set_styles(output, "buildings", {"mine": style})
    with closing(sqlite3.connect(output)) as base:
        (texts,) = zip(*base.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_name = 'buildings'"
        ), strict=True)  # fmt: skip
    assert texts == (style,)


def test_a_csv_has_places_and_outlines_on_request(result, tmp_path):
    export(result, tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv")
    assert "wkt" not in table
    assert table["damaged"].dropna().tolist() == [False, True, True, True]
    assert table.loc[4, ["damage", "damage_class"]].isna().all()
    export(result, tmp_path / "b.csv", ExportOptions(wkt=True))
    shapes = shapely.from_wkt(pd.read_csv(tmp_path / "b.csv")["wkt"])
    assert shapely.covers(shapes, shapely.points(table["lon"], table["lat"])).all()
    with pytest.raises(OptionError, match=r"--wkt is for \.csv"):
        export(result, tmp_path / "b.gpkg", ExportOptions(wkt=True))


def test_a_shapefile_has_short_names_and_a_table_of_them(result, tmp_path):
    export(result, tmp_path / "out.shp", ExportOptions(schema="unosat"))
    names = pd.read_csv(tmp_path / "out.fields.csv")
    frame = gpd.read_file(tmp_path / "out.shp")
    assert [name for name in frame.columns if name != "geometry"] == names["field"].tolist()
    assert names["name"].tolist()[:3] == ["building_id", "SensorDate", "Main_Damage_Site_Class"]
    assert frame.geometry.geom_type.tolist() == ["Point"] * 5
    assert {".shp", ".shx", ".dbf", ".prj", ".cpg"} <= {p.suffix for p in tmp_path.iterdir()}


def test_times_in_a_shapefile_are_texts(tmp_path):
    # The format has no times, and dates without hours; footprints' times are read as texts.
    frame = make_frame((1,)).assign(built="2001-02-03T04:05:06.700")
    built = Field("built", "text", "when it was built")
    result = make_result(tmp_path / "b.gpkg", frame=frame, extra=(built,))
    export(result, tmp_path / "out.shp")
    found = pyogrio.read_dataframe(tmp_path / "out.shp")
    assert found["built"].tolist() == ["2001-02-03T04:05:06.700"]


def test_a_kml_keeps_numbers_flags_and_its_own_styles(result, tmp_path):
    # GDAL writes long numbers as texts, booleans as words, and paints every place red.
    output = tmp_path / "out.kml"
    export(result, output)
    layers = [name for name, _ in pyogrio.list_layers(output)]
    assert layers == ["Destroyed (1)", "Major damage (1)", "Minor damage (1)", "No damage (1)",
                      "Not assessed (1)", "Assessed area"]  # fmt: skip
    frame = pyogrio.read_dataframe(output, layer="Destroyed (1)")
    assert frame["damage_class"].tolist() == [4]
    assert frame["damage_class"].dtype.kind == "i"
    assert frame["damaged"].tolist() == [True]
    assert frame["Name"].tolist() == ["Destroyed"]
    assert not frame.geometry.has_z.any()
    text = output.read_text()
    assert len(re.findall("<Style id=", text)) == 6
    assert text.count("<styleUrl>#grade4</styleUrl>") == 1
    assert "<color>ff1c19d7</color>" in text  # #d7191c, in the order of KML


def test_a_kml_of_many_buildings_is_several_files(result, tmp_path):
    done = export(result, tmp_path / "out.kml", ExportOptions(max_features=2))
    assert [path.name for path in done.files] == [
        "out.kml", "out-001.kml", "out-002.kml", "out-003.kml",
    ]  # fmt: skip
    found = [
        name
        for file in done.files[1:]
        for layer, _ in pyogrio.list_layers(file)
        for name in pyogrio.read_dataframe(file, layer=layer)["building_id"]
    ]
    assert found == ["b3", "b2", "b1", "b0", "b4"]
    assert (tmp_path / "out.kml").read_text().count("<NetworkLink>") == 3
    export(result, tmp_path / "out.kmz", ExportOptions(max_features=2))
    with zipfile.ZipFile(tmp_path / "out.kmz") as archive:
        assert archive.namelist() == ["doc.kml", "part-001.kml", "part-002.kml", "part-003.kml"]
    # libkml cannot open members that were streamed into the archive.
    assert len(pyogrio.list_layers(tmp_path / "out.kmz")) > 3


def test_a_kml_has_long_numbers_as_exact_texts(tmp_path):
    # KML has no type for them: GDAL's drivers call them texts, too.
    frame = make_frame((4,)).assign(parcel=np.array([2**53 + 1]))
    result = make_result(
        tmp_path / "b.geojson", frame=frame, extra=(Field("parcel", "long", "its parcel"),)
    )
    export(result, tmp_path / "out.kml")
    found = pyogrio.read_dataframe(tmp_path / "out.kml", layer="Destroyed (1)")
    assert found["parcel"].tolist() == [str(2**53 + 1)]


def test_text_that_xml_cannot_hold_does_no_harm(tmp_path):
    frame = make_frame((4,)).assign(building_id='<a href="x">\x01&</a>')
    make_result(tmp_path / "b.geojson", frame=frame)
    export(tmp_path / "b.geojson", tmp_path / "out.kml")
    found = pyogrio.read_dataframe(tmp_path / "out.kml", layer="Destroyed (1)")
    assert found["building_id"].tolist() == ['<a href="x">\ufffd&</a>']


def test_tiles_hold_every_building_at_the_greatest_zoom(result, tmp_path):
    # By itself GDAL stops at zoom 5, where none of them can be read.
    output = tmp_path / "out.pmtiles"
    done = export(result, output, ExportOptions(min_zoom=12, max_zoom=15))
    facts = done.facts["pmtiles"]
    assert facts["buildings_per_zoom"][15] == 5
    assert (facts["min_zoom"], facts["max_zoom"]) == (12, 15)
    assert "p_none" in facts["dropped"]
    frame = pyogrio.read_dataframe(output, ZOOM_LEVEL="15")
    assert set(frame["building_id"]) == {f"b{n}" for n in range(5)}
    assert set(frame["damage_class"].dropna()) == {1, 2, 3, 4}
    assert any("zoom 12 to 15" in note for note in done.notes)


def test_from_zoom_10_on_no_building_of_10_m_is_lost(tmp_path):
    result = make_result(tmp_path / "b.gpkg", (1, 2, 3, 4) * 50)
    done = export(result, tmp_path / "out.pmtiles", ExportOptions(min_zoom=10, max_zoom=10))
    assert done.facts["pmtiles"]["buildings_per_zoom"] == {10: 200}
    frame = pyogrio.read_dataframe(tmp_path / "out.pmtiles", ZOOM_LEVEL="10")
    assert frame["building_id"].nunique() == 200


def test_a_building_on_a_rim_is_in_several_tiles_and_counts_once(tmp_path):
    # The rim of a tile of zoom 15 that lies nearest.
    tile = 360 / 2**15
    rim = round(TO_LONLAT.transform(*square(0).centroid.coords[0])[0] / tile) * tile
    lat = middle(0)[1]
    shapes = gpd.GeoSeries([shapely.box(rim - 6e-5, lat, rim + 6e-5, lat + 1e-4)], crs="OGC:CRS84")
    frame = make_frame((4,)).set_geometry(shapes.to_crs(make_frame((4,)).crs))
    result = make_result(tmp_path / "b.gpkg", frame=frame)
    done = export(result, tmp_path / "out.pmtiles", ExportOptions(min_zoom=15, max_zoom=15))
    rows = pyogrio.read_dataframe(tmp_path / "out.pmtiles", ZOOM_LEVEL="15")
    assert rows["building_id"].tolist() == ["b0", "b0"]
    assert done.facts["pmtiles"]["buildings_per_zoom"] == {15: 1}


def test_outlines_in_tiles_are_as_true_as_the_zoom(tmp_path):
    result = make_result(tmp_path / "b.gpkg", (1, 2, 3, 4) * 50)
    truth = make_frame((1, 2, 3, 4) * 50).set_index("building_id").geometry
    median = {}
    for zoom in (14, 16):
        path = tmp_path / f"{zoom}.pmtiles"
        export(result, path, ExportOptions(min_zoom=zoom, max_zoom=zoom))
        found = pyogrio.read_dataframe(path, ZOOM_LEVEL=str(zoom)).to_crs(truth.crs)
        found = found.dissolve("building_id").geometry.reindex(truth.index)
        shared = found.intersection(truth).area / found.union(truth).area
        median[zoom] = shared.median()
    assert 0.9 < median[14] < median[16]
    assert median[16] > 0.98


def test_tiles_too_coarse_for_a_building_are_refused(result, tmp_path):
    with pytest.raises(OutputError, match="give a higher --max-zoom"):
        export(result, tmp_path / "out.pmtiles", ExportOptions(min_zoom=0, max_zoom=5))
    assert listing(tmp_path) == []
    with pytest.raises(OptionError, match="the lesser first"):
        export(result, tmp_path / "out.pmtiles", ExportOptions(min_zoom=9, max_zoom=5))


def test_a_workbook_has_summary_buildings_and_fields(result, tmp_path):
    output = tmp_path / "out.xlsx"
    export(result, output, ExportOptions(schema="fema"))
    book = openpyxl.load_workbook(output)
    assert book.sheetnames == ["Summary", "Buildings", "Fields"]
    summary = {row[0]: row[1] for row in book["Summary"].iter_rows(values_only=True) if row[0]}
    assert summary["Destroyed"] == 1
    assert summary["All"] == 5
    assert summary["Made"] == "2026-11-30 06:46:38"  # whole seconds, never rounded up
    rows = list(book["Buildings"].iter_rows(values_only=True))
    assert rows[0][:2] == ("building_id", "damage_level")
    assert [row[1] for row in rows[1:]] == ["No Damage", "Minor", "Major", "Destroyed", None]


def test_a_workbook_holds_what_spreadsheets_take_for_something_else(tmp_path):
    frame = make_frame((4, 1)).assign(
        building_id=["=1+1", "https://example.org"], height=[1.5, np.inf]
    )
    extra = (Field("height", "number", "its height", nullable=True),)
    result = make_result(
        tmp_path / "b.parquet", frame=frame, extra=extra, assessed_km2=float("inf")
    )
    export(result, tmp_path / "out.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx")["Buildings"]
    assert [sheet.cell(n, 1).value for n in (2, 3)] == ["=1+1", "https://example.org"]
    assert sheet.cell(2, 1).data_type in ("s", "inlineStr")
    assert [sheet.cell(n, 10).value for n in (2, 3)] == [True, False]
    names = [cell.value for cell in sheet[1]]
    heights = [sheet.cell(n, names.index("height") + 1).value for n in (2, 3)]
    assert heights == [1.5, None]  # a number that is not finite would make the column a text


def test_too_many_rows_for_a_sheet_are_refused(result, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MOST_ROWS", 5)
    with pytest.raises(OptionError, match=r"export \.csv"):
        export(result, tmp_path / "out.xlsx")


def test_a_workbook_that_fails_leaves_nothing(result, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "_fields", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(result, tmp_path / "out.xlsx")
    assert listing(tmp_path) == []


def test_a_result_without_its_area_is_exported_with_a_note(tmp_path):
    old = make_result(tmp_path / "b.geojson", area=False)
    done = export(old, tmp_path / "out.fgb")
    assert any("does not say the assessed area" in note for note in done.notes)
    assert not (tmp_path / "out.fgb.assessed_area.geojson").exists()


@pytest.mark.parametrize("extension", [".csv", ".shp", ".parquet"])
def test_every_format_of_a_result_is_exported(result, tmp_path, extension):
    again = make_result(tmp_path / f"b{extension}", GRADES)
    export(again, tmp_path / "out.geojson")
    frame = read(tmp_path / "out.geojson")
    assert frame["damage_class"].fillna(0).tolist() == list(GRADES)
    assert frame["damaged"].dropna().astype(bool).tolist() == [False, True, True, True]


def test_no_building_is_no_reason_to_fail(tmp_path):
    empty = make_result(tmp_path / "b.gpkg", ())
    for extension in (".gpkg", ".kml", ".csv", ".xlsx", ".shp"):
        assert export(empty, tmp_path / f"out{extension}").buildings == 0
    with pytest.raises(OutputError, match="no building has a place"):
        export(empty, tmp_path / "out.pmtiles")


def test_what_is_no_result_is_refused(tmp_path):
    path = tmp_path / "b.geojson"
    make_frame((1,))[["building_id", "geometry"]].to_crs(4326).to_file(path)
    with pytest.raises(InputError, match="has no sidecar"):
        export(path, tmp_path / "out.kml")
    (tmp_path / "b.geojson.json").write_text(json.dumps({"buildings": 1}))
    with pytest.raises(InputError, match="has no field damage"):
        export(path, tmp_path / "out.kml")
    with pytest.raises(OptionError, match=r"no format has the extension '\.dxf'"):
        export(path, tmp_path / "out.dxf")


def test_the_command(result, tmp_path):
    done = run_command("export", result, "-o", tmp_path / "o.kmz", "--schema", "cems")
    assert done.exit_code == 0, done.stderr
    assert "5 buildings; wrote" in done.stderr
    assert "minor-damage becomes Possibly damaged" in done.stderr
    done = run_command("export", result, "-o", tmp_path / "o.kmz", "--schema", "nasa")
    assert done.exit_code == 2
    assert "give geodamage, cems" in done.stderr
    done = run_command("export", result, "-o", tmp_path / "o.fgb", "-q", "--labels")
    assert (done.exit_code, done.stderr) == (0, "")


def test_zooms_are_checked():
    tiles.check_zooms(0, 22)
    for zooms in ((-1, 3), (5, 4), (0, 23)):
        with pytest.raises(OptionError):
            tiles.check_zooms(*zooms)
