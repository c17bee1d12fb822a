"""Pictures for reports: both dates at a size that a page can hold, chips, and layers of buildings.

Arrays here are pictures, uint8 (rows, columns, 3), red first.
"""

import base64
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import ProjError
from rasterio.features import rasterize

from geodamage.errors import GeodamageWarning, InputError, OutputError
from geodamage.grid import Grid, GsdRange, transformer
from geodamage.scene.options import SceneOptions
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE
from geodamage.scene.scene import Scene
from geodamage.scene.sheets import pixel_coordinates
from geodamage.windows import Window

Pixels = npt.NDArray[np.uint8]
Bounds = tuple[float, float, float, float]
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

#: Pixels of one date in a page; as WebP about half a byte each.
MOST_PIXELS = 3_000_000
#: Source: WebP Container Specification, 16383 a side; half of it is plenty.
LONGEST_SIDE = 8_000
#: Of 100. Roofs of a few pixels still look like roofs.
QUALITY = 82
#: What no image shows.
EMPTY = 226

#: Pixels a side of a chip in the page, and metres a side on the ground, at least and at most.
CHIP_SIDE = 200
CHIP_METRES = (40.0, 240.0)
#: Of what is read for a chip; an image of centimetres is read around the middle only.
CHIP_PIXELS = 1_600

#: Finest and coarsest pixels there are, metres: a picture takes imagery as it is.
ANY_GSD = GsdRange(0.5, 1e-6, 1e6)


