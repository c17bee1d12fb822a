"""Factories that build small rasters, models and scenes in code."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import onnx
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner, Result
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from geodamage.cli import main
from geodamage.model import engines
from geodamage.model.card import Card, with_card

# These run under the Python of QGIS, by their own pytest.ini.
collect_ignore = ["qgis"]

# A busy machine is no failure: nothing here is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def no_kept_verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test go by what is known of this machine, nor add to it."""
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "cache_folder", lambda: folder)
        # Which engine is faster here and now shall decide no test.
        patch.setattr(engines, "TIMED_BYTES", 2**31)
        yield


UTM = "EPSG:32616"
CORNER = 629_600.0, 3_330_560.0  # multiples of 64 pixels of 0.5 m


def make_raster(
    path: Path,
    array: np.ndarray,
    *,
    crs: object = UTM,
    transform: Affine | None = None,
    nodata: float | None = None,
    **profile: object,
) -> Path:
    """Write (channels, rows, columns) as a GeoTIFF; half-metre pixels at `CORNER` unless said."""
    if array.ndim == 2:
        array = np.stack([array] * 3)
        array[2].flat[0] ^= 1  # a colour, so that it is no panchromatic image
    if transform is None:
        transform = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])
    colours = {"photometric": "RGB"} if len(array) == 3 and array.dtype == np.uint8 else {}
    mask = profile.pop("mask", None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(array),
            height=array.shape[1],
            width=array.shape[2],
            dtype=array.dtype,
            crs=crs,
            transform=transform,
            nodata=nodata,
            **(colours | profile),
        ) as dataset,
    ):
        dataset.write(array)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def make_pixels(
    rows: int, columns: int, *, channels: int = 3, seed: int = 0, low: int = 1, high: int = 256
) -> np.ndarray:
    """Return random uint8 (channels, rows, columns); none is 0 unless `low` says so."""
    generator = np.random.default_rng(seed)
    return generator.integers(low, high, (channels, rows, columns)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path: Path) -> Callable[..., Path]:
    """Return `make_raster` for a name in a folder of this test."""

    def write(name: str, array: np.ndarray, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return make_raster(path, array, **options)

    return write


#: First channel of a building in a pre image, of ground in both, and of each grade in a post image.
ROOF, GROUND = 250, 20
POST_VALUE = {1: 60, 2: 100, 3: 140, 4: 180}


def _bright_graph() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Return the nodes of the model that `make_model` writes, and their constants."""
    constants = {
        "first": np.array([0], np.int64),
        "scale": np.float32(0.25),
        "threshold": np.float32(110),
        "values": np.array(list(POST_VALUE.values()), np.float32).reshape(1, 4, 1, 1),
        "width": np.float32(40),
        "one": np.float32(1),
        "least": np.float32(0.02),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["pre", "first"], ["pre_first"], axis=1),
        node("Cast", ["pre_first"], ["pre_float"], to=TensorProto.FLOAT),
        node("AveragePool", ["pre_float"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Sub", ["mean", "threshold"], ["above"]),
        node("Mul", ["above", "scale"], ["steep"]),
        node("Sigmoid", ["steep"], ["localisation"]),
        node("Gather", ["post", "first"], ["post_first"], axis=1),
        node("Cast", ["post_first"], ["post_float"], to=TensorProto.FLOAT),
        node("Sub", ["post_float", "values"], ["off"]),
        node("Abs", ["off"], ["distance"]),
        node("Div", ["distance", "width"], ["relative"]),
        node("Sub", ["one", "relative"], ["likeness"]),
        node("Max", ["likeness", "least"], ["damage"]),
    ]
    return nodes, constants


def make_model(
    path: Path, *, halo: int = 8, stride: int = 16, tile: int = 96, **card: object
) -> Path:
    """Write a model that finds what is bright in `pre` and grades it by its brightness in `post`.

    It outlines a rectangle of `ROOF` on `GROUND` exactly, and looks one pixel around itself.
    """
    nodes, constants = _bright_graph()

    def tensor(name: str, kind: int, channels: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["n", channels, "h", "w"])

    graph = helper.make_graph(
        nodes,
        "bright",
        [
            tensor(name, TensorProto.UINT8, len(card.get(f"{name}_channels", "rgb")))
            for name in ("pre", "post")
        ],
        [tensor("localisation", TensorProto.FLOAT, 1), tensor("damage", TensorProto.FLOAT, 4)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    facts = {
        "name": "bright",
        "version": "1",
        "task": "assess",
        "gsd_native": 0.5,
        "gsd_min": 0.3,
        "gsd_max": 1.0,
        "stride": stride,
        "context": "local",
        "halo": halo,
        "tile": tile,
        "licence": "CC0-1.0",
        "training_data": "none",
        "bytes_per_pixel": 200.0,
    }
    path.write_bytes(with_card(model.SerializeToString(), Card(**(facts | card))))
    return path


class Roof(NamedTuple):
    """A rectangle of pixels with a grade."""

    row: int
    column: int
    height: int
    width: int
    grade: int

    @property
    def polygon(self) -> shapely.Polygon:
        """Where it lies in `UTM`."""
        left, top = CORNER[0] + self.column / 2, CORNER[1] - self.row / 2
        return shapely.box(left, top - self.height / 2, left + self.width / 2, top)


#: One of each grade; the second and third reach across the cores of 64 pixels.
ROOFS = (
    Roof(10, 10, 20, 24, 1),
    Roof(50, 40, 30, 40, 2),
    Roof(20, 100, 70, 16, 3),
    Roof(100, 20, 12, 12, 4),
    Roof(104, 60, 16, 32, 4),
)


class Pair(NamedTuple):
    """Two images of one place."""

    pre: Path
    post: Path


def make_arrays(
    shape: tuple[int, int] = (128, 160), roofs: Iterable[Roof] = ROOFS
) -> tuple[np.ndarray, np.ndarray]:
    """Return pre and post of a place that `make_model` understands, uint8 (3, rows, columns)."""
    pre, post = (np.full((3, *shape), GROUND, np.uint8) for _ in range(2))
    for row, column, height, width, grade in roofs:
        box = slice(row, row + height), slice(column, column + width)
        pre[:, *box] = ROOF
        post[:, *box] = POST_VALUE[grade]
    # No ground is of one value, nor without colour; the model looks at the first channel alone.
    generator = np.random.default_rng(0)
    for image in (pre, post):
        image[1:] += generator.integers(1, 5, (2, *shape)).astype(np.uint8)
    return pre, post


def make_scene(
    folder: Path,
    shape: tuple[int, int] = (128, 160),
    roofs: Iterable[Roof] = ROOFS,
    **options: object,
) -> Pair:
    """Write pre.tif and post.tif with rectangular buildings of chosen grades."""
    pre, post = make_arrays(shape, roofs)
    folder.mkdir(parents=True, exist_ok=True)
    return Pair(
        make_raster(folder / "pre.tif", pre, **options),
        make_raster(folder / "post.tif", post, **options),
    )


def run_command(*arguments: object) -> Result:
    """Run `geodamage` in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def listing(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that finds what is bright."""
    return make_model(tmp_path_factory.mktemp("model") / "bright.onnx")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a pair with `ROOFS` on it; not to be changed."""
    return make_scene(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def found(pair: Pair, model: Path, tmp_path_factory: pytest.TempPathFactory) -> gpd.GeoDataFrame:
    """Return the buildings of the pair, from the command without options."""
    output = tmp_path_factory.mktemp("found") / "b.gpkg"
    result = run_command("assess", *pair, "-o", output, "--model", model)
    assert result.exit_code == 0, result.stderr
    return gpd.read_file(output, layer=0)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Check afterwards that every thread of ours has ended."""
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert "geodamage" not in names
