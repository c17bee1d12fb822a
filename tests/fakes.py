"""Fakes: a scene without files, a model without a network, and the smallest ONNX graphs."""

import json
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import geopandas as gpd
import numpy as np
import onnx
import shapely
from affine import Affine
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from pyproj import CRS

from geodamage.buildings.footprint_files import Footprints
from geodamage.grid import Grid
from geodamage.model.card import Card, with_card
from geodamage.model.heads import Heads
from geodamage.model.rules import PixelRules
from geodamage.prediction import Strip
from geodamage.scene.pixels import OUTSIDE, OUTSIDE_AOI, Pixels
from geodamage.windows import Window, mirror

#: How often a property is tried.
SMALL = settings(max_examples=40, deadline=None)

UTM = CRS.from_epsg(32616)
#: Half-metre pixels near the middle of a zone; multiples of 64 pixels.
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 3_330_560)

FACTS = {
    "name": "fake",
    "version": "1",
    "task": "assess",
    "gsd_native": 0.5,
    "gsd_min": 0.3,
    "gsd_max": 1.0,
    "stride": 4,
    "context": "local",
    "halo": 4,
    "tile": 32,
    "licence": "CC0-1.0",
    "training_data": "none",
    "bytes_per_pixel": 10.0,
}


def make_card(**facts: object) -> Card:
    """Return a card of a small local model, but for what is said."""
    return Card(**(FACTS | facts))


class FakeScene:
    """A scene of arrays, with the contract of `geodamage.scene.scene.Scene`.

    `missing` holds the flags of the extent; `inside` says which pixels an area of interest holds.
    """

    def __init__(
        self,
        pre: np.ndarray,
        post: np.ndarray,
        *,
        corner: tuple[int, int] = (0, 0),
        region: Window | None = None,
        missing: np.ndarray | None = None,
        inside: np.ndarray | None = None,
    ) -> None:
        rows, columns = pre.shape[1:]
        self.pre, self.post = pre, post
        self.extent = Window(*corner, rows, columns)
        self.region = self.extent if region is None else region
        self.grid = Grid(UTM, TRANSFORM, (self.extent.bottom, self.extent.right))
        self.pre_outline = self.post_outline = shapely.box(*self.grid.window_bounds(self.extent))
        self.aoi = None
        self._missing = np.zeros((rows, columns), np.uint8) if missing is None else missing
        self._inside = inside
        self.read_windows: list[Window] = []

    margin = 0

    def mark(self, pixels: Pixels, window: Window) -> Pixels:
        return pixels

    def read(self, window: Window) -> Pixels:
        self.read_windows.append(window)
        extent = self.extent
        rows = mirror(window.row - extent.row, window.bottom - extent.row, extent.height)[:, None]
        columns = mirror(window.column - extent.column, window.right - extent.column, extent.width)
        missing = self._missing[rows, columns]
        y = np.arange(window.row, window.bottom)[:, None] - extent.row
        x = np.arange(window.column, window.right) - extent.column
        beyond = (y < 0) | (y >= extent.height) | (x < 0) | (x >= extent.width)
        missing = missing | np.where(beyond, np.uint8(OUTSIDE), np.uint8(0))
        if self._inside is not None:
            hidden = beyond | ~self._inside[rows, columns]
            missing |= np.where(hidden, np.uint8(OUTSIDE_AOI), np.uint8(0))
        return Pixels(self.pre[:, rows, columns], self.post[:, rows, columns], missing)


