"""Write the committed sample: a small image pair of a drawn place with its true damage.

The place does not exist: the town, the storm and the coordinates are made up, so the sample carries
no foreign licence. The pair has the difficulties of real pairs. The post image lies in another CRS
and grid, covers a little less, and ends in an untagged black collar. It is shifted by some metres,
and was taken in another season under another sun.

Run ``python sample_data/make.py`` to write it again. ``python sample_data/make.py --xbd DIR``
writes a small labelled set in the folder layout of xBD. ``--sar`` adds a radar image after the
event to either. ``--chips DIR`` writes small paired chips of two sensors instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.transform import Affine, array_bounds, from_origin
from rasterio.warp import Resampling, reproject, transform, transform_bounds

# The package is the folder that this script lies in, so its parent has to be importable.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sample_data.modality_chips import make_chips
from sample_data.pairs import make_pairs
from sample_data.scenes import TRAINING_SEEDS, DrawnScene, draw_scene
from sample_data.styles import Shot, Style

Bytes = npt.NDArray[np.uint8]

SAMPLE_SEED = 20_000_001  # far above TRAINING_SEEDS: no model has been trained on this scene
SIZE = 640  # pixels
DAMAGE_NAMES = {1: "no-damage", 2: "minor-damage", 3: "major-damage", 4: "destroyed"}

PRE_CRS = CRS.from_epsg(32616)
PRE_TRANSFORM = from_origin(402000.0, 3345000.0, 0.5, 0.5)
POST_CRS = CRS.from_epsg(4326)
POST_PIXEL = 5.2e-6  # degrees: 0.58 m to the north and 0.50 m to the east at this latitude
COLLAR = 16  # pixels at the east side, at its narrow end
SMALLEST = 10.0  # square metres; less of a building at the image's rim is left out

SAMPLE_STYLE = Style(
    street_angle=0.32,
    bend=14.0,
    bend_length=150.0,
    lot_width=53.0,
    lot_depth=80.0,
    road_width=14.0,
    block_length=330.0,
    block_weights=(0.78, 0.06, 0.1, 0.04, 0.02),
    roof_weights=(0.24, 0.12, 0.17, 0.11, 0.1, 0.08, 0.12, 0.04, 0.02),
    flat_share=0.1,
    hip_share=0.6,
    tree_density=6.0,
    soil=(160.0, 142.0, 116.0),
    grass=(92.0, 106.0, 66.0),
    asphalt=(118.0, 116.0, 113.0),
    event="track",
    severity=0.6,
    shift=(5.5, -4.0),
    pre=Shot(
        sun_azimuth=-0.9,
        sun_elevation=1.0,
        lean=(0.05, 0.04),
        greenness=0.72,
        snow=False,
        blur=0.5,
        noise=2.0,
        jpeg_quality=95,
        haze=0.03,
        contrast=1.12,
        balance=(1.0, 1.0, 1.0),
        cloud_shadow=False,
    ),
    post=Shot(
        sun_azimuth=-2.0,
        sun_elevation=0.8,
        lean=(-0.12, 0.08),
        greenness=0.45,
        snow=False,
        blur=0.6,
        noise=2.0,
        jpeg_quality=92,
        haze=0.1,
        contrast=1.15,
        balance=(1.02, 1.0, 0.97),
        cloud_shadow=False,
    ),
)


def make_sample(folder: Path, seed: int = SAMPLE_SEED, *, sar: bool = False) -> None:
    """Draw the sample scene and write its four files.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write ``pre.tif``, ``post.tif``, ``buildings_true.geojson`` and
        ``footprints.geojson``; made if it does not exist.
    seed : int
        Seed of the scene. Below ``TRAINING_SEEDS`` a scene may have been trained on.
    sar : bool
        Write ``post_sar.tif``, too: what a radar sees after the event.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = draw_scene(seed, SIZE, style=SAMPLE_STYLE, sar=sar)
    if scene.post_sar is not None:
        write_radar(folder / "post_sar.tif", scene.post_sar)
    write_pre(folder / "pre.tif", scene.pre)
    seen = write_post(folder / "post.tif", scene.post)
    features = list_buildings(scene, seen)
    write_geojson(folder / "buildings_true.geojson", features)
    bare = [{**f, "properties": _only_id(f["properties"])} for f in features]
    write_geojson(folder / "footprints.geojson", bare)


