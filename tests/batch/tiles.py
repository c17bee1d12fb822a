"""Small tiles, and their names."""

from pathlib import Path

from affine import Affine

from tests.conftest import CORNER, make_pixels, make_raster


def tile(path: Path, east: float, north: float = 0.0, size: int = 64) -> Path:
    """Write a tile of 32 m whose corner lies so many metres from `CORNER`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(0.5, 0, CORNER[0] + east, 0, -0.5, CORNER[1] + north)
    return make_raster(path, make_pixels(size, size), transform=transform)


def names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]
