"""What is mutated, and what reads it."""

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import onnx
import shapely

from geodamage.batch.entries import read_csv, read_toml
from geodamage.batch.ledger import Ledger
from geodamage.batch.manifest import read_manifest
from geodamage.batch.record import SceneIdentity
from geodamage.batch.story import read_ledger
from geodamage.event.looks import Look, read_look
from geodamage.event.rollups import read_admin
from geodamage.model.card import read_card
from geodamage.model.ensemble_table import read_ensemble
from geodamage.output.publication import sidecar_path
from geodamage.output.vectors import write_buildings
from geodamage.vector.reading import read_vector
from geodamage.xbd.labels import read_xbd
from tests.conftest import UTM, make_model, make_pixels, make_raster
from tests.fuzz.mutations import of_json
from tests.fuzz.products import imagery, read_tile, results, vectors
from tests.fuzz.target import Target, as_bytes, as_json, as_text

SQUARE = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"
ENSEMBLE = """
threshold = 0.5
[[member]]
file = "a.onnx"
weight = 1.5
flips = ["none", "horizontal"]
scales = [1.0, 0.8]
"""
LIST = """
[defaults]
min_area = 12.5
tta = "flips"
[[scene]]
name = "a"
pre = "pre.tif"
post = "post.tif"
bands = [3, 2, 1]
date = 2024-02-06
"""


def _features(count: int = 3) -> dict[str, Any]:
    ring = [[-85.6, 30.1], [-85.5, 30.1], [-85.5, 30.2], [-85.6, 30.1]]
    features = [
        {
            "type": "Feature",
            "id": n,
            "properties": {"name": f"a{n}", "osm_id": n},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for n in range(count)
    ]
    return {"type": "FeatureCollection", "features": features}


def _scenes() -> dict[str, Any]:
    scene = {"pre": "seed.tif", "post": "seed.tif", "date": "2024-02-06", "min_area": 12.5}
    features = [
        {"type": "Feature", "geometry": None, "properties": scene | name}
        for name in ({}, {"name": "b"})
    ]
    return {"type": "FeatureCollection", "features": features}


def _labels() -> dict[str, Any]:
    properties = {"feature_type": "building", "uid": "a", "subtype": "destroyed"}
    feature = {"properties": properties, "wkt": SQUARE}
    return {
        "features": {"xy": [feature, feature], "lng_lat": [feature]},
        "metadata": {"width": 1024, "height": 1024},
    }


def _result(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write a result without buildings; return it and its facts."""
    path = write_buildings([], folder / "result.geojson", UTM)
    facts = {
        "date": "2024-02-06",
        "model": {"name": "a", "version": "1", "sha256": "00"},
        "scene": {"crs": UTM, "region": [0.0, 0.0, 9.0, 9.0], "pre": {"files": [{"path": "a"}]}},
        **json.loads(sidecar_path(path).read_text()),
    }
    return path, facts


def _of_sidecar(buildings: Path) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        sidecar = sidecar_path(buildings)
        sidecar.write_bytes(path.read_bytes())
        return read_look(Look("result", None, buildings, sidecar))

    return read


def _ledger(folder: Path) -> bytes:
    """Return a ledger of three scenes, one of them begun and one done."""
    path = folder / "seed.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([SceneIdentity(name, n, "i", "m", "o") for n, name in enumerate("abc")])
        for _ in range(2):
            ledger.claim("abc")
        ledger.finish("a", outputs={"b.gpkg": [1, 2, "x"]}, facts={"date": "x"}, version="1")
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA journal_mode = delete")
    return path.read_bytes()


def _of_card(model: bytes) -> Callable[[random.Random], bytes]:
    """Return a model whose card is changed as JSON, in metadata that are whole."""
    card = read_card(model, "seed")

    def change(chance: random.Random) -> bytes:
        found = onnx.load_from_string(model)
        text = of_json(json.loads(card.as_json()), chance)
        found.metadata_props[0].value = text.encode("utf-8", "replace").decode()
        return found.SerializeToString()

    return change


def _packed(folder: Path, name: str) -> bytes:
    shapes = [shapely.box(n, 0, n + 5, 5) for n in (0, 10)]
    path = folder / f"seed.{name}"
    frame = gpd.GeoDataFrame({"name": ["a", "b"], "osm_id": [1, 2]}, geometry=shapes, crs=UTM)
    frame.to_parquet(path) if name == "parquet" else frame.to_file(path)
    return path.read_bytes()


def targets(folder: Path) -> dict[str, Target]:
    """Return what is mutated, by name; seeds are written into a folder."""
    result, facts = _result(folder)
    model = make_model(folder / "seed.onnx").read_bytes()
    image = make_raster(folder / "seed.tif", make_pixels(40, 50)).read_bytes()
    lines = "\n".join(json.dumps(feature) for feature in _features()["features"])
    table = "name,pre,post,date,min_area\na,pre.tif,post.tif,2024-02-06,12.5\n"
    places = 'id,wkt\n1,"POLYGON ((1 2, 3 2, 3 4, 1 2))"\n'
    known = {
        "geojson": Target("a.geojson", as_json(_features()), read_vector),
        "geojsonl": Target("a.geojsonl", as_text(lines), read_vector),
        "admin": Target("admin.geojson", as_json(_features()), read_admin),
        "places": Target("a.csv", as_text(places), read_vector),
        "labels": Target("a_post_disaster.json", as_json(_labels()), read_xbd),
        "sidecar": Target("facts.json", as_json(facts), _of_sidecar(result)),
        "ensemble": Target("a.toml", as_text(ENSEMBLE), read_ensemble),
        "list-toml": Target("list.toml", as_text(LIST), read_toml),
        "list-csv": Target("list.csv", as_text(table), read_csv),
        "list-json": Target("list.json", as_json(_scenes()), lambda p: read_manifest(str(p))),
        "card": Target("a.onnx", as_bytes(model), lambda p: read_card(p.read_bytes(), p.name)),
        "card-json": Target("b.onnx", _of_card(model), lambda p: read_card(p.read_bytes(), p.name)),
        "tiff": Target("a.tif", as_bytes(image), read_tile, is_native=True),
        "ledger": Target("a.sqlite", as_bytes(_ledger(folder)), read_ledger, is_native=True),
        "gpkg": Target("a.gpkg", as_bytes(_packed(folder, "gpkg")), read_vector, is_native=True),
        "fgb": Target("a.fgb", as_bytes(_packed(folder, "fgb")), read_vector, is_native=True),
        "parquet": Target("a.parquet", as_bytes(_packed(folder, "parquet")), read_vector, True),
    }
    return {**known, **imagery(folder), **vectors(folder), **results(folder)}