def random_images(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pre and post, uint8 (3, rows, columns)."""
    pair = np.random.default_rng(seed).integers(0, 256, (2, 3, rows, columns), np.uint8)
    return pair[0], pair[1]


def box_sum(plane: np.ndarray, radius: int) -> np.ndarray:
    """Sum (n, rows, columns) over squares, mirrored at the rim; whole numbers, so exact."""
    padded = np.pad(plane.astype(np.int64), [(0, 0), (radius, radius), (radius, radius)], "reflect")
    rows, columns = plane.shape[1:]
    return sum(
        padded[:, i : i + rows, j : j + columns]
        for i in range(2 * radius + 1)
        for j in range(2 * radius + 1)
    )


class BoxModel:
    """A model that sees exactly `radius` pixels around each pixel; remembers what it is asked."""

    resident_bytes = 0

    def __init__(self, radius: int = 2, **facts: object) -> None:
        self.card = make_card(**({"halo": radius} | facts))
        self.rules = PixelRules.of(self.card)
        self.radius = radius
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        self.asked.append((pre, post))
        most = 255 * (2 * self.radius + 1) ** 2
        localisation = box_sum(pre[:, 0], self.radius) / most
        damage = [box_sum(post[:, c % 3], self.radius) + 100 * c + 1 for c in range(4)]
        return Heads(
            localisation[:, None].astype(np.float32), np.stack(damage, 1).astype(np.float32)
        )


def strip_of(
    localisation: np.ndarray, grades: np.ndarray | None = None, missing: np.ndarray | None = None
) -> Strip:
    """Return a strip of probabilities from localisation and grades (1-4), both (rows, columns)."""
    rows, columns = localisation.shape
    grades = np.ones((rows, columns), int) if grades is None else grades
    probabilities = np.zeros((5, rows, columns), np.float32)
    probabilities[0] = 1 - localisation
    for grade in range(1, 5):
        probabilities[grade] = localisation * np.where(grades == grade, 0.7, 0.1)
    flags = np.zeros((rows, columns), np.uint8) if missing is None else missing
    return Strip(Window(0, 0, rows, columns), probabilities, flags)


def cut_strips(whole: Strip, rows: Sequence[int], columns: Sequence[int]) -> list[Strip]:
    """Cut a strip at rows and columns, block by block from top to bottom, as `predict` does."""
    window = whole.window
    tops = [0, *sorted({r for r in rows if 0 < r < window.height}), window.height]
    lefts = [0, *sorted({c for c in columns if 0 < c < window.width}), window.width]
    strips = []
    for left, right in pairwise(lefts):
        for top, bottom in pairwise(tops):
            part = Window(top, left, bottom - top, right - left)
            index = part.slices
            strips.append(
                Strip(
                    part.shift(window.row, window.column),
                    whole.probabilities[:, *index].copy(),
                    whole.missing[index].copy(),
                )
            )
    return strips


def scene_of(whole: Strip) -> SimpleNamespace:
    """Return what `grade_footprints` asks of a scene, for a strip that covers it."""
    grid = Grid(UTM, TRANSFORM, whole.window.shape)
    outline = shapely.box(*grid.bounds)
    return SimpleNamespace(
        grid=grid,
        extent=whole.window,
        region=whole.window,
        aoi=None,
        pre_outline=outline,
        post_outline=outline,
    )


def pixel_box(row: float, column: float, height: float, width: float) -> shapely.Polygon:
    """Return a rectangle of pixels on `TRANSFORM`."""
    left, top = TRANSFORM @ (column, row)
    right, bottom = TRANSFORM @ (column + width, row + height)
    return shapely.box(left, bottom, right, top)


#: Grades of the four houses of an xBD pair that we draw.
SUBTYPES = ("no-damage", "minor-damage", "major-damage", "destroyed")


def write_xbd(folder: Path, names: Sequence[str], size: int = 96) -> Path:
    """Write xBD pairs of four houses each; a pair lies 10 km east of the one before."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        for date in ("pre", "post"):
            image = np.random.default_rng(number).integers(60, 90, (size, size, 3), np.uint8)
            pixels, degrees = [], []
            for n, subtype in enumerate(SUBTYPES):
                left, top = 8 + n % 2 * size // 2, 8 + n // 2 * size // 2
                image[top : top + 20, left : left + 24] = 200 if date == "pre" else 220 - 50 * n
                corners = np.array([[0, 0], [24, 0], [24, 20], [0, 20]]) + np.array([left, top])
                facts = {"uid": f"{name}-{n}"} | ({"subtype": subtype} if date == "post" else {})
                place = corners * [5e-6, -5e-6] + np.array([number * 0.1, 30])
                for features, points in ((pixels, corners), (degrees, place)):
                    shape = shapely.Polygon(points)
                    features.append({"properties": facts, "wkt": shapely.to_wkt(shape, 12)})
            stem = f"{name}_{date}_disaster"
            cv2.imwrite(str(folder / "images" / f"{stem}.png"), image)
            labels = {"features": {"xy": pixels, "lng_lat": degrees}}
            (folder / "labels" / f"{stem}.json").write_text(json.dumps(labels))
    return folder


def onnx_bytes(
    nodes: Sequence[onnx.NodeProto],
    outputs: Mapping[str, object],
    *,
    inputs: Mapping[str, object] | None = None,
    constants: Mapping[str, np.ndarray] | None = None,
    domains: Sequence[str] = (),
) -> bytes:
    """Return an ONNX file; inputs and outputs are shapes by name, uint8 in and float32 out."""
    inputs = {name: ["n", 3, "h", "w"] for name in ("pre", "post")} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info(n, TensorProto.UINT8, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in ("", *domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


#: Localisation is the first channel of pre, damage all of post and a constant; both pixel by pixel.
LOCALISE = [
    helper.make_node("Gather", ["pre", "first"], ["pre_first"], axis=1),
    helper.make_node("Cast", ["pre_first"], ["pre_float"], to=TensorProto.FLOAT),
    helper.make_node("Div", ["pre_float", "most"], ["localisation"]),
]
DAMAGE = [
    helper.make_node("Gather", ["post", "four"], ["post_four"], axis=1),
    helper.make_node("Cast", ["post_four"], ["post_float"], to=TensorProto.FLOAT),
    helper.make_node("Add", ["post_float", "offset"], ["damage"]),
]
CONSTANTS = {
    "first": np.array([0], np.int64),
    "most": np.float32(255),
    "four": np.array([0, 1, 2, 0], np.int64),
    "offset": np.array([1, 2, 3, 9], np.float32).reshape(1, 4, 1, 1),
}
LOCALISATION_SHAPE, DAMAGE_SHAPE = ["n", 1, "h", "w"], ["n", 4, "h", "w"]


def pointwise_bytes(task: str = "assess") -> bytes:
    """Return the graph of a model that looks at each pixel alone."""
    nodes, outputs, used = [], {}, set()
    if task != "damage":
        nodes += LOCALISE
        outputs["localisation"] = LOCALISATION_SHAPE
        used |= {"first", "most"}
    if task != "localisation":
        nodes += DAMAGE
        outputs["damage"] = DAMAGE_SHAPE
        used |= {"four", "offset"}
    inputs = ["pre"] if task == "localisation" else ["pre", "post"]
    return onnx_bytes(
        nodes,
        outputs,
        inputs={name: ["n", 3, "h", "w"] for name in inputs},
        constants={name: value for name, value in CONSTANTS.items() if name in used},
    )


def write_pointwise(path: Path, task: str = "assess", **facts: object) -> Path:
    """Write a model that looks at each pixel alone."""
    card = make_card(**({"task": task, "halo": 0} | facts))
    path.write_bytes(with_card(pointwise_bytes(task), card))
    return path


def workers() -> list[threading.Thread]:
    """Return the threads of ours that run."""
    return [thread for thread in threading.enumerate() if thread.name == "geodamage"]


def given_footprints(*shapes: shapely.Geometry) -> Footprints:
    """Return footprints by the names 0, 1, 2."""
    names = [str(number) for number in range(len(shapes))]
    frame = gpd.GeoDataFrame({"building_id": names}, geometry=list(shapes), crs=UTM)
    return Footprints(frame, "own.gpkg", 0, 0)
