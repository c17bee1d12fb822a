"""Downloads of building data, made small, as their publishers lay them out."""

import json

import cv2
import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

CRS = "EPSG:32630"


#: Coordinates here count from this corner.
X, Y = 500_000.0, 6_000_000.0


def square(x, y, side):
    x, y = X + x, Y + y
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_geojson(path, shapes, crs=CRS):
    path.parent.mkdir(parents=True, exist_ok=True)
    code = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs[5:]}"}}
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    content = {"type": "FeatureCollection", "crs": code, "features": features}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_tif(path, pixels, x=0.0, y=0.0, gsd=1.0, crs=CRS):
    """Write (channels, rows, columns) with its upper left corner at (x, y)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, columns = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": rows, "width": columns}
    with rasterio.open(
        path,
        "w",
        dtype=pixels.dtype,
        crs=crs,
        transform=Affine(gsd, 0, X + x, 0, -gsd, Y + y),
        **profile,
    ) as file:
        file.write(pixels)
        if count == 4:
            *colours, _ = file.colorinterp
            file.colorinterp = (*colours, ColorInterp.alpha)
    return path


def picture(rows=96, columns=96, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(40, 220, (channels, rows, columns), dtype=np.uint8)


def write_item(path, identity, href, source=None, collection="acc"):
    path.parent.mkdir(parents=True, exist_ok=True)
    links = [] if source is None else [{"rel": "source", "href": source}]
    item = {"id": identity, "type": "Feature", "collection": collection, "links": links}
    item["assets"] = {"asset": {"href": href}}
    path.write_text(json.dumps(item), encoding="utf-8")


def write_open_cities(folder, tiles=("665946", "a42435"), rows=96):
    """Write tier 1 as downloaded: a catalogue, a collection, and for each tile image and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalog.json").write_text(json.dumps({"id": "train_tier_1"}), encoding="utf-8")
    for number, tile in enumerate(tiles):
        x = 1000.0 * number
        image = folder / "acc" / tile / f"{tile}.tif"
        write_tif(
            image, np.concatenate([picture(rows), np.full((1, rows, rows), 255, np.uint8)]), x
        )
        write_item(image.with_suffix(".json"), tile, f"./{tile}.tif")
        labels = folder / "acc" / f"{tile}-labels"
        write_geojson(labels / f"{tile}.geojson", [square(x + 10, -30, 20)])
        write_item(
            labels / f"{tile}-labels.json", f"{tile}-labels", f"./{tile}.geojson",
            f"../{tile}/{tile}.json",
        )  # fmt: skip
    return folder


def write_masks(folder, names, size=64, crs=None):
    """Write images with masks beside them; the left half is building, but in `NAME_empty`."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image = picture(size, size, number).transpose(1, 2, 0).copy()
        mask = np.zeros((size, size), np.uint8)
        if not name.endswith("empty"):
            mask[:, : size // 2] = 255
            image[:, : size // 2] = 230
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    return folder
