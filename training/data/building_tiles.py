"""What is in a tile of building data: its pixels, and where its buildings are."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.io import DatasetReader

from geodamage.errors import LabelError, OptionError, SceneReadError
from geodamage.grid import Grid
from geodamage.scene.opening import open_plain
from geodamage.scene.scaling import SCALED_TYPES, Scaling, from_samples
from geodamage.sources import check_file, read_text
from geodamage.vector.reading import read_vector
from geodamage.vector.wkt import from_wkt
from geodamage.windows import Window

FOOTPRINTS = (".geojson", ".json")
#: Drivers of images that are no GeoTIFF and no JPEG 2000, by how their names end.
IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
#: Pixels that percentiles are taken of.
SAMPLED = 1_000_000


@dataclass(frozen=True)
class Tile:
    """An image, and the file that says where its buildings are.

    Attributes
    ----------
    image
        GeoTIFF, PNG, JPEG or JPEG 2000.
    labels
        A mask, footprints, or a CSV of polygons in pixels; None where nobody labelled it.
    name
        Name of the image in its source, without odd characters.
    source
        Name of the data set.
    place
        Ground that it shows, as far as names tell.
    """

    image: Path
    labels: Path | None
    name: str
    source: str
    place: str


def name_ends(stem: str) -> Iterator[str]:
    """Yield a name, and what is left of it without its first words."""
    parts = stem.split("_")
    for start in range(len(parts)):
        yield "_".join(parts[start:])


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the polygons of a CSV; none of one that lists something else."""
    try:
        reader = csv.DictReader(read_text(path).splitlines(keepends=True))
        if not {"ImageId", "PolygonWKT_Pix"} <= set(reader.fieldnames or ()):
            return []
        return list(reader)
    except (OSError, csv.Error) as error:
        raise LabelError(f"{path}: no table of footprints ({error})") from error


class OpenTile:
    """A tile whose pixels can be read; close it, or use it in a `with`.

    Attributes
    ----------
    tile
        Its names.
    shape
        Rows and columns.
    gsd
        Metres per pixel; 0 where unknown.
    outline
        On the ground, degrees; None where unknown.
    """

    def __init__(self, tile: Tile, bands: Sequence[int] = ()) -> None:
        """Open a tile.

        Parameters
        ----------
        bands
            1-based channels of red, green and blue; empty takes the first three.

        Raises
        ------
        SceneReadError, LabelError, OptionError
            If it cannot be read, or has too few channels.
        """
        self.tile = tile
        self._dataset = open_raster(tile.image)
        try:
            self.shape = self._dataset.height, self._dataset.width
            self.bands = _bands(tile, self._dataset, bands)
            self.gsd, self.outline = _ground_of(self._dataset)
            self._scaling = _scaling(self._dataset, self.bands)
            self._truth = _read_truth(tile, self._dataset)
        except BaseException:
            self._dataset.close()
            raise

    def __enter__(self) -> "OpenTile":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def cut(self, window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask of a window at another size.

        Returns
        -------
        uint8 (rows, columns, 3) and uint8 (rows, columns)
            Red, green, blue, 0 where there is nothing; 0 or 255.

        Raises
        ------
        SceneReadError
            If the file is damaged.
        """
        pixels, valid = read_window(self._dataset, self.bands, window, shape)
        pixels = pixels if self._scaling is None else self._scaling.apply(pixels)
        image = np.where(valid, pixels, 0).transpose(1, 2, 0)
        mask = self._truth.burn(window, shape)
        return np.ascontiguousarray(image, np.uint8), np.where(valid, mask, 0).astype(np.uint8)


def open_raster(path: Path) -> DatasetReader:
    """Open an image.

    Raises
    ------
    SceneReadError
        If it is of another format, or damaged, or what lies beside it is no TIFF.
    """
    name = check_file(str(path))
    dataset: DatasetReader = open_plain(name, IMAGES.get(path.suffix.lower()))
    return dataset


def read_window(
    dataset: DatasetReader, bands: Sequence[int], window: Window, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (channels, rows, columns) at another size, and where they are valid."""
    part = rasterio.windows.Window(window.column, window.row, window.width, window.height)
    smaller = shape[0] < window.height
    how = Resampling.average if smaller else Resampling.bilinear
    try:
        pixels = dataset.read(
            list(bands), window=part, out_shape=(len(bands), *shape), resampling=how
        )
        valid = dataset.dataset_mask(window=part, out_shape=shape) > 0
    except RasterioError as error:
        raise SceneReadError(
            f"{dataset.name}: damaged at {window} ({error}); download it again"
        ) from error
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels).all(0)
        pixels = np.where(valid, pixels, 0)
    return pixels, valid


def _bands(tile: Tile, dataset: DatasetReader, bands: Sequence[int]) -> tuple[int, ...]:
    if not bands and dataset.count < 3:
        raise OptionError(
            f"{tile.image}: has {dataset.count} channel{'s' if dataset.count > 1 else ''}; give "
            "--bands 1,1,1 to show one as grey"
        )
    chosen = tuple(bands) or (1, 2, 3)
    if len(chosen) != 3 or not all(1 <= band <= dataset.count for band in chosen):
        raise OptionError(
            f"--bands {','.join(map(str, chosen))}: three numbers from 1 to {dataset.count}, the "
            f"channels of {tile.image}"
        )
    kind = dataset.dtypes[chosen[0] - 1]
    if kind != "uint8" and kind not in SCALED_TYPES:
        raise SceneReadError(f"{tile.image}: pixels of {kind}; give uint8, uint16 or float")
    return chosen


