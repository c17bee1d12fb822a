"""Georeference of xBD images: an affine through label vertices known in pixels and in degrees."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import ProjError

from geodamage.errors import InputError, LabelError
from geodamage.grid import WGS84, Grid, transformer
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.scene.opening import environment, open_plain
from geodamage.sources import check_file
from geodamage.work import long_work
from geodamage.xbd.folders import DATES, DRIVERS, Pair, read_image
from geodamage.xbd.labels import (
    TIERS,
    Label,
    LabelFile,
    fit_lonlat,
    paired_vertices,
    read_label_file,
)

#: CRS of `features.lng_lat`, and of what is written.
LONLAT = CRS.from_epsg(4326)
#: Largest distance of a vertex from where the affine puts it, metres: two pixels of xBD. Labels of
#: this image fit to a few millimetres, so a metre says that pixels and degrees are of two images.
MAX_RESIDUAL = 1.0
#: Largest standard error of the place of a corner, metres: vertices too few, or all in one spot.
MAX_CORNER_ERROR = 1.0
#: Metres; a vertex counts as no surer than this, else three vertices, which any affine meets,
#: would look perfect. It is how xBD labels fit.
VERTEX_ERROR = 0.003
#: Ground metres per pixel that an image of buildings can have.
GSD_LIMITS = 0.05, 10.0

#: How the GeoTIFFs are stored.
PROFILE: Mapping[str, Any] = MappingProxyType(
    {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "crs": LONLAT,
        "photometric": "RGB",
        "interleave": "pixel",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 2,
    }
)


@dataclass(frozen=True)
class Fit:
    """An affine through label vertices, and how well it fits.

    Attributes
    ----------
    transform
        From (column, row) to degrees (WGS 84).
    vertices
        Number of vertices.
    rms, maximum
        Root mean square and largest of their distances from where the affine puts them, metres.
    corner_error
        Standard error of the place of the image's least certain corner, metres.
    """

    transform: Affine
    vertices: int
    rms: float
    maximum: float
    corner_error: float


@dataclass(frozen=True)
class GeoImage:
    """One GeoTIFF.

    Attributes
    ----------
    path
        Where it is.
    date
        `pre` or `post`.
    labels_of
        The date whose labels gave the affine.
    fit
        The affine.
    """

    path: Path
    date: str
    labels_of: str
    fit: Fit

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        fit = self.fit
        return {
            "path": str(self.path),
            "date": self.date,
            "labels_of": self.labels_of,
            "vertices": fit.vertices,
            "rms_m": fit.rms,
            "max_m": fit.maximum,
            "corner_error_m": fit.corner_error,
            "transform": list(fit.transform[:6]),
        }


@dataclass(frozen=True)
class Outcome:
    """What became of one pair.

    Attributes
    ----------
    pair
        Its name.
    images
        Its GeoTIFFs, pre and post; none where it was refused.
    why
        Why it was refused; None where it was not.
    """

    pair: str
    images: tuple[GeoImage, ...] = ()
    why: str | None = None


def fit_image(labels: Sequence[Label], shape: tuple[int, int]) -> Fit | None:
    """Fit the affine of one image, by least squares over all vertices of its labels.

    Parameters
    ----------
    labels
        Labels of the image.
    shape
        Rows and columns of the image.

    Returns
    -------
    None with fewer than three vertices, or all on a line.
    """
    affine = fit_lonlat(labels)
    if affine is None:
        return None
    xy, degrees = paired_vertices(labels)
    design = np.column_stack([xy, np.ones(len(xy))])
    placed = design @ affine.T
    with np.errstate(invalid="ignore"):
        _, _, metres = WGS84.inv(*degrees.T, *placed.T)
    residuals = np.where(np.isfinite(metres), metres, np.inf)
    rms = float(np.sqrt(np.mean(residuals**2)))
    spread = max(rms, VERTEX_ERROR) * np.sqrt(_leverage(design, shape))
    return Fit(Affine(*affine.ravel()), len(xy), rms, float(residuals.max()), float(spread))


def _leverage(design: np.ndarray, shape: tuple[int, int]) -> float:
    """Return the variance of a fitted place at the worst corner, that of one vertex being 1."""
    rows, columns = shape
    corners = np.array([[0, 0, 1], [columns, 0, 1], [columns, rows, 1], [0, rows, 1]], float)
    # Source: ordinary least squares: the variance of x b is x (X' X)^-1 x'.
    solved = corners @ np.linalg.pinv(design)
    return float((solved**2).sum(axis=1).max())


def check_fit(fit: Fit, shape: tuple[int, int], whose: str) -> Fit:
    """Refuse an affine that cannot be where the image lies.

    Raises
    ------
    LabelError
        If it does not fit, is not certain, or has absurd pixels; `whose` begins the message.
    """
    remedy = "get the labels again, or leave the pair out"
    if not fit.maximum <= MAX_RESIDUAL:
        raise LabelError(
            f"{whose}: a label vertex lies {fit.maximum:,.1f} m from where the others put it, over "
            f"{MAX_RESIDUAL:g} m; its pixels and degrees are of two images: {remedy}"
        )
    if not fit.corner_error <= MAX_CORNER_ERROR:
        raise LabelError(
            f"{whose}: its {fit.vertices} label vertices leave a corner of the image uncertain by "
            f"{fit.corner_error:,.1f} m, over {MAX_CORNER_ERROR:g} m; {remedy}"
        )
    least, most = GSD_LIMITS
    gsd = _gsd(fit.transform, shape)
    if not all(least <= side <= most for side in gsd):
        raise LabelError(
            f"{whose}: its labels say pixels of {gsd[0]:.3g} x {gsd[1]:.3g} m, which is not "
            f"{least:g} to {most:g} m; {remedy}"
        )
    return fit


def _gsd(transform: Affine, shape: tuple[int, int]) -> tuple[float, float]:
    lon, lat = transform @ (shape[1] / 2, shape[0] / 2)
    if not (abs(lon) <= 180 and abs(lat) <= 90) or transform.is_degenerate:
        return 0.0, 0.0
    return Grid(LONLAT, transform, shape).gsd


def find_image_pairs(folder: str | PathLike[str]) -> list[Pair]:
    """Return every pair of an xBD folder or download that has an image, by folder and name.

    Parameters
    ----------
    folder
        Holds `images/` and `labels/`, or tiers (train, tier1, tier3, test, hold) that do.

    Raises
    ------
    LabelError
        If there is none, or two tiers have a pair of one name.
    """
    folder = Path(folder)
    pairs = [
        Pair(name, home)
        for home in (folder, *(folder / tier for tier in TIERS))
        for name in sorted(_names(home / "images"))
    ]
    if not pairs:
        raise LabelError(
            f"{folder}: no *_pre_disaster or *_post_disaster image in images/, or in the images/ "
            f"of {', '.join(TIERS)}; give the folder of an xBD download"
        )
    homes: dict[str, Path] = {}
    for pair in pairs:
        if homes.setdefault(pair.name, pair.folder) != pair.folder:
            raise LabelError(
                f"{pair.name}: is in {homes[pair.name]} and in {pair.folder}; georeference one "
                "folder at a time"
            )
    return pairs


def _names(images: Path) -> set[str]:
    stems = [path.stem for path in images.glob("*") if path.suffix.lower() in DRIVERS]
    endings = [f"_{date}_disaster" for date in DATES]
    return {
        stem.removesuffix(ending)
        for stem in stems
        for ending in endings
        if stem.endswith(ending) and stem != ending
    }


@long_work
def georeference(
    pairs: Sequence[Pair], output: str | PathLike[str], *, overwrite: bool = False
) -> Generator[Outcome, None, list[Outcome]]:
    """Write each image of some pairs as a GeoTIFF, placed by the labels of its date; as `Work`.

    A date without labels in degrees takes those of the other. The two GeoTIFFs of a pair appear
    together or not at all; those written before an error, or before the work is closed, stay.

    Parameters
    ----------
    pairs
        Pairs of images; `find_image_pairs` finds them.
    output
        Folder for `<image>.tif`; made where it is not there.
    overwrite
        Replace GeoTIFFs that are there.

    Yields
    ------
    What became of each pair: a pair that is refused does not stop the others.

    Returns
    -------
    What became of all of them, as the result of the work.

    Raises
    ------
    OutputExistsError
        Before any work, if a GeoTIFF is there and `overwrite` is false.
    OptionError
        Before any work, if a GeoTIFF would replace an image.
    OutputError
        If a GeoTIFF cannot be written.
    """
    folder = Path(output)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for pair in pairs:
        for date in DATES:
            with suppress(LabelError):  # without an image it is refused below
                target = _target(pair, date, folder)
                check_output(
                    target, inputs=[pair.image(date)], overwrite=overwrite, extensions=(".tif",)
                )
    outcomes = []
    for pair in pairs:
        try:
            outcomes.append(_write_pair(pair, folder, overwrite))
        except InputError as error:
            outcomes.append(Outcome(pair.name, why=str(error)))
        yield outcomes[-1]
    return outcomes


def _target(pair: Pair, date: str, folder: Path) -> Path:
    return folder / f"{pair.name}_{date}_disaster.tif"


def _write_pair(pair: Pair, folder: Path, overwrite: bool) -> Outcome:
    pixels = {date: read_image(pair.image(date)) for date in DATES}
    files = {
        date: read_label_file(pair.label_file(date))
        for date in DATES
        if pair.label_file(date).exists()
    }
    fits = {date: _fit_date(pair, date, image, files) for date, image in pixels.items()}
    images = []
    with Publication(overwrite=overwrite) as publication:
        for date, (labels_of, fit) in fits.items():
            target = _target(pair, date, folder)
            partial = publication.partial(target, bytes_needed=pixels[date].nbytes)
            with output_errors(target):
                _write_geotiff(partial, pixels[date], fit.transform)
            images.append(GeoImage(target, date, labels_of, fit))
    return Outcome(pair.name, tuple(images))


def _fit_date(
    pair: Pair, date: str, image: np.ndarray, files: Mapping[str, LabelFile]
) -> tuple[str, Fit]:
    """Return whose labels place an image, and the affine: its own, or else its partner's."""
    rows, columns = image.shape[:2]
    for labels_of in (date, *(other for other in DATES if other != date)):
        file = files.get(labels_of)
        fit = fit_image(file.labels, (rows, columns)) if file is not None else None
        if file is None or fit is None:
            continue
        if file.shape not in (None, (rows, columns)):
            stated = " x ".join(str(side) for side in file.shape or ())
            raise LabelError(
                f"{pair.label_file(labels_of)}: its labels are of {stated} pixels and the image of "
                f"{pair.name} {date} has {rows} x {columns}; give the image that was labelled"
            )
        return labels_of, check_fit(fit, (rows, columns), f"{pair.name} {date}")
    raise LabelError(
        f"{pair.name}: neither label file has 3 vertices off a line in pixels and in degrees, so "
        "nothing says where it lies; leave the pair out"
    )


