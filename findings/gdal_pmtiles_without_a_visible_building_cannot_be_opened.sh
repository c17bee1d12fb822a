#!/usr/bin/env bash
# pyogrio 0.13.0 with GDAL 3.12.4: a PMTiles file whose greatest zoom is too coarse for every building is
# written without a word, and cannot be opened again, by the same driver: it lacks `vector_layers`.
# A hundred houses of about ten metres are all dropped at zoom 5, and all there at zoom 10.
#
# Seen on 2026-11-30, Python 3.11:
#   MAXZOOM 5   DataSourceError: Missing vector_layers[] metadata
#   MAXZOOM 10  100 of 100
#   MAXZOOM 14  100 of 100
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pyogrio==0.13.0 geopandas==1.2.0 shapely==2.2.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import geopandas
import numpy as np
import pyogrio
import shapely

west = -85.6 + np.arange(100) * 2e-4
houses = geopandas.GeoDataFrame(
    {"building_id": np.arange(100, dtype="int32")},
    geometry=shapely.box(west, 30.1, west + 1e-4, 30.1001),
    crs="EPSG:4326",
)
found = {}
for zoom in (5, 10, 14):
    path = f"houses{zoom}.pmtiles"
    pyogrio.write_dataframe(houses, path, driver="PMTiles", MINZOOM=0, MAXZOOM=zoom)
    try:
        found[zoom] = pyogrio.read_dataframe(path, ZOOM_LEVEL=zoom)["building_id"].nunique()
    except pyogrio.errors.DataSourceError as error:
        found[zoom] = str(error)
print(found)
assert found == {5: "Missing vector_layers[] metadata", 10: 100, 14: 100}, "the behaviour has changed"
PYTHON