def _ground_of(dataset: DatasetReader) -> tuple[float, shapely.Polygon | None]:
    if dataset.crs is None:
        return 0.0, None
    grid = Grid(CRS.from_user_input(dataset.crs), dataset.transform, dataset.shape)
    rows, columns = grid.shape
    x, y = grid.xy(np.array([0, columns, columns, 0]), np.array([0, 0, rows, rows]))
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    corners = np.column_stack(to_degrees.transform(x, y))
    return math.prod(grid.gsd) ** 0.5, shapely.Polygon(corners)


def _scaling(dataset: DatasetReader, bands: Sequence[int]) -> Scaling | None:
    """Return what becomes of 16 bits: the percentiles 2 and 98 of each channel of the image."""
    # Source: Open Cities' third place, space_net_data.py.
    if dataset.dtypes[bands[0] - 1] == "uint8":
        return None
    whole = Window(0, 0, *dataset.shape)
    factor = max(1.0, (whole.size / SAMPLED) ** 0.5)
    shape = max(1, round(whole.height / factor)), max(1, round(whole.width / factor))
    pixels, valid = read_window(dataset, bands, whole, shape)
    if not valid.any():
        raise SceneReadError(f"{dataset.name}: has no valid pixel; leave it out")
    return from_samples([pixels[:, valid]])


class Mask:
    """Truth that comes as an image."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        with open_raster(path) as dataset:
            codes = dataset.read(1)
        if codes.shape != shape:
            raise LabelError(f"{path}: {codes.shape} pixels, and its image has {shape}")
        self.mask = np.where(codes > 0, np.uint8(255), np.uint8(0))

    def burn(self, window: Window, shape: tuple[int, int]) -> np.ndarray:
        """Return uint8 (rows, columns), 0 or 255: what is building by half or more."""
        part = self.mask[window.slices]
        how = cv2.INTER_AREA if shape[0] < window.height else cv2.INTER_LINEAR
        grey = cv2.resize(part, shape[::-1], interpolation=how)
        return np.where(np.asarray(grey) >= 128, np.uint8(255), np.uint8(0))


class Polygons:
    """Truth that comes as polygons, here in pixels of the image."""

    def __init__(self, shapes: Sequence[shapely.Geometry]) -> None:
        self.tree = shapely.STRtree([shape for shape in shapes if not shapely.is_empty(shape)])

    def burn(self, window: Window, shape: tuple[int, int]) -> np.ndarray:
        """Return uint8 (rows, columns), 0 or 255: every pixel that a building touches."""
        # Source: Open Cities' third place, dataset.py:440-519: all footprints, all_touched.
        box = shapely.box(window.column, window.row, window.right, window.bottom)
        found = self.tree.geometries.take(self.tree.query(box, predicate="intersects"))
        if not len(found):
            return np.zeros(shape, np.uint8)
        across, down = window.width / shape[1], window.height / shape[0]
        to_window = Affine(across, 0, window.column, 0, down, window.row)
        burnt = rasterize(found, shape, transform=to_window, all_touched=True, default_value=255)
        return np.asarray(burnt, np.uint8)


def _read_truth(tile: Tile, dataset: DatasetReader) -> Mask | Polygons:
    if tile.labels is None:
        return Polygons([])
    if tile.labels.suffix.lower() == ".csv":
        return Polygons(list(_of_table(tile.image, tile.labels)))
    if tile.labels.suffix.lower() in FOOTPRINTS:
        return Polygons(_of_footprints(tile.labels, dataset))
    return Mask(tile.labels, dataset.shape)


def _of_table(image: Path, table: Path) -> Iterator[shapely.Geometry]:
    ends = set(name_ends(image.stem))
    for row in read_table(table):
        if row["ImageId"] in ends:
            try:
                yield from_wkt(row["PolygonWKT_Pix"])
            except ValueError as error:
                raise LabelError(f"{table}: {row['ImageId']}: not a polygon ({error})") from error


def _of_footprints(labels: Path, dataset: DatasetReader) -> list[shapely.Geometry]:
    """Read footprints of any CRS as polygons in pixels; a file without any is a negative."""
    frame = read_vector(labels, refusal=LabelError).frame
    if frame.empty:
        return []
    if dataset.crs is None:
        raise LabelError(f"{dataset.name}: has no CRS, so the place of {labels} in it is unknown")
    shapes = shapely.force_2d(frame.geometry.to_crs(dataset.crs).dropna().to_numpy())
    a, b, c, d, e, f = (~dataset.transform)[:6]
    turn, shift = np.array([[a, d], [b, e]]), np.array([c, f])
    moved = shapely.transform(shapes, lambda xy: xy @ turn + shift)
    return [shape for shape in moved if shape.geom_type in ("Polygon", "MultiPolygon")]


def check_bands(text: str) -> tuple[int, ...]:
    """Return the numbers of `--bands`.

    Raises
    ------
    OptionError
        If they are no three whole numbers from 1.
    """
    try:
        bands = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise OptionError(f"--bands {text}: give three numbers, such as 3,2,1") from error
    if bands and (len(bands) != 3 or min(bands) < 1):
        raise OptionError(f"--bands {text}: give three numbers from 1, such as 3,2,1")
    return bands
