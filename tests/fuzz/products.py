"""Files of the commands behind an assessment, and imagery of other kinds, to be mutated."""

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import rasterio
import shapely

from geodamage.adaptation.event_model import Base, EventModel, Network, read_event_model
from geodamage.adaptation.feature_file import FeatureWriter, read_features
from geodamage.batch.ledger import Ledger
from geodamage.batch.manifest import read_manifest
from geodamage.comparison.officials import read_official
from geodamage.event.population import open_population
from geodamage.event.record import read_record
from geodamage.exports.product import read_export
from geodamage.footprints.boxes import read_box
from geodamage.foreign.convention import read_convention
from geodamage.output.publication import sidecar_path
from geodamage.report.estimates import TARGETS, read_estimate
from geodamage.report.event_view import view_event
from geodamage.report.page import render
from geodamage.report.view import Words, make_view
from geodamage.reviews.answers import read_answers
from geodamage.scene.tiles import open_tile
from geodamage.scores.footprints import ScoringOptions, score_files
from geodamage.vector.reading import read_vector
from geodamage.xbd.folders import read_split
from tests.conftest import CORNER, make_pixels, make_raster
from tests.event_scenes import House, merge, write_scene
from tests.exports.results import make_result
from tests.fuzz.mutations import of_bytes, of_json
from tests.fuzz.target import Target, as_bytes, as_json, as_text

BOUNDS = (-180.0, -90.0, 180.0, 90.0)
KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark id="a"><name>a</name>
<ExtendedData><Data name="osm_id"><value>12</value></Data></ExtendedData>
<Polygon><outerBoundaryIs><LinearRing><coordinates>-85.6,30.1 -85.5,30.1 -85.5,30.2 -85.6,30.1
</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></Document></kml>"""
GML = """<?xml version="1.0" encoding="utf-8"?>
<wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" xmlns:a="http://a"
 xmlns:gml="http://www.opengis.net/gml"><gml:featureMember><a:house gml:id="h1"><a:name>x</a:name>