def _only_id(properties: dict[str, Any]) -> dict[str, Any]:
    return {"building_id": properties["building_id"]}


def write_pre(path: Path, image: Bytes) -> None:
    """Write the pre-event image: UTM, JPEG in a tiled GeoTIFF.

    In RGB, because everyone shall see the same sample. The JPEG libraries of different wheels of
    rasterio upsample the halved chroma of YCbCr in different ways.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    image : numpy.ndarray
        uint8, shape (3, rows, columns).
    """
    _write_tiff(path, image, PRE_CRS, PRE_TRANSFORM, compress="jpeg", jpeg_quality=85)


def write_radar(path: Path, image: Bytes) -> None:
    """Write the image of a radar, as it was brought to the ground and to 8 bits.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    image : numpy.ndarray
        uint8, shape (1, rows, columns), on the grid of the pre-event image.
    """
    _write_tiff(path, image, PRE_CRS, PRE_TRANSFORM, compress="deflate", photometric="minisblack")


def write_post(path: Path, image: Bytes) -> shapely.Geometry:
    """Write the post-event image: geographic coordinates, another grid, a black collar.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    image : numpy.ndarray
        uint8, shape (3, rows, columns), on the grid of the pre-event image.

    Returns
    -------
    shapely.Geometry
        What the image shows, in longitude and latitude.
    """
    bounds = array_bounds(SIZE, SIZE, PRE_TRANSFORM)
    west, south, east, north = transform_bounds(PRE_CRS, POST_CRS, *bounds)
    west, south, east, north = west + 4e-5, south + 5e-5, east - 2e-5, north - 3e-5
    width, height = int((east - west) / POST_PIXEL), int((north - south) / POST_PIXEL)
    grid = from_origin(west, north, POST_PIXEL, POST_PIXEL)
    warped = np.zeros((3, height, width), np.uint8)
    reproject(
        image,
        warped,
        src_transform=PRE_TRANSFORM,
        src_crs=PRE_CRS,
        dst_transform=grid,
        dst_crs=POST_CRS,
        resampling=Resampling.cubic,
    )
    # The strip's edge runs askew to the grid, as those of satellite passes do.
    edge = width - COLLAR - np.arange(height) * 12 // height
    warped[:, np.arange(width) >= edge[:, None]] = 0
    _write_tiff(path, warped, POST_CRS, grid, compress="deflate", predictor=2, zlevel=9)
    corners = np.array([(0, 0), (edge[0], 0), (edge[-1], height), (0, height)])
    return shapely.Polygon(_to_map(grid, corners))


