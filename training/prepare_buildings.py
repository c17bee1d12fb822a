r"""Cut images of buildings into crops with masks, at three scales and in folds by place.

    python -m training.prepare_buildings train_tier_1 -o prepared/open_cities
    python -m training.prepare_buildings AOI_1_Rio Atlanta -o prepared/spacenet --bands 3,2,1
    python -m training.prepare_buildings open_cities openaerialmap -o prepared --test '*_tile_920'

A folder is Open Cities (STAC), SpaceNet, or masks beside images, as downloaded: see
`training.data.building_sources`. The output folder gets `images/`, `masks/`, `index.csv` and
`counts.json`. Crops without a building are kept: they are what a network learns calm from.

A fold gets whole places, never crops: tiles that share ground, strips of one scene, and looks at
one ground from several angles stay together. Tiles that --test names are learnt from by no fold,
nor is anything of their place.
"""

import argparse
import fnmatch
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely

from geodamage.errors import GeodamageError, LabelError, OptionError, OutputExistsError
from geodamage.windows import Window
from geodamage.words import counted
from training.data.building_images import (
    TEST,
    BuildingImage,
    read_building_index,
    write_building_index,
)
from training.data.building_sources import LAYOUTS, find_tiles
from training.data.building_tiles import OpenTile, Tile, check_bands
from training.data.index import METRES_PER_DEGREE
from training.data.splits import LEAST_OVERLAP
from training.runs.records import replace_text

#: Quality of the crops' JPEG: high enough for edges of a pixel's width.
QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """How tiles are cut and put into folds."""

    size: int = 1024
    """Most rows and columns of a crop, pixels."""
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Pixels of a crop for each pixel of its tile, along a side."""
    to_gsd: float = 0.0
    """Metres per pixel that tiles are brought to before the scales count; 0 leaves them."""
    bands: tuple[int, ...] = ()
    """1-based channels of red, green, blue; empty takes the first three."""
    folds: int = 7
    """Number of folds."""
    seed: int = 0
    """Which fold a place comes to where several are as empty."""
    overlap: float = LEAST_OVERLAP
    """Share of the smaller tile that two of one place have in common, at least."""
    buffer: float = 0.0
    """Tiles closer than so many metres are one place; those that share ground always are."""
    by_ground: bool = False
    """Tiles with a georeference are grouped by the ground they show alone, not by their names."""
    gsd: float = 0.0
    """Metres per pixel of tiles that do not say it; 0 is unknown."""
    least_valid: float = 0.05
    """Share of a crop that must be covered by the image."""
    test: tuple[str, ...] = ()
    """Patterns of tiles that are learnt from by no fold."""
    leave_out: tuple[str, ...] = ()
    """Patterns of tiles that are left out."""

    def __post_init__(self) -> None:
        if self.size < 64 or self.folds < 1 or not self.scales or min(self.scales) <= 0:
            raise OptionError("--size is 64 or more, --folds 1 or more, and --scales are above 0")
        if min(self.buffer, self.gsd, self.to_gsd) < 0:
            raise OptionError("--buffer, --gsd and --to-gsd are metres, not less than none")


@dataclass(frozen=True)
class Surveyed:
    """A tile with what grouping needs."""

    tile: Tile
    outline: shapely.Polygon | None
    pixels: int


def survey(tiles: Sequence[Tile], options: CropOptions) -> list[Surveyed]:
    """Open every tile once, so that what is wrong is said before any work.

    Raises
    ------
    GeodamageError
        If one cannot be used.
    """
    found = []
    for tile in tiles:
        with OpenTile(tile, options.bands) as opened:
            found.append(Surveyed(tile, opened.outline, math.prod(opened.shape)))
    return found


def group_tiles(
    surveyed: Sequence[Surveyed],
    *,
    overlap: float = LEAST_OVERLAP,
    buffer: float = 0.0,
    by_ground: bool = False,
) -> list[list[Surveyed]]:
    """Return places: tiles that share the name of a place, ground, or lie within a buffer.

    Parameters
    ----------
    overlap
        Share of the smaller tile from which on two tiles share ground.
    buffer
        Metres; 0 joins tiles only where they overlap.
    by_ground
        Names count only where a tile does not say where it is.
    """
    joined = list(range(len(surveyed)))

    def root(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    by_name: dict[str, int] = {}
    for number, each in enumerate(surveyed):
        known = by_ground and each.outline is not None
        name = f"{each.tile.source}/{each.tile.name}" if known else each.tile.place
        joined[root(number)] = root(by_name.setdefault(name, number))
    for first, second in _near(surveyed, overlap, buffer):
        joined[root(first)] = root(second)
    places: dict[int, list[Surveyed]] = {}
    for number, each in enumerate(surveyed):
        places.setdefault(root(number), []).append(each)
    return list(places.values())


def _near(surveyed: Sequence[Surveyed], overlap: float, buffer: float) -> Iterator[tuple[int, int]]:
    known = [(n, each.outline) for n, each in enumerate(surveyed) if each.outline is not None]
    tree = shapely.STRtree([outline for _, outline in known])
    for number, outline in known:
        reach = buffer / METRES_PER_DEGREE / math.cos(math.radians(outline.centroid.y))
        for found in tree.query(outline.buffer(reach)):
            other, its_outline = known[found]
            shared = outline.intersection(its_outline).area
            same = shared / min(outline.area, its_outline.area) > overlap
            if other > number and (same or (buffer and _metres(outline, its_outline) < buffer)):
                yield number, other


def _metres(first: shapely.Polygon, second: shapely.Polygon) -> float:
    scale = np.array([math.cos(math.radians(first.centroid.y)), 1.0]) * METRES_PER_DEGREE
    flat = shapely.transform([first, second], lambda xy: xy * scale)
    return float(shapely.distance(*flat))


def folds_of(places: Sequence[Sequence[Surveyed]], options: CropOptions) -> list[int]:
    """Return the fold of each place: the largest first, each to the fold with fewest pixels.

    Raises
    ------
    OptionError
        If a pattern of the test part names no tile, or a fold would stay empty.
    """
    names = [each.tile.name for place in places for each in place]
    for pattern in options.test:
        if not fnmatch.filter(names, pattern):
            raise OptionError(f"--test {pattern}: no tile of that name, such as {names[0]}")
    tested = [any(_named(each.tile, options.test) for each in place) for place in places]
    rest = [number for number, out in enumerate(tested) if not out]
    if len(rest) < options.folds:
        raise OptionError(
            f"--folds {options.folds}: places to share out: {len(rest)}, and none is cut "
            "apart; give fewer folds, or more tiles"
        )
    rng = np.random.default_rng(options.seed)
    pixels = [sum(each.pixels for each in place) for place in places]
    folds, held = [TEST] * len(places), np.zeros(options.folds)
    for number in sorted(rest, key=lambda number: (-pixels[number], rng.random())):
        folds[number] = int(np.argmin(held))
        held[folds[number]] += pixels[number]
    return folds


def _named(tile: Tile, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(tile.name, pattern) for pattern in patterns)


def windows_of(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Yield windows of at most `side` pixels that cover a tile; the last ones overlap.

    Source: Open Cities' third place cuts around every building, and repeats the same ground a
    hundred times in a dense street. Here every pixel comes about once at every scale.
    """
    for row in _starts(shape[0], side):
        for column in _starts(shape[1], side):
            yield Window(row, column, min(side, shape[0]), min(side, shape[1]))