<a:place><gml:Polygon srsName="EPSG:32616"><gml:exterior><gml:LinearRing><gml:posList>
629500 3330500 629510 3330500 629510 3330510 629500 3330500</gml:posList></gml:LinearRing>
</gml:exterior></gml:Polygon></a:place></a:house></gml:featureMember></wfs:FeatureCollection>"""
ANSWERS = "building_id,damage,reviewer\nb0,destroyed,anna\nb1,no-damage,anna\nb2,unclear,otto\n"
JOURNAL = (
    '{"building_id": "b0", "reviewed_damage": "destroyed", "reviewer": "anna"}\n'
    '{"building_id": "b1", "reviewed_damage": "minor-damage", "reviewer": "anna"}\n'
)
SPLIT = "pair,part,folder\na,train,x\nb,test,x\nc,test,x\n"


def imagery(folder: Path) -> dict[str, Target]:
    """Return kinds of imagery beside the GeoTIFF."""
    inside = folder / "virtual"
    inside.mkdir()
    source = make_raster(inside / "seed.tif", make_pixels(40, 50))
    with rasterio.open(source) as dataset:
        profile = {**dataset.profile, "driver": "JP2OpenJPEG", "REVERSIBLE": "YES"}
        with rasterio.open(folder / "seed.jp2", "w", **profile) as target:
            target.write(dataset.read())
        west, north = dataset.transform.c, dataset.transform.f
    people = make_raster(
        folder / "people.tif", np.full((1, 8, 8), 3, np.float32), nodata=-1.0
    ).read_bytes()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>0</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">seed.tif</SourceFilename><SourceBand>{n}</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="50" ySize="40"/>'
        '<DstRect xOff="0" yOff="0" xSize="50" ySize="40"/></SimpleSource></VRTRasterBand>'
        for n in (1, 2, 3)
    )
    text = (
        '<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32616</SRS>'
        f"<GeoTransform>{west}, 0.5, 0, {north}, 0, -0.5</GeoTransform>{bands}</VRTDataset>"
    )
    jpeg2000 = (folder / "seed.jp2").read_bytes()
    return {
        "jp2": Target("a.jp2", as_bytes(jpeg2000), read_tile, is_native=True),
        "vrt": Target("virtual/a.vrt", as_text(text), read_tile, is_native=True),
        "people": Target("people-a.tif", as_bytes(people), _read_people, is_native=True),
        **_beside(folder),
    }


def _beside(folder: Path) -> dict[str, Target]:
    """Return kinds of what stands beside an image: notes, overviews and a mask."""
    for name in ("noted", "overviewed", "masked"):
        (folder / name).mkdir()
        make_raster(folder / name / "a.tif", make_pixels(40, 50))
    bands = "".join(
        f'<PAMRasterBand band="{n}"><NoDataValue>255</NoDataValue><Scale>0.5</Scale>'
        "<ColorInterp>Blue</ColorInterp></PAMRasterBand>"
        for n in (1, 2, 3)
    )
    place = f"{CORNER[0]}, 0.5, 0, {CORNER[1]}, 0, -0.5"
    notes = f"<PAMDataset><GeoTransform>{place}</GeoTransform>{bands}</PAMDataset>"
    half = make_raster(folder / "half.tif", make_pixels(20, 25)).read_bytes()
    mask = make_raster(folder / "mask.tif", np.full((1, 40, 50), 255, np.uint8))
    with rasterio.open(mask, "r+") as dataset:
        dataset.update_tags(INTERNAL_MASK_FLAGS_1=2)
    return {
        "notes": Target("noted/a.tif.aux.xml", as_text(notes), _read_under),
        "overviews": Target("overviewed/a.tif.ovr", as_bytes(half), _read_under, is_native=True),
        "mask": Target("masked/a.tif.msk", as_bytes(mask.read_bytes()), _read_under, True),
    }


def _read_under(path: Path) -> np.ndarray:
    """Read an image with what stands beside it, and its overviews."""
    tile = open_tile(str(path.with_name("a.tif")), None, 3)
    tile.overview(20 * 25)
    pixels, _ = tile.read(tile.window)
    return pixels


def read_tile(path: Path) -> np.ndarray:
    """Read the pixels of an image."""
    tile = open_tile(str(path), None, 3)
    pixels, _ = tile.read(tile.window)
    return pixels


def _read_people(path: Path) -> np.ndarray:
    x, y = CORNER
    house = gpd.GeoSeries([shapely.box(x, y - 3, x + 3, y)], crs="EPSG:32616")
    with open_population(path) as people:
        return people.totals(house.to_crs("OGC:CRS84").to_numpy())


def vectors(folder: Path) -> dict[str, Target]:
    """Return kinds of vector files beside those that footprints usually have."""
    frame = gpd.GeoDataFrame(
        {"name": ["a", "b"], "id": [1, 2], "damage_gra": ["Destroyed", "Damaged"]},
        geometry=[shapely.box(n, 0, n + 1e-4, 1e-4) for n in (0, 2e-4)],
        crs="OGC:CRS84",
    )
    frame.to_parquet(folder / "box.parquet")
    frame.to_file(folder / "zipped.shp")
    with zipfile.ZipFile(folder / "seed.zip", "w") as archive:
        for ending in (".shp", ".shx", ".dbf", ".prj"):
            archive.write(folder / f"zipped{ending}", f"zipped{ending}")
    official = json.loads(frame.to_json())
    archived = (folder / "seed.zip").read_bytes()
    packed = (folder / "box.parquet").read_bytes()
    return {
        "kml": Target("a.kml", as_text(KML), read_vector, is_native=True),
        "gml": Target("a.gml", as_text(GML), read_vector, is_native=True),
        "shp-zip": Target("a.zip", as_bytes(archived), read_vector, is_native=True),
        "box": Target("b.parquet", as_bytes(packed), _read_box, is_native=True),
        "box-geo": Target("c.parquet", _of_geo(folder / "box.parquet"), _read_box, is_native=True),
        "official": Target("official.geojson", as_json(official), read_official),
        "truth": Target("truth.geojson", as_json(official), _scored(folder / "zipped.shp")),
    }


def _read_box(path: Path) -> Any:
    return read_box(path, BOUNDS, [])


def _scored(other: Path) -> Callable[[Path], Any]:
    return lambda path: list(score_files([(other, path)], ScoringOptions()))


def _of_geo(path: Path) -> Callable[[random.Random], bytes]:
    """Return GeoParquet whose description of the geometry is changed, and nothing else."""
    table = pq.read_table(path)
    about = dict(table.schema.metadata)

    def change(chance: random.Random) -> bytes:
        text = of_json(json.loads(about[b"geo"]), chance).encode("utf-8", "surrogatepass")
        target = path.with_name("changed.parquet")
        pq.write_table(table.replace_schema_metadata({**about, b"geo": text}), target)
        return target.read_bytes()

    return change


def results(folder: Path) -> dict[str, Target]:
    """Return what commands write that others read."""
    result = make_result(folder / "shown.gpkg")
    facts = json.loads(sidecar_path(result).read_text())
    looks = [write_scene(folder, name, [House(5, 5), House(40, 5)]) for name in "ab"]
    event = folder / "event.gpkg"
    merge(looks, event)
    told = json.loads(sidecar_path(event).read_text())
    total = {"total": 1.0, "low": 0.0, "high": 2.0}
    estimate = dict.fromkeys(TARGETS, total) | {"buildings": 4, "areas": [{"name": "a"}]}
    features = folder / "seed.npz"
    writer = FeatureWriter(features)
    writer.add(["a", "b"], np.ones((2, 3), np.float16), np.full((2, 4), 0.25), np.zeros((2, 2)))
    writer.finish({"network": "drawn", "network_sha256": "b" * 64})
    return {
        "facts-report": Target("shown.json", as_json(facts), _shown(result)),
        "facts-event": Target("event.json", as_json(told), _event_shown(event)),
        "event": Target("e.gpkg", as_bytes(event.read_bytes()), _event_read(event), True),
        "estimate": Target("e.json", as_json(estimate), lambda path: read_estimate(path, 4)),
        "features": Target("f.npz", _of_arrays(features), read_features),
        "event-model": Target("m.toml", as_text(_event_model()), read_event_model),
        "convention": Target("c.toml", as_text(_convention()), lambda p: read_convention(str(p))),
        "answers-csv": Target("r.csv", as_text(ANSWERS), read_answers),
        "answers-jsonl": Target("r.reviews.jsonl", as_text(JOURNAL), read_answers),
        "answers-json": Target("r.json", as_json(_form()), read_answers),
        "catalogue": Target("item.json", as_json(_items()), lambda p: read_manifest(str(p))),
        "split": Target("s.csv", as_text(SPLIT), lambda p: read_split(p, folder, "test")),
        "ledger-run": Target("l.sqlite", _of_ledger(folder), _resumed, is_native=True),
    }


def _shown(result: Path) -> Callable[[Path], Any]:
    """Return what reads a sidecar as `report` and `export` do."""

    def read(path: Path) -> Any:
        sidecar_path(result).write_bytes(path.read_bytes())
        found = read_export(result)
        return render(make_view(found.frame, found.facts, source=result.name, words=Words()))

    return read


def _event_shown(event: Path) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        sidecar_path(event).write_bytes(path.read_bytes())
        read_record(event)
        return render(view_event(event, words=Words()))

    return read


def _event_read(event: Path) -> Callable[[Path], Any]:
    told = sidecar_path(event).read_bytes()

    def read(path: Path) -> Any:
        sidecar_path(path).write_bytes(told)
        read_record(path)
        return view_event(path, words=Words())

    return read


def _event_model() -> str:
    base = Base(model="fast", name="fast", version="1", licence="CC0-1.0", sha256="a" * 64)
    return EventModel(
        base=base,
        network=Network(name="drawn", sha256="b" * 64),
        scale=0.75,
        offsets=(0.5, 0.0, -0.25, 1e-9),
        constants=(0.0, 2.0),
        weights=((1.0, -2.0), (0.0, 3.0)),
        damaged_threshold=0.3,
        reviewed={"a": 1},
        card={"answers": 2},
    ).as_toml()


def _convention() -> str:
    return str((resources.files("geodamage") / "foreign/bundled/hot-dinov3.toml").read_text())


def _of_arrays(path: Path) -> Callable[[random.Random], bytes]:
    """Return a feature file one of whose arrays is changed, in an archive that is whole."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def change(chance: random.Random) -> bytes:
        name = chance.choice(sorted(members))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, of_bytes(content, chance) if member == name else content)
        return packed.getvalue()

    return change