def _to_map(grid: Affine, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Map pixel corners; spelled out since ``affine`` 3 renames its operator."""
    x, y = pixels[:, 0], pixels[:, 1]
    columns = (grid.a * x + grid.b * y + grid.c, grid.d * x + grid.e * y + grid.f)
    return np.stack(columns, axis=1).astype(np.float64)


def _write_tiff(path: Path, image: Bytes, crs: CRS, grid: Affine, **options: Any) -> None:
    """Write a tiled GeoTIFF; no nodata tag, as most deliveries have none."""
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(image),
        "height": image.shape[1],
        "width": image.shape[2],
        "crs": crs,
        "transform": grid,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "pixel",
        "photometric": "rgb",
    }
    with rasterio.open(path, "w", **{**profile, **options}) as target:
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION="Drawn by sample_data/make.py; no real place")
        target.write(image)


def list_buildings(scene: DrawnScene, seen: shapely.Geometry) -> list[dict[str, Any]]:
    """List the buildings of the pre-event image as GeoJSON features.

    Parameters
    ----------
    scene : DrawnScene
        The pair with its footprints.
    seen : shapely.Geometry
        What the post-event image shows, in longitude and latitude.

    Returns
    -------
    list of dict
        Features with ``building_id``, ``damage``, ``damage_class`` and ``seen_after``: whether
        the post-event image shows at least half of the building, where it truly stands.
    """
    frame = shapely.box(0, 0, SIZE, SIZE)
    features: list[dict[str, Any]] = []
    for corners, grade in zip(scene.footprints, scene.grades, strict=True):
        whole = shapely.simplify(shapely.Polygon(corners), 0)
        outline = shapely.intersection(whole, frame)
        if not isinstance(outline, shapely.Polygon) or outline.area * 0.25 < SMALLEST:
            continue
        properties = {
            "building_id": len(features) + 1,
            "damage": DAMAGE_NAMES[grade],
            "damage_class": grade,
        }
        geometry = to_lonlat(outline)
        shifted = to_lonlat(shapely.transform(outline, lambda xy: xy + scene.post_offset))
        shown = shapely.intersection(shifted, seen).area / shifted.area
        properties["seen_after"] = bool(shown >= 0.5)
        features.append(
            {
                "type": "Feature",
                "properties": properties,
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [list(geometry.exterior.coords)],
                },
            }
        )
    return features


def to_lonlat(outline: shapely.Polygon) -> shapely.Polygon:
    """Turn a polygon in pixels into longitude and latitude as RFC 7946 wants it.

    Parameters
    ----------
    outline : shapely.Polygon
        Pixel-corner coordinates of the pre-event image.

    Returns
    -------
    shapely.Polygon
        Seven decimals (about a centimetre), exterior counter-clockwise.
    """
    x, y = _to_map(PRE_TRANSFORM, np.array(outline.exterior.coords)).T
    lon, lat = transform(PRE_CRS, POST_CRS, x, y)[:2]
    rounded = [(round(a, 7), round(b, 7)) for a, b in zip(lon, lat, strict=True)]
    return shapely.geometry.polygon.orient(shapely.Polygon(rounded), 1.0)


def write_geojson(path: Path, features: list[dict[str, Any]]) -> None:
    """Write features as RFC 7946 GeoJSON, one per line.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    features : list of dict
        Features in longitude and latitude.
    """
    lines = ",\n".join(json.dumps(feature) for feature in features)
    text = f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Write the sample from the command line."""
    parser = argparse.ArgumentParser(description="Write the sample pair of a drawn place.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--seed", type=int, default=SAMPLE_SEED)
    parser.add_argument("--xbd", type=Path, metavar="DIR", help="write labelled pairs instead")
    parser.add_argument("--pairs", type=int, default=4, help="how many of them")
    parser.add_argument("--size", type=int, default=512, help="of each, pixels")
    parser.add_argument(
        "--sar", action="store_true", help="draw what a radar sees after the event, too"
    )
    parser.add_argument("--chips", type=Path, metavar="DIR", help="write EO and SAR chips instead")
    parser.add_argument("--train-chips", type=int, default=1000, help="to train on, about")
    parser.add_argument("--test-chips", type=int, default=100, help="of each class, to test on")
    arguments = parser.parse_args()
    if arguments.chips is not None:
        counts = make_chips(arguments.chips, arguments.train_chips, arguments.test_chips)
        print("\n".join(f"{part}: {count} pairs" for part, count in counts.items()))
        return
    if arguments.xbd is not None:
        names = make_pairs(arguments.xbd, arguments.pairs, arguments.size, sar=arguments.sar)
        print("\n".join(names))
        return
    if arguments.seed < TRAINING_SEEDS:
        print(f"note: models may have been trained on seeds below {TRAINING_SEEDS}")
    make_sample(arguments.output, arguments.seed, sar=arguments.sar)


if __name__ == "__main__":
    main()
