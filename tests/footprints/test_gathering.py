"""Published footprints are served on this machine, in the layout in which they are published."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from geodamage.errors import FootprintError, GeodamageError, OptionError, SceneReadError
from geodamage.footprints.gathering import FootprintsJob, gather
from geodamage.footprints.published import PUBLISHED, quadkeys
from tests.conftest import CORNER, UTM, listing, make_raster, run_command

SCRIPT = Path(__file__).parents[1] / "range_server.py"
TO_LONLAT = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
RELEASE = "2026-11-18.0"


def house(left, top, width=10.0, height=8.0):
    """Return a rectangle in longitude and latitude, metres from the corner of the image."""
    x, y = CORNER[0] + left, CORNER[1] - top
    ring = [(x, y), (x + width, y), (x + width, y - height), (x, y - height)]
    return shapely.Polygon([TO_LONLAT.transform(*point) for point in ring])


#: Two on the image of 64 m, one across its edge, one far away.
HOUSES = [house(5, 5), house(30, 30), house(60, 50), house(5000, 5000)]


def frame_of(houses=HOUSES, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(houses), crs="OGC:CRS84")


class Server(NamedTuple):
    folder: Path
    log: Path
    url: str

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    log = folder / "log"
    process = subprocess.Popen(
        [sys.executable, SCRIPT, folder, log], stdout=subprocess.PIPE, text=True
    )
    try:
        yield Server(folder, log, f"http://127.0.0.1:{process.stdout.readline().strip()}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server(serving, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for path in serving.folder.iterdir():
        path.unlink()
    return serving


@pytest.fixture
def image(tmp_path):
    return make_raster(tmp_path / "pre.tif", np.full((128, 128), 90, np.uint8))


def run(image, *sources, **options):
    output = image.parent / "footprints.gpkg"
    job = FootprintsJob(like=str(image), source=tuple(map(str, sources)), output=output, **options)
    facts = gather(job).result()
    return pyogrio.read_dataframe(output, layer=0), facts


def overture(folder: Path, houses=HOUSES, rows=2) -> None:
    """Write what Overture publishes, for a mirror: catalogue, index of a release, two files."""
    (folder / "catalog.json").write_text(json.dumps({"type": "Catalog", "latest": RELEASE}))
    frame = frame_of(houses)
    parts = []
    for number, own in enumerate((frame.iloc[:3], frame.iloc[3:])):
        name = f"part-0000{number}.zstd.parquet"
        box = [dict(zip(("xmin", "ymin", "xmax", "ymax"), row, strict=True))
               for row in own.bounds.itertuples(index=False)]  # fmt: skip
        table = pa.table(
            {
                "id": [f"gers-{number}-{n}" for n in range(len(own))],
                "bbox": box,
                "height": [4.5] * len(own),
                "sources": [
                    [
                        {"property": "/properties/height", "dataset": "Height", "record_id": None,
                         "license": None, "confidence": None},
                        {"property": "", "dataset": "OpenStreetMap" if n else "Microsoft ML "
                         "Buildings", "record_id": f"w{n}", "license": "ODbL-1.0",
                         "confidence": 0.7},
                    ]
                    for n in range(len(own))
                ],
                "geometry": shapely.to_wkb(own.geometry.to_numpy()).tolist(),
            }
        )  # fmt: skip
        geo = {"version": "1.1.0", "primary_column": "geometry",
               "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}}}  # fmt: skip
        table = table.replace_schema_metadata({"geo": json.dumps(geo)})
        pq.write_table(table, folder / name, row_group_size=rows)
        left, bottom, right, top = own.total_bounds
        key = f"release/{RELEASE}/theme=buildings/type=building/{name}"
        parts.append(
            {"collection": "building", "type": "Feature",
             "bbox": {"xmin": left, "ymin": bottom, "xmax": right, "ymax": top},
             "assets": {"aws-s3": {"href": f"s3://overturemaps-us-west-2/{key}"}}}
        )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(parts), folder / "collections.parquet")


@pytest.mark.slow
def test_overture_is_read_by_release_file_and_row_group(server, image):
    overture(server.folder)
    found, facts = run(image, "overture", mirror=server.url, allow_remote=True)
    assert found["building_id"].tolist() == ["gers-0-0", "gers-0-1", "gers-0-2"]
    assert found["dataset"].tolist() == ["Microsoft ML Buildings", "OpenStreetMap", "OpenStreetMap"]
    assert found["record_id"].tolist() == ["w0", "w1", "w2"]
    assert found["licence"].tolist() == ["ODbL-1.0"] * 3
    assert found["height"].tolist() == [4.5] * 3
    (told,) = facts["sources"]
    assert (told["release"], told["files"], told["read"]) == (RELEASE, 1, 3)
    assert "OpenStreetMap contributors" in told["attribution"]
    asked = server.asked()
    assert not any("part-00001" in line for line in asked)  # the far house's file
    assert any(line.startswith("GET /release/") and "bytes=" in line for line in asked)


@pytest.mark.slow
def test_row_groups_elsewhere_are_not_read(server, image):
    shapes = [
        shapely.transform(HOUSES[0], lambda p, n=n: p + 0.01 * (n // 50)) for n in range(1000)
    ]
    noise = [np.random.default_rng(n).bytes(600).hex() for n in range(1000)]
    path = server.folder / "city.parquet"
    frame_of(shapes, id=[str(n) for n in range(1000)], noise=noise).to_parquet(
        path, write_covering_bbox=True, row_group_size=50
    )
    found, _ = run(image, f"{server.url}/city.parquet", allow_remote=True)
    assert found["building_id"].tolist() == [str(n) for n in range(50)]
    pieces = [line.rpartition("bytes=")[2].split("-") for line in server.asked()]
    read = sum(int(last) - int(first) + 1 for first, last in pieces)
    assert read < path.stat().st_size / 4


@pytest.mark.slow
def test_osm_is_what_overture_has_of_it(server, image):
    overture(server.folder)
    found, facts = run(image, "osm", mirror=server.url, allow_remote=True)
    assert found["record_id"].tolist() == ["w1", "w2"]
    assert facts["sources"][0]["source"] == "osm"


def microsoft(server: Server, houses=HOUSES) -> None:
    lines = [
        json.dumps({"type": "Feature", "properties": {"height": -1.0, "confidence": 0.9},
                    "geometry": shapely.geometry.mapping(shape)})
        for shape in houses
    ]  # fmt: skip
    (server.folder / "tile.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    own = next(iter(quadkeys(HOUSES[0].bounds)))
    rows = [f"Here,{own},{server.url}/tile.csv.gz,1KB,2026-08-13",
            f"Far,{'3' * 9},{server.url}/far.csv.gz,1KB,2026-08-13"]  # fmt: skip
    (server.folder / "dataset-links.csv").write_text(
        "\n".join(["Location,QuadKey,Url,Size,UploadDate", *rows])
    )


def test_quadkeys_are_those_of_the_web_map():
    # Source: the example of the Bing Maps tile system, tile (3, 5) of level 3.
    lon, lat = 3.5 / 8 * 360 - 180, -55.0
    assert quadkeys((lon, lat, lon, lat), 3) == {"213"}
    assert len(quadkeys((-180, -85, 180, 85), 2)) == 16


@pytest.mark.slow
def test_microsoft_is_read_by_its_tiles(server, image):
    microsoft(server)
    found, facts = run(image, "microsoft", mirror=server.url, allow_remote=True)
    assert len(found) == 3
    assert found["height"].isna().all()  # -1 is none
    assert found["confidence"].tolist() == [0.9] * 3
    assert facts["sources"][0]["release"] == "2026-08-13"
    assert not any("far" in line for line in server.asked())
    assert found["building_id"].is_unique


@pytest.mark.slow
def test_google_is_read_by_its_cells(server, image):
    rows = ["latitude,longitude,area_in_meters,confidence,geometry,full_plus_code"]
    for n, shape in enumerate(HOUSES):
        middle = shape.centroid
        rows.append(f'{middle.y},{middle.x},80,0.8,"{shape.wkt}",8Q7X+{n}')
    (server.folder / "0d7_buildings.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    tiles = [
        {"type": "Feature", "properties": {"tile_id": name, "tile_url": f"{server.url}/{name}"},
         "geometry": shapely.geometry.mapping(shape)}
        for name, shape in (("0d7_buildings.csv.gz", HOUSES[0].buffer(1)),
                            ("far.csv.gz", shapely.box(1, 1, 2, 2)))
    ]  # fmt: skip
    (server.folder / "tiles.geojson").write_text(json.dumps({"features": tiles}))
    found, facts = run(image, "google", mirror=server.url, allow_remote=True)
    assert found["building_id"].tolist() == ["8Q7X+0", "8Q7X+1", "8Q7X+2"]
    assert facts["sources"][0]["files"] == 1


@pytest.mark.parametrize("name", [*PUBLISHED, "https://example.org/a.parquet"])
def test_nothing_is_asked_of_a_server_unless_told(image, name, monkeypatch):
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(OptionError, match="with --allow-remote only"):
        run(image, name)
    assert listing(image.parent) == ["pre.tif"]


def test_a_server_that_sends_no_parts_or_nothing_is_said(server, image):
    with pytest.raises(SceneReadError, match="answers 404"):
        run(image, "overture", mirror=server.url, allow_remote=True)
    (server.folder / "catalog.json").write_text("[]")
    with pytest.raises(FootprintError, match="no JSON object"):
        run(image, "overture", mirror=server.url, allow_remote=True)
    (server.folder / "dataset-links.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FootprintError, match="no list of tiles"):
        run(image, "microsoft", mirror=server.url, allow_remote=True)
    assert listing(image.parent) == ["pre.tif"]


def test_only_the_web_is_read(server, image):
    with pytest.raises(SceneReadError, match="not an http or https address"):
        run(image, "overture", mirror="file:///etc", allow_remote=True)
    microsoft(server)
    index = server.folder / "dataset-links.csv"
    index.write_text(index.read_text().replace(f"{server.url}/tile", "file:///tile"))
    with pytest.raises(SceneReadError, match="not an http or https address"):
        run(image, "microsoft", mirror=server.url, allow_remote=True)


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".parquet", ".fgb", ".gpkg", ".geojson"])
@pytest.mark.parametrize("crs", ["OGC:CRS84", UTM])
def test_a_file_gives_what_lies_on_the_image(tmp_path, image, extension, crs):
    frame = frame_of(id=["a", "b", "b", "far"]).to_crs(
        "EPSG:4326" if extension == ".geojson" else crs
    )
    path = tmp_path / f"city{extension}"
    if extension == ".parquet":
        frame.to_parquet(path, write_covering_bbox=True, row_group_size=1)
    else:
        frame.to_file(path)
    found, facts = run(image, path)
    found = found.sort_values("building_id", ignore_index=True)  # FlatGeobuf sorts by place
    assert found["building_id"].tolist() == ["a", "b", "b-2"]
    assert found["source"].tolist() == [path.name] * 3
    for shape in found.geometry:
        assert min(shape.hausdorff_distance(other) for other in HOUSES[:3]) < 1e-6
    assert (facts["footprints"], facts["sources"][0]["read"]) == (3, 3)


@pytest.mark.slow
def test_a_folder_of_parquet_is_one_source(tmp_path, image):
    folder = tmp_path / "type=building"
    folder.mkdir()
    overture(folder)
    (folder / "collections.parquet").unlink()
    assert len(run(image, folder)[0]) == 3


@pytest.mark.slow
def test_buildings_that_tiles_cut_are_whole_again(tmp_path, image):
    # A grid of tiles of zoom 14 has an edge through one of these.
    wide = [house(-400 + 100 * n, 20, 90, 8) for n in range(9)]
    frame = frame_of([*wide, house(20, -1500, 8, 3000)], id=[f"n{n}" for n in range(10)])
    path = tmp_path / "tiles.pmtiles"
    frame.to_file(path, driver="PMTiles", layer="building", MINZOOM=14, MAXZOOM=14)
    found, _ = run(image, path)
    assert sorted(found["building_id"]) == ["n4", "n9"]
    back = found.set_index("building_id").to_crs(UTM).geometry
    assert back["n4"].area == pytest.approx(720, rel=0.1)
    assert back["n9"].area == pytest.approx(24_000, rel=0.2)


def test_later_sources_fill_gaps(tmp_path, image):
    first, second = tmp_path / "a.geojson", tmp_path / "b.geojson"
    frame_of(HOUSES[:1], id=["a"]).to_file(first)
    moved = shapely.transform(HOUSES[0], lambda points: points + 1e-5)  # about a metre
    frame_of([moved, house(14, 5), HOUSES[1]], id=["a", "b", "c"]).to_file(second)
    found, facts = run(image, first, second)
    # `b` shares an edge of a metre with `a` and stays; the moved one is the same building.
    assert found["building_id"].tolist() == ["a", "b", "c"]
    assert found["source"].tolist() == ["a.geojson", "b.geojson", "b.geojson"]
    assert [source["left_out"] for source in facts["sources"]] == [0, 1]
    assert "earlier sources take precedence" in facts["overlaps"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_text("x"), "not a vector file"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "without geometry"),
        (lambda path: path.write_bytes(b"PAR1" + bytes(40)), "not a readable GeoParquet file"),
    ],
)
def test_a_file_that_is_none_of_footprints_is_refused(tmp_path, image, write, words):
    path = tmp_path / "city.parquet"
    write(path)
    with pytest.raises(GeodamageError, match=words):
        run(image, path)
    assert listing(image.parent) == ["city.parquet", "pre.tif"]


def test_tiles_that_are_none_are_refused(tmp_path, image):
    path = tmp_path / "city.pmtiles"
    path.write_bytes(b"x" * 300)
    with pytest.raises(FootprintError, match="not a PMTiles file"):
        run(image, path)


def test_no_footprint_is_no_result(tmp_path, image):
    path = tmp_path / "far.geojson"
    frame_of(HOUSES[3:]).to_file(path)
    with pytest.raises(FootprintError, match="no source has a footprint"):
        run(image, path)
    assert listing(image.parent) == ["far.geojson", "pre.tif"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": ("a.gpkg",), "release": RELEASE}, "--release is of"),
        ({"source": ("a.gpkg",), "mirror": "http://127.0.0.1"}, "--mirror is a copy of one"),
        ({"source": ("osm", "google"), "mirror": "http://127.0.0.1", "allow_remote": True}, "one"),
    ],
)
def test_options_that_do_not_go_together(options, words):
    with pytest.raises(OptionError, match=words):
        FootprintsJob(like="pre.tif", output=Path("f.gpkg"), **options)


@pytest.mark.slow
def test_the_command_writes_what_assess_takes(tmp_path, image):
    city = tmp_path / "city.parquet"
    frame_of(id=["a", "b", "c", "far"]).to_parquet(city)
    output = tmp_path / "footprints.gpkg"
    arguments = ["footprints", "--like", image, "--source", city, "-o", output]
    result = run_command(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["footprints"] == 3
    assert result.stderr.splitlines()[-3:] == [
        "city.parquet: 3 footprints", "3 footprints", f"wrote {output} and {output}.json",
    ]  # fmt: skip
    assert json.loads(Path(f"{output}.json").read_text())["sources"][0]["source"] == "city.parquet"
    assert run_command(*arguments).exit_code == 6
    assert run_command(*arguments, "--overwrite", "-q").stderr == ""
    read = pd.DataFrame(pyogrio.read_dataframe(output, layer=0, read_geometry=False))
    assert read["building_id"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "geo", ["[]", "[" * 100_000, "{}", '{"primary_column": "g", "columns": {"g": "x"}}',
            '{"primary_column": "g", "columns": {"g": {"crs": "no such"}}}'],
)  # fmt: skip
def test_a_parquet_that_describes_no_geometry_is_refused(tmp_path, image, geo):
    table = pa.table({"g": [b""]}).replace_schema_metadata({"geo": geo})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(FootprintError, match=r"a\.parquet: .*(GeoParquet|CRS)"):
        run(image, tmp_path / "a.parquet")


def test_a_damaged_parquet_is_refused(tmp_path, image):
    path = tmp_path / "a.parquet"
    frame_of(id=list("abcd")).to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 40 :])
    with pytest.raises(FootprintError, match=r"a\.parquet: not a readable GeoParquet file"):
        run(image, path)


def test_ids_and_what_is_broken_of_a_geojson_are_told(tmp_path, image):
    document = json.loads(frame_of(name=[["x"], None, "c", "d"]).to_json())
    for number, feature in enumerate(document["features"]):
        feature["id"] = f"way/{number}"
        feature["properties"]["dataset"] = feature["properties"]["name"]
    document["features"][2]["geometry"]["coordinates"] = [[[0, 0], [1, 1]]]
    (tmp_path / "a.geojson").write_text(json.dumps(document))
    found, facts = run(image, tmp_path / "a.geojson")
    assert found["building_id"].tolist() == ["way/0", "way/1"]
    assert found["dataset"].fillna("").tolist() == ["['x']", ""]
    assert "1 of 4 features cannot be read (feature 3 (id way/2)" in facts["warnings"][0]


def test_whole_numbers_stay_whole(tmp_path, image):
    frame_of(osm_id=pd.array([12, None, 14, 15], "Int64")).to_file(tmp_path / "a.gpkg")
    found, _ = run(image, tmp_path / "a.gpkg")
    assert found["building_id"].tolist()[0] == "12"


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("microsoft", {"dataset-links.csv": b"\xff\xfe\xff"}),
        ("google", {"tiles.geojson": b"[" * 100_000}),
        ("google", {"tiles.geojson": b'{"features": [{"geometry": {"type": "Polygon"}}]}'}),
        ("google", {"tiles.geojson": b'{"features": [7]}'}),
        ("overture", {"catalog.json": b"[" * 100_000}),
        ("overture", {"catalog.json": b'{"latest": "2026-11-18.0"}', "collections.parquet": b"P"}),
    ],
)
def test_an_index_that_is_damaged_is_refused(server, image, source, files):
    for name, content in files.items():
        (server.folder / name).write_bytes(content)
    with pytest.raises(FootprintError, match=r"no list|JSON|no place|not a known index"):
        run(image, source, mirror=server.url, allow_remote=True)
