r"""Measure how many buildings are refused as hidden: of clear places, and under drawn clouds.

    python -m benchmarks.hidden DATA training/recipes/compact.csv

DATA is the folder of the real imagery (see CONTRIBUTING.md). No model runs: a building is refused
where less than half of its pixels are seen on both dates, as `assess` does it. These sets come
unchanged: all xBD pairs, half-size pairs, the pair of Joplin and drone tiles. Half-size pairs are
counted by the buildings of their masks, or else by the cells of their ground. Drone tiles have one
date alone, and are counted by their cells. Pairs of which something is refused are listed: look
whether they have clouds of their own. Clouds come from `benchmarks.clouds`, over the pairs of
`--part`. Nothing is chosen here. `--classifier FILE` takes another than the bundled one.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
from affine import Affine

from benchmarks.clouds import clouded
from geodamage.grid import GsdRange
from geodamage.scene.cells import CELL
from geodamage.scene.obscured import Classifier, hidden, read_classifier
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene
from geodamage.xbd.labels import read_xbd
from geodamage.xbd.masks import burn_index
from training.obscured import names_of, read_pair

#: Share of a building that must be seen, and that is under a cloud for it to count as covered.
SEEN, COVERED = 0.5, 0.8
#: Opacity from which a cloud is opaque.
OPAQUE = 0.9


class Tally(NamedTuple):
    """Buildings of a set: all of them, and those that are refused."""

    buildings: int
    refused: int


def refused(index: np.ndarray, hides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the buildings of a raster, and which of them are refused.

    Parameters
    ----------
    index
        int (rows, columns): number of the building of each pixel, 0 for none.
    hides
        bool (rows, columns): pixels that are not seen.
    """
    numbers, counts = np.unique(index[index > 0], return_counts=True)
    lost = np.bincount(index[hides & (index > 0)].ravel(), minlength=index.max(initial=0) + 1)
    return numbers, counts - lost[numbers] < SEEN * counts