def _form() -> dict[str, Any]:
    answer = {"building_id": "b0", "damage": "destroyed", "reviewer": "anna"}
    return {"geodamage": "answers", "answers": [answer, {**answer, "building_id": "b1"}]}


def _items() -> dict[str, Any]:
    ring = [[-85.6, 30.1], [-85.5, 30.1], [-85.5, 30.2], [-85.6, 30.1]]
    items = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "links": [],
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [-85.6, 30.1, -85.5, 30.2],
            "properties": {"datetime": date, "phase": phase, "eo:cloud_cover": 5, "gsd": 0.5},
            "assets": {"visual": {"href": "virtual/seed.tif", "type": "image/tiff"}},
        }
        for name, phase, date in (
            ("a", "pre", "2024-01-01T00:00:00Z"), ("b", "post", "2024-03-01T00:00:00Z"),
        )
    ]  # fmt: skip
    return {"type": "FeatureCollection", "features": items}


def _of_ledger(folder: Path) -> Callable[[random.Random], bytes]:
    """Return the bytes of the ledger that `targets` made, changed."""
    seed = folder / "seed.sqlite"
    return lambda chance: of_bytes(seed.read_bytes(), chance)


def _resumed(path: Path) -> Any:
    """Take a ledger up again, as `batch` does."""
    for ending in ("-wal", "-shm", "-journal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    copy = path.with_name("resumed.sqlite")
    for ending in ("", "-wal", "-shm", "-journal"):
        Path(f"{copy}{ending}").unlink(missing_ok=True)
    shutil.copy(path, copy)
    with Ledger(copy) as ledger:
        return ledger.claim("abc")
