"""Factories that build small rasters in code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

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