def looked_at(images: Sequence[np.ndarray], classifier: Classifier | None) -> np.ndarray:
    """Return the pixels that something hides on any date, of images (rows, columns, 3)."""
    rows, columns = (side // CELL * CELL for side in images[0].shape[:2])
    planes = [np.ascontiguousarray(image[:rows, :columns].transpose(2, 0, 1)) for image in images]
    none = [np.zeros((rows, columns), bool)] * len(planes)
    result = np.zeros(images[0].shape[:2], bool)
    result[:rows, :columns] = np.logical_or.reduce(hidden(planes, none, classifier))
    return result


def no_data(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the black pixels of any date: no data, and not what this is about."""
    black = [
        np.asarray((image < 8).all(-1), np.uint8) for image in images
    ]  # JPEG makes some of it grey
    square = np.ones((9, 9), np.uint8)
    edges = [cv2.morphologyEx(mask, cv2.MORPH_OPEN, square) for mask in black]
    return np.asarray(np.logical_or.reduce([cv2.dilate(mask, square) > 0 for mask in edges]))


def labelled(data: Path, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the buildings of a pair of xBD as a raster of their numbers."""
    return burn_index(read_xbd(data / "xbd" / "labels" / f"{name}_post_disaster.json"), shape)


def clear_pairs(data: Path, classifier: Classifier | None) -> Iterator[tuple[str, Tally]]:
    """Yield what is refused of each pair of xBD as it is."""
    for path in sorted((data / "xbd" / "images").glob("*_post_disaster.*")):
        name = path.name.partition("_post_disaster")[0]
        pair = read_pair(data / "xbd", name)
        index = labelled(data, name, pair[0].shape[:2])
        _, gone = refused(index, looked_at(pair, classifier) & ~no_data(pair))
        yield name, Tally(len(gone), int(gone.sum()))


def half_size(data: Path, classifier: Classifier | None) -> Iterator[tuple[str, Tally]]:
    """Yield what is refused of each half-size pair, by its mask; without one, of its ground."""
    folder = data / "xbd_half512"
    for path in sorted((folder / "images").glob("*_post_disaster.*")):
        name = path.name.partition("_post_disaster")[0]
        # About a metre per pixel: `assess` resamples such imagery to half of it.
        pair = [cv2.resize(image, None, fx=2, fy=2) for image in read_pair(folder, name)]
        mask = folder / "targets" / f"{name}_pre_disaster_target.png"
        hides = looked_at(pair, classifier) & ~no_data(pair)
        if not mask.is_file():
            cells = hides[::CELL, ::CELL]
            yield f"{name} (ground)", Tally(cells.size, int(cells.sum()))
            continue
        found = (np.asarray(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)) > 0).astype(np.uint8)
        _, index = cv2.connectedComponents(found, connectivity=4)
        _, gone = refused(np.repeat(np.repeat(index, 2, 0), 2, 1), hides)
        yield name, Tally(len(gone), int(gone.sum()))


def joplin(data: Path) -> Tally:
    """Return what is refused of the footprints of Joplin, as `Scene` reads the pair."""
    folder = data / "joplin"
    gsd = GsdRange(0.5, 0.3, 1.0)
    with Scene.open(folder / "pre", folder / "post", gsd=gsd,
                    options=SceneOptions(registration="off")) as scene:  # fmt: skip
        shapes = gpd.read_file(folder / "footprints.geojson").to_crs(scene.grid.crs).geometry
        window = scene.extent
        pixels = scene.mark(scene.read(window), window)
        transform = scene.grid.transform @ Affine.translation(window.column, window.row)
        index = rasterio.features.rasterize(
            zip(shapes, range(1, len(shapes) + 1), strict=True), window.shape, transform=transform
        )
    no_data = (pixels.missing & 3) > 0
    index[no_data] = 0
    _, gone = refused(index, (pixels.missing > 0) & ~no_data)
    return Tally(len(gone), int(gone.sum()))


def under_clouds(
    data: Path, names: Sequence[str], share: float, classifier: Classifier | None
) -> Iterator[tuple[str, Tally, Tally]]:
    """Yield, of each pair under clouds over post, what is refused of covered and clear ones."""
    for number, name in enumerate(names):
        pre, post = read_pair(data / "xbd", name)
        index = labelled(data, name, pre.shape[:2])
        cloudy, opacity = clouded(np.random.default_rng(number), post, share)
        numbers, gone = refused(index, looked_at((pre, cloudy), classifier))
        hides = np.bincount(index.ravel(), (opacity >= OPAQUE).ravel())[numbers]
        size = np.bincount(index.ravel())[numbers]
        touched = np.bincount(index.ravel(), (opacity > 0).ravel())[numbers] > 0
        covered = hides >= COVERED * size
        yield (name, Tally(int(covered.sum()), int(gone[covered].sum())),
               Tally(int((~touched).sum()), int(gone[~touched].sum())))  # fmt: skip


def drone_tiles(data: Path, classifier: Classifier | None) -> Iterator[tuple[str, Tally]]:
    """Yield what is called hidden of the cells of each drone tile."""
    folders = (data / "open_cities" / "images", data / "openaerialmap" / "chips")
    for path in sorted(path for folder in folders for path in folder.glob("*.*")):
        with rasterio.open(path) as dataset:
            rows, columns = (side // CELL * CELL for side in dataset.shape)
            window = ((0, rows), (0, columns))
            image, valid = dataset.read((1, 2, 3), window=window), dataset.dataset_mask()
        missing = valid[:rows, :columns] == 0
        (found,) = hidden([image], [missing], classifier)
        yield path.name, Tally(rows * columns // CELL**2, int(found.sum()) // CELL**2)


def total(tallies: Iterator[tuple[str, Tally]], name: str) -> None:
    """Print the row of a set, and on stderr each place of which something is refused."""
    counts = np.zeros(3, int)
    for place, tally in tallies:
        counts += (1, *tally)
        if tally.refused:
            print(f"{place}: {tally.refused} of {tally.buildings}", file=sys.stderr, flush=True)
    print(f"| {name} | {counts[0]} | {counts[1]} | {counts[2]} | "
          f"{counts[2] / max(counts[1], 1):.2%} |", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--classifier", type=Path)
    options = parser.parse_args(arguments)
    classifier = None if options.classifier is None else read_classifier(options.classifier)
    print("| as they are | places | buildings | refused | share |\n|---|--:|--:|--:|--:|")
    total(clear_pairs(options.data, classifier), "xBD")
    half = list(half_size(options.data, classifier))
    for part, name in ((False, "half size"), (True, "half size (cells of ground)")):
        total((one for one in half if one[0].endswith("(ground)") == part), name)
    total(iter([("joplin", joplin(options.data))]), "Joplin")
    total(drone_tiles(options.data, classifier), "drone tiles (cells)")
    print("\n| clouds over | covered | refused | share | clear | refused | share |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    names = names_of(options.split, options.part)
    for share in (0.97, 0.6, 0.3):
        sums = np.zeros(4, int)
        for place, covered, clear in under_clouds(options.data, names, share, classifier):
            sums += (*covered, *clear)
            if covered.refused < 0.97 * covered.buildings:
                print(f"{place}, {share:.0%}: {covered}", file=sys.stderr, flush=True)
        shares = [f"{sums[n + 1] / max(sums[n], 1):.1%}" for n in (0, 2)]
        print(f"| {share:.0%} | {sums[0]} | {sums[1]} | {shares[0]} | {sums[2]} | {sums[3]} | "
              f"{shares[1]} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