def _starts(length: int, side: int) -> list[int]:
    count = max(1, math.ceil(length / side))
    last = max(0, length - side)
    return [round(last * number / max(count - 1, 1)) for number in range(count)]


def crops_of(
    opened: OpenTile, scale: float, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, Window]]:
    """Yield image, mask and window of every crop of a tile at a scale."""
    for window in windows_of(opened.shape, max(1, round(size / scale))):
        shape = max(1, round(window.height * scale)), max(1, round(window.width * scale))
        yield *opened.cut(window, shape), window


def write_tile(
    surveyed: Surveyed, place: tuple[str, int], options: CropOptions, output: Path
) -> Iterator[BuildingImage]:
    """Write the crops of a tile; yields each.

    Parameters
    ----------
    place
        Its name, and its fold.
    """
    tile = surveyed.tile
    with OpenTile(tile, options.bands) as opened:
        gsd = opened.gsd or options.gsd
        first = gsd / options.to_gsd if gsd and options.to_gsd else 1.0
        for scale in options.scales:
            crops = crops_of(opened, scale * first, options.size)
            for number, (image, mask, _) in enumerate(crops):
                if image.any(2).mean() < options.least_valid:
                    continue
                name = f"{tile.source}_{tile.name}_{scale:g}_{number}"
                files = output / "images" / f"{name}.jpg", output / "masks" / f"{name}.png"
                write_image(files[0], image[..., ::-1])
                write_image(files[1], mask)
                yield BuildingImage(
                    *files, tile.name, tile.source, scale, gsd / (scale * first),
                    place[1],
                    bool(mask.any()), place[0],
                )  # fmt: skip


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write an image, blue first, or a grey mask.

    Raises
    ------
    LabelError
        If the disc refuses it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    how = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), pixels, how):
        raise LabelError(f"{path}: cannot be written; is the disc full?")


