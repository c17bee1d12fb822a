"""Scores of buildings alone, against truth without grades: masks or polygons on either side.

By pixel the Jaccard index of the two masks, which is their intersection over union; by building F1
from an intersection over union of 0.5. Both are drawn on one grid. It is that of the truth if it is
a raster, otherwise that of the prediction, otherwise square pixels of a size that the caller gives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio.warp
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize

from geodamage.buildings.footprint_files import read_footprints
from geodamage.errors import OptionError, ScoringError
from geodamage.grid import Grid, transformer, utm_zone
from geodamage.options.lookup import check_fields
from geodamage.output.layers import is_empty_sequence, read_facts
from geodamage.scene.aoi import read_aoi
from geodamage.scene.opening import environment, open_plain
from geodamage.scores.buildings import MATCH_IOU, match
from geodamage.scores.pixels import Counts, pixel_counts
from geodamage.sources import check_file

#: Extensions of rasters; anything else is read as polygons.
RASTERS = (".tif", ".tiff", ".png")
#: What a truth may have behind the name of its prediction, in a folder.
TRUTH_SUFFIXES = ("", "_mask", ".mask", "_buildings", "_footprints")
#: Pixels above which nothing is drawn: a few arrays of them are held at a time.
LARGEST = 8192 * 8192
#: Most values that a mask holds: 0, a grade or 255.
_MASK_VALUES = (0, 1, 2, 3, 4, 255)
#: Channels of the probabilities that `geodamage assess` writes; the first is the background.
_GRADED_CHANNELS = 5
_NOTHING = Counts(0, 0, 0)


@dataclass(frozen=True)
class ScoringOptions:
    """How two sets of buildings are compared.

    Attributes
    ----------
    threshold
        A pixel of a raster of probabilities is building above this. None takes 0.5, and refuses a
        raster of 8 bits that may be either a mask or probabilities.
    aoi
        Vector file: only what lies in it counts.
    gsd
        Metres per pixel where neither side is a raster.
    """

    threshold: float | None = None
    aoi: Path | None = None
    gsd: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class FootprintScore:
    """Counts of some images; they add up.

    Attributes
    ----------
    images
        How many.
    pixels
        Counts over the pixels of the masks.
    buildings
        Counts of buildings found, missed and spurious.
    doubts
        What a user should know of the files, a line each.
    """

    images: int = 0
    pixels: Counts = _NOTHING
    buildings: Counts = _NOTHING
    doubts: tuple[str, ...] = ()

    def plus(self, other: "FootprintScore") -> "FootprintScore":
        """Return the counts of both sets together."""
        return FootprintScore(
            self.images + other.images,
            self.pixels.plus(other.pixels),
            self.buildings.plus(other.buildings),
            tuple(dict.fromkeys((*self.doubts, *other.doubts))),
        )

    def report(self) -> dict[str, Any]:
        """Return all figures, ready for JSON; null where one is not defined."""
        return {
            "jaccard": self.pixels.jaccard,
            "pixels": {**self.pixels.rates(), **self.pixels._asdict()},
            "buildings": {
                "iou": MATCH_IOU,
                **self.buildings.rates(),
                "truth": self.buildings.tp + self.buildings.fn,
                "predicted": self.buildings.tp + self.buildings.fp,
                **self.buildings._asdict(),
            },
            "images": self.images,
            "warnings": list(self.doubts),
        }


@dataclass(frozen=True)
class Drawn:
    """Buildings on a grid.

    Attributes
    ----------
    index
        int32 (rows, columns): 0 background, each building its own number.
    known
        bool (rows, columns): where it says anything.
    notes
        What a user should know of the file.
    """

    index: np.ndarray
    known: np.ndarray
    notes: tuple[str, ...] = ()


def pair_files(
    predictions: str | PathLike[str], truths: str | PathLike[str]
) -> list[tuple[Path, Path]]:
    """Return each truth with its prediction: two files, or the files of two folders by name.

    In folders, `a.geojson` is the prediction of `a.tif`, `a_mask.png` or `a_buildings.geojson`.

    Raises
    ------
    ScoringError
        If a file is not there, one side is a folder, or a truth has no prediction or several.
    """
    predictions, truths = Path(predictions), Path(truths)
    for path in (predictions, truths):
        if not path.exists():
            raise ScoringError(f"{path}: no such file or folder; give PREDICTION and TRUTH")
    if predictions.is_dir() != truths.is_dir():
        raise ScoringError(
            f"{predictions} and {truths}: one is a folder; give two files or two folders"
        )
    if not truths.is_dir():
        return [(predictions, truths)]
    pairs = [(_prediction_of(truth, predictions), truth) for truth in _files(truths)]
    if not pairs:
        raise ScoringError(f"{truths}: no raster and no vector file; name the folder of truths")
    return pairs


def _files(folder: Path) -> list[Path]:
    known = (*RASTERS, ".geojson", ".gpkg", ".fgb", ".parquet")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in known)


def _prediction_of(truth: Path, folder: Path) -> Path:
    stems = {truth.stem.removesuffix(suffix) for suffix in TRUTH_SUFFIXES}
    found = [path for path in _files(folder) if path.stem in stems]
    if len(found) != 1:
        what = "no prediction" if not found else f"{len(found)} predictions"
        raise ScoringError(f"{truth}: {what} in {folder}; one file of the same name is needed")
    return found[0]


def score_files(
    pairs: list[tuple[Path, Path]], options: ScoringOptions
) -> Iterator[tuple[Path, FootprintScore]]:
    """Count one truth after the other; a generator that holds one at a time.

    Raises
    ------
    ScoringError
        If a file is no mask, map of probabilities or layer of polygons, or two do not fit; at the
        end, if the area of interest meets none of the truths.
    FootprintError, SceneReadError
        If a vector file cannot be used, or a raster not be read.
    """
    is_met = options.aoi is None
    for prediction, truth in pairs:
        score, meets = _score(prediction, truth, options)
        is_met |= meets
        yield truth, score
    if not is_met:
        raise ScoringError(f"--aoi {options.aoi}: lies beside all truths; give another area")


def _score(prediction: Path, truth: Path, options: ScoringOptions) -> tuple[FootprintScore, bool]:
    """Count one truth; also say whether any of its ground counts."""
    grid = _common_grid(prediction, truth, options.gsd)
    true = draw(truth, grid, threshold=options.threshold)
    found = draw(prediction, grid, threshold=options.threshold)
    counted, doubts = true.known, (*true.notes, *found.notes)
    if options.aoi is not None:
        inside, doubt = _inside(options.aoi, grid)
        counted = counted & inside
        doubts += () if doubt is None else (doubt,)
    score = score_buildings(
        np.where(counted, true.index, 0), np.where(counted & found.known, found.index, 0)
    )
    return replace(score, doubts=doubts), bool(counted.any())


def score_buildings(truth: np.ndarray, found: np.ndarray) -> FootprintScore:
    """Count one image.

    Parameters
    ----------
    truth, found
        int (rows, columns), 0 background, each building its own positive number.
    """
    matched = len(match(truth, found, MATCH_IOU))
    there, said = (len(np.unique(index[index > 0])) for index in (truth, found))
    buildings = Counts(matched, there - matched, said - matched)
    return FootprintScore(1, pixel_counts(found > 0, truth > 0), buildings)


@dataclass(frozen=True)
class _Raster:
    """A raster in memory: bool buildings, where it says anything, and its grid if it has one."""

    mask: np.ndarray
    known: np.ndarray
    grid: Grid | None


def _is_raster(path: Path) -> bool:
    return path.suffix.lower() in RASTERS


def _common_grid(prediction: Path, truth: Path, gsd: float) -> Grid | None:
    """Return the grid to draw on; None for two rasters without a place on the ground."""
    rasters = [path for path in (truth, prediction) if _is_raster(path)]
    grids = [_grid_of(path) for path in rasters]
    if len(rasters) == 2 and grids[0] is None and grids[1] is None:
        return None
    for path, grid in zip(rasters, grids, strict=True):
        if grid is None:
            raise ScoringError(
                f"{path}: has no place on the ground, and the other side has; give a GeoTIFF"
            )
    if grids:
        return grids[0]
    return _metric_grid([truth, prediction], gsd)


def _grid_of(path: Path) -> Grid | None:
    with _opened(path) as dataset:
        rows, columns = dataset.shape
        if rows * columns > LARGEST:
            raise ScoringError(
                f"{path}: {columns} x {rows} pixels are too many; score parts of at most "
                f"{LARGEST:,} pixels"
            )
        if dataset.crs is None:
            return None
        return Grid(CRS.from_wkt(dataset.crs.to_wkt()), dataset.transform, (rows, columns))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a raster; only of formats that hold masks."""
    name = check_file(str(path))
    driver = "PNG" if path.suffix.lower() == ".png" else "GTiff"
    with environment(name), open_plain(name, driver) as dataset:
        yield dataset