def _write_geotiff(path: Path, image: np.ndarray, transform: Affine) -> None:
    rows, columns = image.shape[:2]
    with rasterio.open(
        path, "w", **PROFILE, height=rows, width=columns, transform=transform
    ) as dataset:
        dataset.write(image.transpose(2, 0, 1))


def to_pixels(path: str | PathLike[str], degrees: np.ndarray) -> np.ndarray:
    """Return where places lie in a georeferenced image.

    Parameters
    ----------
    path
        GeoTIFF.
    degrees
        float64 (n, 2): longitude and latitude (WGS 84).

    Returns
    -------
    float64 (n, 2)
        x and y in pixels from the outer corner of the first.

    Raises
    ------
    SceneReadError
        If the file is no GeoTIFF.
    LabelError
        If it has no georeference, or none that holds the places.
    """
    name = check_file(str(path))
    with environment(name), open_plain(name, "GTiff") as dataset:
        crs, transform = dataset.crs, dataset.transform
    if crs is None or transform.is_identity or transform.is_degenerate:
        raise LabelError(f"{path}: has no georeference that places its labels; get the image again")
    try:
        to_image = transformer(LONLAT, CRS.from_user_input(crs))
        x, y = to_image.transform(degrees[:, 0], degrees[:, 1], errcheck=True)
    except ProjError as error:
        raise LabelError(f"{path}: its CRS does not hold its labels ({error})") from error
    columns, rows = ~transform @ (np.asarray(x), np.asarray(y))
    return np.column_stack([columns, rows])
