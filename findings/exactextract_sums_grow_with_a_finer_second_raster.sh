#!/usr/bin/env bash
# exactextract 0.3.0: `sum` and `count` of a raster are taken on the finest grid of the call. A second
# raster, or weights, with cells of a quarter of the side multiplies both by 16, in `sum` without a word.
# People in a polygon, counted beside a finer raster of hazard, come out 16 times too many.
#
# Seen on 2026-11-30, Python 3.11; a box of 4 x 4 cells of one person each:
#   alone                  sum 16   count 16
#   beside cells of 1/2    sum 64   count 64
#   beside cells of 1/4    sum 256  count 256
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q exactextract==0.3.0 geopandas==1.2.0 shapely==2.2.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import geopandas
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from pyproj import CRS

crs = CRS.from_epsg(32633)
place = {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10, "srs_wkt": crs.to_wkt()}
people = NumPyRasterSource(np.ones((10, 10)), name="people", **place)
box = geopandas.GeoDataFrame(geometry=[shapely.box(1, 1, 5, 5)], crs=crs)
found = [exact_extract(people, box, ["sum", "count"], output="pandas").iloc[0].tolist()]
for cells in (20, 40):
    hazard = NumPyRasterSource(np.ones((cells, cells)), name="hazard", **place)
    table = exact_extract([people, hazard], box, ["sum", "count"], output="pandas")
    found.append(table[["people_sum", "people_count"]].iloc[0].tolist())
print(found)
assert found == [[16, 16], [64, 64], [256, 256]], "the behaviour has changed"
PYTHON
