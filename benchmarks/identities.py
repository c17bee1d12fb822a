"""How many buildings keep their identity from one result of a scene to another.

    python -m benchmarks.identities before.gpkg after.gpkg

Buildings are matched by overlap; each is named again by lattices of several distances, and as it is
in the files. The figures beside `COARSEST` come from the sample as it was until 2026-11-29, and
from the mosaic of Joplin as JPEG in YCbCr. rasterio 1.4.4 and 1.5.2 read both without
`geodamage.scene.jpeg`.
"""

import argparse
from pathlib import Path

import geopandas as gpd
import numpy as np
from pyproj import Transformer

from geodamage.buildings.identities import Former, Identities

SPACINGS = (2.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def pairs_of(before: gpd.GeoDataFrame, after: gpd.GeoDataFrame) -> list[tuple[int, int]]:
    """Return rows of buildings of both results that overlap by more than half of their union."""
    rows = [str(row) for row in range(len(before))]
    to_lonlat = Transformer.from_crs(before.crs, "EPSG:4326", always_xy=True)
    named = Identities(to_lonlat, Former(rows, before.geometry.to_numpy()))
    names = named.name(after.geometry.to_numpy())
    known = set(rows)
    return [(int(name), row) for row, name in enumerate(names) if name in known]


def kept(before: list[str], after: list[str], pairs: list[tuple[int, int]]) -> str:
    """Return how many pairs have one identity, and whether identities are unique."""
    same = sum(before[one] == after[other] for one, other in pairs)
    twice = len(before) - len(set(before)) + len(after) - len(set(after))
    return f"{same} of {len(pairs)} kept, {twice} twice"


def main() -> None:
    """Read two results and print what they have in common."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    before = gpd.read_file(options.before)
    after = gpd.read_file(options.after).to_crs(before.crs)
    pairs = pairs_of(before, after)
    first, second = (frame["building_id"].astype(str).tolist() for frame in (before, after))
    print(f"{len(before)} and {len(after)} buildings; as they are: {kept(first, second, pairs)}")
    to_lonlat = Transformer.from_crs(before.crs, "EPSG:4326", always_xy=True)
    for spacing in SPACINGS:
        first, second = (
            Identities(to_lonlat, spacing=spacing).name(np.asarray(frame.geometry))
            for frame in (before, after)
        )
        print(f"{spacing:4.0f} m: {kept(first, second, pairs)}")


if __name__ == "__main__":
    main()