def prepare_buildings(
    tiles: Sequence[Tile],
    output: Path,
    options: CropOptions,
    *,
    before: Sequence[BuildingImage] = (),
    say: Callable[[str], None],
) -> list[BuildingImage]:
    """Write a prepared folder; its index comes last.

    Parameters
    ----------
    before
        Images that the folder has; they stay as they are.
    say
        Is told what was found.

    Returns
    -------
    list of BuildingImage
        Everything in the folder.

    Raises
    ------
    GeodamageError
        If a tile cannot be used.
    """
    left = [tile for tile in tiles if not _named(tile, options.leave_out)]
    places = group_tiles(
        survey(left, options),
        overlap=options.overlap,
        buffer=options.buffer,
        by_ground=options.by_ground,
    )
    folds = folds_of(places, options)
    say(f"{counted(len(left), 'tile')} of {counted(len(places), 'place')}")
    images = list(before)
    for place, fold in zip(places, folds, strict=True):
        name = min(f"{each.tile.source}/{each.tile.name}" for each in place)
        for each in place:
            images += list(write_tile(each, (name, fold), options, output))
    write_building_index(output, images)
    replace_text(output / "counts.json", json.dumps(counts(images), indent=2) + "\n")
    return images


def counts(images: Sequence[BuildingImage]) -> dict[str, object]:
    """Return how many images each fold and source has, and how many show no building."""
    folds = sorted({image.fold for image in images})
    return {
        "images": len(images),
        "without_buildings": sum(not image.buildings for image in images),
        "places": len({image.place for image in images}),
        "folds": {
            "test" if fold == TEST else str(fold): {
                "images": sum(image.fold == fold for image in images),
                "places": sorted({image.place for image in images if image.fold == fold}),
            }
            for fold in folds
        },
        "sources": {
            source: sum(image.source == source for image in images)
            for source in sorted({image.source for image in images})
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a prepared folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto")
    parser.add_argument("--size", type=int, default=1024, help="most pixels of a crop's side")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--to-gsd", type=float, default=0.0, help="metres per pixel at scale 1")
    parser.add_argument("--bands", default="", help="channels of red, green, blue: 3,2,1")
    parser.add_argument("--folds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--overlap", type=float, default=LEAST_OVERLAP, help="share of a tile that joins two"
    )
    parser.add_argument("--buffer", type=float, default=0.0, help="metres between two places")
    parser.add_argument(
        "--by-ground", action="store_true", help="group georeferenced tiles by overlap, not names"
    )
    parser.add_argument("--gsd", type=float, default=0.0, help="of tiles that do not say it")
    parser.add_argument("--test", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--leave-out", action="append", default=[], metavar="PATTERN")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace an index that is there")
    there.add_argument("--add", action="store_true", help="add to an index that is there")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.prepare_buildings: error: {error}\n")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    chosen = CropOptions(
        size=options.size,
        scales=tuple(options.scales),
        to_gsd=options.to_gsd,
        bands=check_bands(options.bands),
        folds=options.folds,
        seed=options.seed,
        overlap=options.overlap,
        buffer=options.buffer,
        by_ground=options.by_ground,
        gsd=options.gsd,
        test=tuple(options.test),
        leave_out=tuple(options.leave_out),
    )
    output: Path = options.output
    if output.exists() and not output.is_dir():
        raise OutputExistsError(f"{output}: is a file; give a folder")
    there = (output / "index.csv").exists()
    if there and not (options.overwrite or options.add):
        raise OutputExistsError(f"{output}/index.csv: is there; give --add or --overwrite")
    before = read_building_index(output) if there and options.add else []
    tiles = [tile for folder in options.folders for tile in find_tiles(folder, options.layout)]
    again = {(tile.source, tile.name) for tile in tiles} & {(i.source, i.tile) for i in before}
    if again:
        raise LabelError(
            f"{output}: has {'/'.join(min(again))} already; leave it out, or begin anew"
        )
    images = prepare_buildings(tiles, output, chosen, before=before, say=say)
    facts = counts(images)
    print(
        f"{counted(len(images), 'image')}, {facts['without_buildings']} of them without a building"
    )
    for fold in sorted({image.fold for image in images}):
        mine = [image for image in images if image.fold == fold]
        name = "test" if fold == TEST else f"fold {fold}"
        places = sorted({image.place for image in mine})
        shown = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if places[4:] else "")
        print(f"{name:7} {len(mine):5} images of {shown}")


if __name__ == "__main__":
    main()
