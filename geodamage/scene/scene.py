"""Scenes: a pre and a post image of one place, on one working grid; the only door to imagery.

An image alone is a scene, too: of buildings, where nothing is compared, or the post image, where
there is none before.

The grid is metric and north up, with square pixels on an absolute lattice. So a crop of the images
or another area of interest has the same pixels. Images are warped on the fly, window by window, and
a pixel's value does not depend on the window it is read in.
"""

import math
import threading
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from geodamage.datums import datum_doubt
from geodamage.errors import GeodamageWarning, GsdWarning, SceneError, SceneWarning, without_secrets
from geodamage.grid import Grid, GsdRange, ground_area
from geodamage.scene.aoi import read_aoi
from geodamage.scene.dates import AFTER, ALONE, EVERYWHERE, after_alone, dates_of
from geodamage.scene.examination import Examination, examine
from geodamage.scene.exposure import Reading, exposed, remarks, scaled_as
from geodamage.scene.hiding import Hiding
from geodamage.scene.image import Image, crs_name, open_image
from geodamage.scene.lattice import SLACK, worked_gsd, working_lattice
from geodamage.scene.meeting import meeting_point, no_overlap
from geodamage.scene.options import SceneOptions, check_sensors, scene_options
from geodamage.scene.pair import require_two_files
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE, OUTSIDE_AOI, Pixels
from geodamage.scene.probability_maps import ProbabilityMap, open_map
from geodamage.scene.shift import Shift
from geodamage.scene.survey import Block, Ground
from geodamage.sources import Source
from geodamage.windows import Window, mirror, round_down, round_up

if TYPE_CHECKING:
    from geodamage.model.heads import Predictor

#: How many times coarser than the model's coarsest an image may be.
COARSEST = 1.5

#: Ratio of the two images' GSD above which there is a warning, and above which they are refused:
#: once what is finer than the pixels worked on is averaged, and as they are.
RATIO_ODD, RATIO_REFUSED, RATIO_AVERAGED = 1.5, 4.0, 32.0

#: Shortest side of an overlap, and largest region, in pixels.
SHORTEST_SIDE = 8
LARGEST_REGION = 50_000_000_000