def _metric_grid(paths: list[Path], gsd: float) -> Grid:
    """Return square pixels around two layers of polygons, in the UTM zone of the truth."""
    world = Grid(CRS.from_epsg(4326), Affine.identity(), (1, 1))
    layers = [_polygons(path, world)[0] for path in paths]
    filled = [shapely.total_bounds(layer) for layer in layers if len(layer)]
    if not filled:
        raise ScoringError(f"{paths[0]}: neither it nor {paths[1]} holds a building")
    west, south, east, north = filled[0]
    lon, lat = (west + east) / 2, (south + north) / 2
    crs = CRS.from_epsg(int(utm_zone(np.array(lon), np.array(lat))))
    to_plane = transformer(world.crs, crs)
    boxes = np.array([to_plane.transform_bounds(*bounds) for bounds in filled])
    (left, bottom), (right, top) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    rows, columns = (int((b - a) / gsd) + 2 for a, b in ((bottom, top), (left, right)))
    if rows * columns > LARGEST:
        raise ScoringError(
            f"{paths[0]} and {paths[1]}: {columns} x {rows} pixels of {gsd:g} m are too many; "
            "raise --gsd, or give parts of them"
        )
    x, y = left // gsd * gsd, -(-top // gsd) * gsd
    return Grid(crs, Affine(gsd, 0, x, 0, -gsd, y), (rows, columns))