@dataclass(frozen=True, kw_only=True)
class Imagery:
    """The images of both dates, and how they are read.

    Attributes
    ----------
    pre, post
        Paths that `assess` takes; `pre` is None of a result of the post image alone.
    options
        How they are read; an area of interest bounds the picture.
    """

    pre: Source | None
    post: Source
    options: SceneOptions = field(default_factory=SceneOptions)

    @contextmanager
    def open(self, gsd: GsdRange = ANY_GSD) -> Iterator[Scene]:
        """Open the images as a scene; what is odd about them was said when they were assessed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeodamageWarning)
            scene = Scene.open(self.pre, self.post, gsd=gsd, options=self.options, examined=False)
        with scene:
            yield scene


class Dates(NamedTuple):
    """Both dates as pictures of one place.

    Attributes
    ----------
    pre, post
        uint8 (rows, columns, 3); `pre` is None where there is no pre image.
    grid
        Where their pixels lie.
    """

    pre: Pixels | None
    post: Pixels
    grid: Grid


class Chip(NamedTuple):
    """A building before and after, uint8 (side, side, 3); before is None where no image is."""

    pre: Pixels | None
    post: Pixels


def imagery_of(
    facts: Mapping[str, Any], pre: Source | None, post: Source, **options: Any
) -> Imagery:
    """Return images with the channels that were assessed, by the facts in a sidecar.

    A model of more than three channels is shown by its first three, one of fewer by its first.
    """
    scene = _mapping(facts.get("scene"))
    for role in ("pre", "post"):
        bands = _mapping(scene.get(role)).get("bands")
        if isinstance(bands, list) and bands and all(type(number) is int for number in bands):
            shown = tuple(bands[:3] if len(bands) >= 3 else bands[:1])
            options |= {f"{role}_bands": shown, f"{role}_channels": len(shown)}
    return Imagery(pre=pre, post=post, options=SceneOptions(**options))


def region_of(facts: Mapping[str, Any], crs: CRS) -> Bounds | None:
    """Return the assessed box by the facts in a sidecar, in a CRS; None where it is not told.

    Raises
    ------
    InputError
        If the CRS in the sidecar is not known, or the box has no place in it.
    """
    scene = _mapping(facts.get("scene"))
    bounds, name = scene.get("region"), scene.get("crs")
    if not isinstance(bounds, list) or len(bounds) != 4 or not isinstance(name, str):
        return None
    if not all(isinstance(value, int | float) for value in bounds):
        return None
    try:
        return carry(tuple(bounds), CRS.from_user_input(name), crs)
    except ProjError as error:
        raise InputError(
            f"the sidecar has a region of no known CRS ({name[:80]!r}); copy it again, or assess "
            "again"
        ) from error


def carry(bounds: Bounds, source: CRS, target: CRS) -> Bounds:
    """Return the box around a box in another CRS."""
    if source == target:
        return bounds
    found = transformer(source, target).transform_bounds(*bounds)
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_dates(
    imagery: Imagery, region: Bounds | None = None, *, most_pixels: int = MOST_PIXELS
) -> Dates:
    """Read both dates over a region, averaged down until they fit a page.

    Parameters
    ----------
    imagery
        Which images.
    region
        Box in the CRS of the scene's grid; None, or a box beside the images, for all of them.
    most_pixels
        Most pixels of one date.
    """
    with imagery.open() as scene:
        window = _window(scene, region)
        factor = max(math.sqrt(window.size / most_pixels), max(window.shape) / LONGEST_SIDE)
        if factor <= 1:
            return _dates(scene, window, imagery)
        gsd = math.prod(scene.grid.gsd) ** 0.5 * factor
    with imagery.open(GsdRange(gsd, gsd, 1e6)) as scene:
        return _dates(scene, _window(scene, region), imagery)


def _window(scene: Scene, region: Bounds | None) -> Window:
    """Return the pixels of a scene that lie in a region."""
    whole = scene.region
    if region is None:
        return whole
    a, _, x, _, e, y = scene.grid.transform[:6]
    column, end = math.floor((region[0] - x) / a), math.ceil((region[2] - x) / a)
    row, stop = math.floor((region[3] - y) / e), math.ceil((region[1] - y) / e)
    part = Window(row, column, max(stop - row, 0), max(end - column, 0)) & whole
    return part if part.size else whole


def _dates(scene: Scene, window: Window, imagery: Imagery) -> Dates:
    pre, post = _read(scene, window)
    return Dates(None if imagery.pre is None else pre, post, scene.grid.crop(window))


def _read(scene: Scene, window: Window) -> tuple[Pixels, Pixels]:
    """Return a window of both dates as pictures; grey where an image shows nothing."""
    pixels = scene.read(window)

    found = []
    for values, flag in ((pixels.pre, MISSING_PRE), (pixels.post, MISSING_POST)):
        picture = np.moveaxis(values if len(values) == 3 else values[[0, 0, 0]], 0, 2).copy()
        picture[(pixels.missing & (flag | OUTSIDE)) != 0] = EMPTY
        found.append(picture)
    return found[0], found[1]


def read_chips(
    imagery: Imagery, shapes: Sequence[shapely.Geometry], crs: CRS, *, side: int = CHIP_SIDE
) -> list[Chip]:
    """Read buildings before and after, each outlined, north up.

    Parameters
    ----------
    imagery
        Which images.
    shapes
        The buildings, not empty.
    crs
        Theirs.
    side
        Pixels a side of a picture.
    """
    with imagery.open() as scene:
        to_grid = transformer(crs, scene.grid.crs)

        def place(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.column_stack(to_grid.transform(points[:, 0], points[:, 1]))

        chips = [_chip(scene, shapely.transform(shape, place), side) for shape in shapes]
    return chips if imagery.pre is not None else [chip._replace(pre=None) for chip in chips]


def _chip(scene: Scene, shape: shapely.Geometry, side: int) -> Chip:
    window = _around(scene, shape)
    shape = shapely.simplify(shape, 0.75 * abs(scene.grid.transform.a))  # no steps of pixels
    pre, post = (
        cv2.resize(picture, (side, side), interpolation=_kernel(window, side))
        for picture in _read(scene, window)
    )
    outline = _outline(shape, scene.grid.crop(window).transform, side / window.height)
    return Chip(_outlined(np.asarray(pre), outline), _outlined(np.asarray(post), outline))


def _around(scene: Scene, shape: shapely.Geometry) -> Window:
    """Return the square of pixels around a building, with some of its surroundings."""
    a, _, x, _, e, y = scene.grid.transform[:6]
    left, bottom, right, top = shapely.bounds(shape).tolist()
    metres = math.prod(scene.grid.gsd) ** 0.5
    least, most = (round(side / metres) for side in CHIP_METRES)
    side = round(1.6 * max(right - left, top - bottom) / a)
    side = max(min(max(side, least), most, CHIP_PIXELS), 8)
    column = round(((left + right) / 2 - x) / a - side / 2)
    row = round(((top + bottom) / 2 - y) / e - side / 2)
    return Window(row, column, side, side)


def _kernel(window: Window, side: int) -> int:
    return cv2.INTER_AREA if window.height > side else cv2.INTER_CUBIC


def _outline(
    shape: shapely.Geometry, transform: Affine, zoom: float
) -> list[npt.NDArray[np.int32]]:
    """Return the rings of a building in sixteenths of the pixels of a chip."""

    def place(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        columns, rows = pixel_coordinates(transform, points[:, 0], points[:, 1])
        return np.column_stack([columns, rows]) * zoom

    pixels = shapely.transform(shape, place)
    lines = shapely.get_parts(shapely.get_rings(shapely.get_parts(pixels)))
    return [np.round(shapely.get_coordinates(line) * 16).astype(np.int32) for line in lines]


def _outlined(picture: Pixels, rings: list[npt.NDArray[np.int32]]) -> Pixels:
    """Return a picture with rings in white on black, seen on any ground."""
    canvas = np.ascontiguousarray(picture)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.polylines(canvas, rings, True, colour, width, cv2.LINE_AA, shift=4)
    return canvas


def burn(
    shapes: npt.NDArray[np.object_], values: npt.NDArray[np.uint8], grid: Grid
) -> npt.NDArray[np.uint8]:
    """Draw buildings into pixels; where they overlap the higher code wins.

    Parameters
    ----------
    shapes
        Buildings in the CRS of the grid, or None.
    values
        Code of each, from 1.
    grid
        Grid of the result.

    Returns
    -------
    uint8 (rows, columns)
        Codes; 0 where there is no building. Each building has a pixel at least.
    """
    order = np.argsort(values, kind="stable")
    drawn = [
        (shapes[i], int(values[i]))
        for i in order
        if shapes[i] is not None and not shapes[i].is_empty
    ]
    if not drawn:
        return np.zeros(grid.shape, np.uint8)
    return np.asarray(
        rasterize(
            drawn,
            out_shape=grid.shape,
            transform=grid.transform,
            dtype=np.uint8,
            all_touched=True,
        )
    )


def as_photograph(picture: Pixels) -> str:
    """Return a picture as a WebP in a `data:` URI."""
    return _uri("webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def as_stencil(inside: npt.NDArray[np.bool_]) -> str:
    """Return a mask as a PNG in a `data:` URI, opaque where it holds."""
    rows, columns = inside.shape
    picture = np.zeros((rows, columns, 4), np.uint8)
    picture[..., 3] = inside * np.uint8(255)
    return _uri("png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _uri(kind: str, picture: Pixels, options: list[int]) -> str:
    is_done, encoded = cv2.imencode(f".{kind}", np.ascontiguousarray(picture), options)
    if not is_done:
        raise OutputError(
            f"a picture of {picture.shape[0]} x {picture.shape[1]} pixels cannot be written as"
            f" {kind}; install opencv-python-headless with {kind}"
        )
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
