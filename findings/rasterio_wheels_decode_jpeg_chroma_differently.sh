#!/usr/bin/env bash
# One JPEG-compressed GeoTIFF in YCbCr has other pixels by rasterio 1.4.4 than by 1.5.2, both from their
# wheels: each bundles another JPEG library, and these enlarge the halved chroma in two ways. Edges of
# strong colours differ by tens of grey levels; the same image as JPEG in RGB is equal. What a model
# says near such edges therefore changes with an upgrade of rasterio.
#
# Seen on 2026-11-30, Python 3.12, Linux x86-64; largest difference of a band in grey levels:
#   ycbcr 130   rgb 0
# Needs a Python of 3.12 or 3.13 (named by PYTHON, or found): rasterio 1.5 has no other wheels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-$(command -v python3.13 || command -v python3.12)}
"$python" -m venv "$folder/env"
cat >"$folder/read.py" <<'PYTHON'
import sys

import numpy as np
import rasterio

folder = sys.argv[1]
for colours in ("ycbcr", "rgb"):
    path = f"{folder}/{colours}.tif"
    if sys.argv[2] == "write":
        noise = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
        image = noise.repeat(16, 1).repeat(16, 2)
        profile = {"driver": "GTiff", "width": 256, "height": 256, "count": 3, "dtype": "uint8"}
        jpeg = {"compress": "jpeg", "photometric": colours, "tiled": True}
        with rasterio.open(path, "w", **profile, **jpeg, jpeg_quality=90) as dataset:
            dataset.write(image)
    with rasterio.open(path) as dataset:
        np.save(f"{folder}/{colours}-{sys.argv[2]}.npy", dataset.read())
PYTHON
for step in "1.4.4 write" "1.5.2 read"; do
  "$folder/env/bin/pip" install -q "rasterio==${step% *}" numpy==2.4.6
  "$folder/env/bin/python" -W ignore "$folder/read.py" "$folder" "${step#* }"
done
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np

differences = {}
for colours in ("ycbcr", "rgb"):
    old, new = (np.load(f"{sys.argv[1]}/{colours}-{step}.npy").astype(int) for step in ("write", "read"))
    differences[colours] = int(abs(old - new).max())
print(differences)
assert differences["ycbcr"] > 20 and differences["rgb"] == 0, "the behaviour has changed"
PYTHON