def draw(path: Path, grid: Grid | None, *, threshold: float | None = None) -> Drawn:
    """Draw the buildings of a file on a grid.

    Parameters
    ----------
    path
        GeoTIFF or PNG: a mask (above 0 is building), or probabilities; else polygons.
    grid
        None for the raster's own pixels.
    threshold
        The same as of `ScoringOptions`.

    Raises
    ------
    ScoringError
        If a raster is neither mask nor probabilities.
    FootprintError
        If a vector file cannot be used.
    """
    if _is_raster(path):
        found = _warped(path, _read_raster(path, threshold), grid)
        mask = (found.mask & found.known).view(np.uint8)
        _, index = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
        return Drawn(index, found.known)
    if grid is None:
        raise ScoringError(f"{path}: polygons have a place, and the raster beside them has none")
    polygons, notes = _polygons(path, grid)
    index = np.zeros(grid.shape, np.int32)
    if len(polygons):
        numbered = ((shape, number) for number, shape in enumerate(polygons, 1))
        rasterize(numbered, out=index, transform=grid.transform)
    return Drawn(index, np.ones(grid.shape, bool), notes)


def _polygons(path: Path, grid: Grid) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the polygons of a vector file in the CRS of a grid, maybe none, and notes on them."""
    if is_empty_sequence(path) and read_facts(path).get("buildings") == 0:
        return np.zeros(0, object), ()
    found = read_footprints(path, grid, may_be_empty=True)
    shapes = found.frame.geometry.to_numpy()
    kept = np.asarray(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    return kept, tuple(found.notes)


def _read_raster(path: Path, threshold: float | None) -> _Raster:
    grid = _grid_of(path)
    with _opened(path) as dataset:
        try:
            values = dataset.read(1)
        except RasterioError as error:
            raise ScoringError(f"{path}: damaged; write or download it again") from error
        scale, nodata, channels = float(dataset.scales[0]), dataset.nodata, dataset.count
    known = np.ones(values.shape, bool)
    # A mask whose background is tagged as nodata is a mask all the same.
    if nodata:
        known = values != nodata
    if values.dtype.kind == "f":
        known &= np.isfinite(values)
    share = _probability(path, values[known], scale, threshold)
    mask = np.zeros(values.shape, bool)
    if share is None:
        mask[known] = values[known] > 0
    else:
        building = 1 - share if channels == _GRADED_CHANNELS else share
        mask[known] = building > (0.5 if threshold is None else threshold)
    return _Raster(mask, known, grid)


def _probability(
    path: Path, values: np.ndarray, scale: float, threshold: float | None
) -> np.ndarray | None:
    """Return the probabilities that a raster holds; None for a mask."""
    if values.dtype.kind == "f" or scale != 1:
        share = values.astype(np.float32) * np.float32(scale)
        if share.size and not (share.min() >= 0 and share.max() <= 1 + 1e-6):
            raise ScoringError(
                f"{path}: holds {share.min():g} to {share.max():g}; a probability is 0-1"
            )
        return share
    if np.isin(values, _MASK_VALUES).all():
        return None
    if values.dtype == np.uint8 and threshold is not None:
        return values.astype(np.float32) / np.float32(255)
    raise ScoringError(
        f"{path}: holds other values than a mask (0 and 1, 0 and 255, or grades); if they are "
        "probabilities of 8 bits, give --threshold"
    )


def _warped(path: Path, raster: _Raster, grid: Grid | None) -> _Raster:
    """Return a raster on a grid, by the nearest pixel; unknown beyond its own."""
    if grid is None or raster.grid == grid:
        return raster
    if raster.grid is None:
        raise ScoringError(f"{path}: has no place on the ground; give a GeoTIFF")
    codes = np.where(raster.known, raster.mask.astype(np.uint8) + 1, 0).astype(np.uint8)
    target = np.zeros(grid.shape, np.uint8)
    rasterio.warp.reproject(
        codes,
        target,
        src_transform=raster.grid.transform,
        src_crs=rasterio.CRS.from_wkt(raster.grid.crs.to_wkt()),
        dst_transform=grid.transform,
        dst_crs=rasterio.CRS.from_wkt(grid.crs.to_wkt()),
        resampling=Resampling.nearest,
        src_nodata=0,
        dst_nodata=0,
    )
    return _Raster(target == 2, target > 0, grid)


def _inside(aoi: Path, grid: Grid | None) -> tuple[np.ndarray, str | None]:
    """Return the pixels in an area of interest, and what a user should know of its place."""
    if grid is None:
        raise OptionError(f"--aoi {aoi}: the rasters have no place on the ground; leave it out")
    shape, doubt = read_aoi(aoi, grid.crs, grid.bounds)
    if shape.is_empty:
        return np.zeros(grid.shape, bool), doubt
    inside: np.ndarray = rasterize(
        [(shape, 1)], out_shape=grid.shape, transform=grid.transform, dtype=np.uint8
    )
    return inside > 0, doubt