class Scene:
    """A pre and a post image of one place, or one alone, on one grid; a context manager.

    Attributes
    ----------
    grid
        The working grid.
    extent
        The overlap of the two images within the grid; pixels are mirrored around it.
    region
        The part that is reported: `extent`, narrowed by the box of the area of interest.
    aoi
        The area of interest in the CRS of the grid, or None.
    pre_outline, post_outline
        Where the images lie, in the CRS of the grid.
    post_shift
        Shift of the post image: a function from arrays x, y to metres east and north; or None.
    """

    grid: Grid
    extent: Window
    region: Window
    aoi: BaseGeometry | None
    pre_outline: BaseGeometry
    post_outline: BaseGeometry
    post_shift: Shift | None

    def __init__(
        self,
        pre: Image | None,
        post: Image | None,
        *,
        gsd: GsdRange,
        options: SceneOptions = SceneOptions(),
        maps: Sequence[ProbabilityMap] = (),
    ) -> None:
        self._dates = dates_of(pre, post)
        self._images = tuple(image for image in (pre, post) if image is not None)
        self._maps = tuple(maps)
        self._reading = threading.Lock()  # GDAL crashes where a file is closed under a reader
        self._is_closed = False
        self._hiding = Hiding(options, self._dates)
        self._sensors = [options.post_sensor if d == "post" else "optical" for d in self._dates]
        self._pre_channels = options.pre_channels
        self._notes: list[tuple[str, type[GeodamageWarning]]] = [
            (note, SceneWarning) for image in self._images for note in image.notes
        ]
        self.post_shift = None
        self._examined = Examination()
        self._check_gsd(gsd)
        first, last = self._images[0], self._images[-1]
        middle = meeting_point(first, last)
        self._lattice = working_lattice(first.first.grid, first.gsd, middle, gsd)
        is_after = self._dates == AFTER
        self.pre_outline = EVERYWHERE if is_after else first.outline(self._lattice.crs)
        self.post_outline = last.outline(self._lattice.crs)
        self._place(options.snap)
        for image in self._images:
            bounds = self.grid.window_bounds(self.extent)
            doubt = datum_doubt(image.first.name, image.first.grid.crs, self.grid.crs, bounds)
            self._notes += [] if doubt is None else [(doubt, SceneWarning)]
        self.aoi = None
        self._aoi_path = options.aoi
        self.region = self.extent
        if options.aoi is not None:
            self._narrow(options.aoi)
        if self.region.size > LARGEST_REGION:
            raise SceneError(
                f"{self.region.height} x {self.region.width} pixels to assess, more than "
                f"{LARGEST_REGION:.0e}; cut it up with --aoi"
            )

    @classmethod
    def open(
        cls,
        pre: Source | Sequence[Source] | None,
        post: Source | Sequence[Source] | None,
        *,
        model: "Predictor | None" = None,
        gsd: GsdRange | None = None,
        options: SceneOptions = SceneOptions(),
        examined: bool = True,
        reading: Reading | None = None,
    ) -> Self:
        """Open a pair of images, or one, and lay the working grid over their overlap.

        Parameters
        ----------
        pre, post
            A GeoTIFF, a folder of tiles, a glob, `@list.txt`, a URL, or a sequence of these. An
            image alone is `pre`, and `post` is None. Without `pre` it is read as neutral grey.
        model
            The model, which determines channels, sensors, stride and ground sample distances.
        gsd
            The ground sample distances a model was made for, metres per pixel; those of `model`
            unless given.
        options
            How to read them.
        examined
            Whether the images are examined first: whether they are a pair, and how they lie.
            Without it, a scene that was examined before is opened again, for its pixels.
        reading
            `reading` of the same scene, if it was opened before. Nothing is examined then.

        Raises
        ------
        TypeError
            If neither a model nor a distance is given.
        ModelError
            If the model takes an image of a radar, and the options do not say that it is one.
        SceneReadError
            If a file cannot be read.
        SceneError
            If the images cannot be used, or not together.
        OptionError
            If an option does not fit them.

        Warns
        -----
        GsdWarning
            If an image is coarser than the model was made for.
        SceneWarning
            If something about the pair is odd.
        """
        if model is not None:
            if post is not None:
                check_sensors(options, model.card)
            options = scene_options(options, model.card, maps=getattr(model, "maps", ()))
            gsd = model.card.gsd if gsd is None else gsd
        if gsd is None:
            raise TypeError("Scene.open: give model=, which says what the images must be, or gsd=")
        with ExitStack() as opened:
            images: dict[str, Image] = {}
            for role, source, scale in zip(
                ("pre", "post"), (pre, post), options.scales, strict=True
            ):
                if source is None:
                    continue
                image = open_image(role, source, scale=scale, **options.tiles_of(role))
                opened.callback(image.close)
                images[role] = image
            maps = []
            for path in options.maps:
                maps.append(open_map(path))
                opened.callback(maps[-1].close)
            if len(images) > 1 and examined and reading is None:
                names = [[tile.name for tile in image.tiles] for image in images.values()]
                require_two_files(*names)
            before, after = images.get("pre"), images.get("post")
            scene = cls(before, after, gsd=gsd, options=options, maps=maps)
            scene._hiding.open(scene._lattice, scene.grid.window_bounds(scene.extent))
            opened.callback(scene._hiding.close)
            scene._notes += [(doubt, SceneWarning) for doubt in scene._hiding.doubts]
            scene._read_as(reading, options)
            if examined and reading is None:
                scene._examine(options)
            for text, category in scene._notes:
                warnings.warn(text, category, stacklevel=2)
            opened.pop_all()  # the scene closes them
        return scene

    def __repr__(self) -> str:
        names = " + ".join(Path(image.first.name).name for image in self._images)
        state = ", closed" if self._is_closed else ""
        return f"<Scene {names}: {self.grid.summary}{state}>"

    @property
    def warnings(self) -> list[str]:
        """What a user should know of the pair."""
        return [without_secrets(text) for text, _ in self._notes]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Facts worth a line that are no warnings: how the images lie and are stretched."""
        found = (*self._examined.remarks, *remarks(self._images))
        return tuple(map(without_secrets, found))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, when a read in progress is done; what was read stays."""
        with self._reading:
            self._is_closed = True
            for image in self._images:
                image.close()
            for saved in self._maps:
                saved.close()
            self._hiding.close()

    def read(self, window: Window) -> Pixels:
        """Read a window of the grid; it may reach beyond the images, and is mirrored there.

        Raises
        ------
        SceneReadError
            If a file is damaged there.
        ValueError
            If the scene is closed.
        """
        with self._reading:
            if self._is_closed:
                raise ValueError("the scene is closed")
            if self.extent.contains(window):
                pixels = self._read_within(window)
            else:
                pixels = self._read_mirrored(window)
        if self.aoi is not None:
            pixels.missing[self._outside_aoi(window)] |= OUTSIDE_AOI
        return pixels

    def _read_within(self, window: Window) -> Pixels:
        place = window.shift(self._origin.row, self._origin.column)
        pre = self._images[0].read(self._lattice, place)
        if self._dates == AFTER:
            maps = self._read_maps(place)
            return after_alone(pre.values, pre.valid, self._pre_channels, maps)
        missing = np.where(pre.valid, np.uint8(0), np.uint8(MISSING_PRE))
        after = pre.values
        if len(self._images) > 1:
            post = self._images[1].read(self._lattice, place, self.post_shift)
            missing |= np.where(post.valid, np.uint8(0), np.uint8(MISSING_POST))
            after = post.values
        return Pixels(pre.values, after, missing, self._read_maps(place))

    def _read_maps(self, place: Window) -> npt.NDArray[np.uint8] | None:
        if not self._maps:
            return None
        return np.stack([saved.read(self._lattice, place) for saved in self._maps])

    def _read_mirrored(self, window: Window) -> Pixels:
        extent = self.extent
        if not window.size:
            return self._read_within(Window(extent.row, extent.column, *window.shape))
        rows = mirror(window.row - extent.row, window.bottom - extent.row, extent.height)
        columns = mirror(window.column - extent.column, window.right - extent.column, extent.width)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
        inner = Window(extent.row + top, extent.column + left, height, width)
        found = self._read_within(inner)

        def taken(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
            return planes.take(rows - top, -2).take(columns - left, -1)  # faster than both at once

        missing = taken(found.missing)
        inside = (window & extent).shift(-window.row, -window.column)
        beyond = np.ones(window.shape, bool)
        beyond[inside.slices if inside.size else np.s_[:0]] = False
        missing[beyond] |= OUTSIDE
        pre = taken(found.pre)
        post = pre if found.post is found.pre else taken(found.post)
        maps = None if found.maps is None else taken(found.maps)
        return Pixels(pre, post, missing, maps)

    def take_blocks(self) -> tuple[Block, ...]:
        """Return the examined blocks of both images, and release them."""
        blocks = self._examined.blocks
        self._examined = replace(self._examined, blocks=())
        return blocks

    @property
    def reading(self) -> Reading:
        """Findings on which the pixels depend; another process can use them."""
        return Reading(tuple(image.scaling for image in self._images), self.post_shift)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the absolute lattice at which the grid begins."""
        return self._origin.row, self._origin.column

    @property
    def margin(self) -> int:
        """Pixels around a window that `mark` has to see."""
        return self._hiding.margin

    def mark(self, pixels: Pixels, window: Window) -> Pixels:
        """Return pixels with flags where something hides the ground.

        Parameters
        ----------
        pixels, window
            Pixels that were read, and their window. The flags of the outer `margin` pixels may be
            wrong.
        """
        marked = self._hiding.mark(pixels, window)
        with self._reading:
            return self._hiding.mark_unusable(marked, window, self._origin, self._lattice)

    def _outside_aoi(self, window: Window) -> npt.NDArray[np.bool_]:
        burnt: npt.NDArray[np.uint8] = rasterize(
            [(self._aoi_pixels, 1)],
            out_shape=window.shape,
            transform=Affine.translation(window.column, window.row),
            dtype=np.uint8,
        )
        return np.asarray(burnt == 0)

    def facts(self) -> dict[str, Any]:
        """Return the facts of the scene for a sidecar, as values of JSON."""
        overlap = shapely.intersection(self.pre_outline, self.post_outline)
        images: dict[str, Any] = {
            name: {**image.facts(), "sensor": sensor}
            for name, image, sensor in zip(self._dates, self._images, self._sensors, strict=True)
        }
        if self._maps:
            images["maps"] = [saved.image.facts() for saved in self._maps]
        return {
            **images,
            "crs": crs_name(self.grid.crs),
            "gsd": round(math.prod(self.grid.gsd) ** 0.5, 6),
            "pixel": self._lattice.pixel,
            "transform": list(self.grid.transform)[:6],
            "shape": list(self.grid.shape),
            "extent": list(self.grid.window_bounds(self.extent)),
            "region": list(self.grid.window_bounds(self.region)),
            "overlap_km2": round(ground_area(overlap, self.grid.crs) / 1e6, 6),
            "aoi": None if self._aoi_path is None else str(self._aoi_path),
            **self._hiding.facts(),
            **self._examined.facts,
        }

    def require_unchanged(self) -> None:
        """Raise `SceneReadError` if an image was written to since it was opened."""
        for image in self._images:
            image.require_unchanged()

    @property
    def _ground(self) -> Ground:
        return Ground(self._lattice, self._origin, self.grid, self.extent)

    def _read_as(self, reading: Reading | None, options: SceneOptions) -> None:
        """Stretch the images, as they were read before or by what they show."""
        if reading is None:
            self._images = exposed(self._images, self._ground, options)
        else:
            self._images = scaled_as(self._images, reading.scalings)
            self.post_shift = reading.shift

    def _examine(self, options: SceneOptions) -> None:
        """Look at blocks of the images, and note what is doubtful."""
        self._examined = examine(self._images, self._ground, options, self._dates)
        self._notes += [(text, SceneWarning) for text in self._examined.doubts]
        self.post_shift = self._examined.shift

    def _check_gsd(self, gsd: GsdRange) -> None:
        found = "buildings" if self._dates == ALONE else "grades"
        for image in self._images:
            name = image.first.name
            made_for = f"{gsd.minimum:g} to {gsd.maximum:g} m"
            if image.gsd > COARSEST * gsd.maximum * SLACK:
                raise SceneError(
                    f"{name}: {image.gsd:.3g} m per pixel, too coarse for a model made for "
                    f"{made_for} (the limit is {COARSEST * gsd.maximum:g} m); use finer imagery"
                )
            if image.gsd > gsd.maximum * SLACK:
                text = (
                    f"{name}: {image.gsd:.3g} m per pixel, coarser than the model was made for "
                    f"({made_for}); {found} are less certain"
                )
                self._notes.append((text, GsdWarning))
        if len(self._images) > 1:
            self._check_ratio(gsd)

    def _check_ratio(self, gsd: GsdRange) -> None:
        pre, post = self._images
        # What is finer than the pixels that are worked on is averaged anyway.
        worked_on = worked_gsd(pre.gsd, gsd)
        first, second = max(pre.gsd, worked_on), max(post.gsd, worked_on)
        ratio = max(pre.gsd / post.gsd, post.gsd / pre.gsd)
        both = f"pre has {pre.gsd:.3g} m per pixel and post {post.gsd:.3g} m"
        if max(first / second, second / first) > RATIO_REFUSED * SLACK:
            raise SceneError(
                f"{both}, more than {RATIO_REFUSED:g} times apart; use images that are more alike"
            )
        if ratio > RATIO_AVERAGED * SLACK:
            name = Path(min(pre, post, key=lambda image: image.gsd).first.name).name
            size = f"{100 / ratio:.3g}%"
            raise SceneError(
                f"{both}, more than {RATIO_AVERAGED:g} times apart; average the finer one first, "
                f"with gdal_translate -r average -outsize {size} {size} {name} new.tif"
            )
        if ratio > RATIO_ODD * SLACK:
            self._notes.append((f"{both}; the finer image loses detail", SceneWarning))

    def _place(self, snap: int) -> None:
        """Lay the grid over the overlap."""
        overlap = shapely.intersection(self.pre_outline, self.post_outline)
        covered = self._lattice.covered(overlap.bounds) if not overlap.is_empty else None
        if covered is None or min(covered.shape) == 0:
            raise no_overlap(self._images[0], self._images[-1])
        if min(covered.shape) < SHORTEST_SIDE:
            names = " and ".join(image.first.name for image in self._images)
            verb = "overlap in" if len(self._images) > 1 else "has, at the model's pixel size,"
            raise SceneError(
                f"{names} {verb} {covered.height} x {covered.width} pixels only; "
                f"{SHORTEST_SIDE} a side are needed"
            )
        smaller = min(self.pre_outline.area, self.post_outline.area)
        if overlap.area < smaller / 2:
            share = f"the images overlap in {overlap.area / smaller:.0%} of the smaller one"
            self._notes.append((f"{share}; are they of one place?", SceneWarning))
        row, column = round_down(covered.row, snap), round_down(covered.column, snap)
        bottom, right = round_up(covered.bottom, snap), round_up(covered.right, snap)
        self._origin = Window(row, column, bottom - row, right - column)
        self.grid = self._lattice.grid(self._origin)
        self.extent = covered.shift(-row, -column)

    def _narrow(self, path: Path) -> None:
        """Limit what is reported to an area of interest."""
        bounds = self.grid.window_bounds(self.extent)
        self.aoi, doubt = read_aoi(path, self.grid.crs, bounds)
        self._notes += [] if doubt is None else [(doubt, SceneWarning)]
        part = shapely.intersection(self.aoi, shapely.box(*bounds))
        covered = Window(0, 0, 0, 0) if part.is_empty else self._lattice.covered(part.bounds)
        self.region = covered.shift(-self._origin.row, -self._origin.column) & self.extent
        if not self.region.size:
            where = "images' overlap" if len(self._images) > 1 else "image"
            raise SceneError(f"{path}: the area of interest does not meet the {where}")
        a, _, c, _, e, f = self.grid.transform[:6]
        place = np.array([c, f])
        self._aoi_pixels = shapely.transform(self.aoi, lambda points: (points - place) / [a, e])
