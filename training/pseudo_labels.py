r"""Write what an ensemble says of images without labels as soft labels, for a second round.

    python -m training.pseudo_labels IMAGES --by runs/b1-fold0 runs/b1-fold1 \
        -o prepared/soft --tta full --negatives-to prepared/second

The output is a prepared folder whose masks are grey: how sure the ensemble is. A recipe names it by
`soft_folder`. With --negatives-to, crops become labelled negatives of another prepared folder if
both the presence head and every pixel say that there is no building. Every fold learns from them.

Never give images that a network is scored on.
"""

import argparse
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geodamage.errors import GeodamageError, LabelError, OptionError, OutputExistsError
from training.building_predictor import SYMMETRIES, Answer, BuildingEnsemble
from training.data.building_images import (
    LEARNT,
    BuildingImage,
    read_building_index,
    write_building_index,
)
from training.data.building_sources import image_tiles
from training.data.building_tiles import OpenTile, Tile, check_bands
from training.predictor import read_trained
from training.prepare_buildings import CropOptions, crops_of, say, write_image

#: Both below it: an image without a building. Source: Open Cities' third place,
#: inference.py:99-103.
CALM = 0.2


@dataclass(frozen=True)
class Crop:
    """A crop with what the ensemble says of it.

    Attributes
    ----------
    name
        Name of its files.
    image
        uint8 (rows, columns, 3).
    answer
        Answer of the ensemble.
    scale, gsd
        Scale and GSD of a `BuildingImage`.
    """

    name: str
    tile: Tile
    image: np.ndarray
    answer: Answer
    scale: float
    gsd: float

    @property
    def is_negative(self) -> bool:
        """Whether nothing in it looks like a building."""
        presence = self.answer.presence
        calm = float(self.answer.probability.max()) < CALM
        return presence is not None and presence < CALM and calm

    def written(self, folder: Path, mask: np.ndarray) -> BuildingImage:
        """Write image and mask; return their row of an index."""
        files = folder / "images" / f"{self.name}.jpg", folder / "masks" / f"{self.name}.png"
        write_image(files[0], self.image[..., ::-1])
        write_image(files[1], mask)
        found = bool((mask >= 128).any())
        tile = self.tile
        return BuildingImage(
            *files, tile.name, tile.source, self.scale, self.gsd, LEARNT, found, tile.place
        )


def labelled_crops(
    tiles: Sequence[Tile], ensemble: BuildingEnsemble, options: CropOptions
) -> Iterator[Crop]:
    """Yield every crop of every tile with what the ensemble says of it."""
    for tile in tiles:
        with OpenTile(tile, options.bands) as opened:
            gsd = opened.gsd or options.gsd
            first = gsd / options.to_gsd if gsd and options.to_gsd else 1.0
            for scale in options.scales:
                crops = crops_of(opened, scale * first, options.size)
                for number, (image, _, _) in enumerate(crops):
                    if image.any(2).mean() >= options.least_valid:
                        name = f"{tile.source}_{tile.name}_{scale:g}_{number}"
                        own_gsd = gsd / (scale * first)
                        yield Crop(name, tile, image, ensemble(image), scale, own_gsd)


def write_soft(
    crops: Iterator[Crop], output: Path, negatives: Path | None, tell: Callable[[str], None]
) -> None:
    """Write soft labels, and negatives where they are asked for.

    Raises
    ------
    LabelError
        If there is nothing to write, or nothing that a negative can be told by.
    """
    soft: list[BuildingImage] = []
    calm: list[BuildingImage] = []
    share = 0.0
    for crop in crops:
        if negatives is not None and crop.answer.presence is None:
            raise LabelError("--negatives-to: no network here has a presence head; leave it out")
        if negatives is not None and crop.is_negative:
            empty = np.zeros(crop.image.shape[:2], np.uint8)
            calm.append(crop.written(negatives, empty))
            continue
        grey = np.rint(crop.answer.probability * 255).astype(np.uint8)
        soft.append(crop.written(output, grey))
        share += float((grey >= 128).mean())
    if not soft:
        raise LabelError(f"{output}: no crop with anything to learn from; give other images")
    write_building_index(output, soft)
    tell(f"{len(soft)} soft labels, {share / len(soft):.1%} building pixels on average")
    if negatives is not None and calm:
        write_building_index(negatives, [*read_building_index(negatives), *calm])
    if negatives is not None:
        tell(f"{len(calm)} negatives added to {negatives}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write soft labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="+", help="folders of images")
    parser.add_argument("--by", type=Path, nargs="+", required=True, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--leave-out", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--tta", choices=SYMMETRIES, default="full")
    parser.add_argument("--size", type=int, default=1024, help="most pixels of a crop's side")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0])
    parser.add_argument("--to-gsd", type=float, default=0.0, help="metres per pixel at scale 1")
    parser.add_argument("--gsd", type=float, default=0.0, help="of images that do not say it")
    parser.add_argument("--bands", default="", help="channels of red, green, blue: 3,2,1")
    parser.add_argument("--negatives-to", type=Path, metavar="PREPARED")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.pseudo_labels: error: {error}\n")


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    output, negatives = options.output, options.negatives_to
    if (output / "index.csv").exists() or output.is_file():
        raise OutputExistsError(f"{output}: is there; give another -o, or remove it")
    known = set() if negatives is None else {i.tile for i in read_building_index(negatives)}
    chosen = CropOptions(
        size=options.size,
        scales=tuple(options.scales),
        to_gsd=options.to_gsd,
        bands=check_bands(options.bands),
        gsd=options.gsd,
    )
    tiles = [tile for folder in options.images for tile in image_tiles(folder)]
    tiles = [tile for tile in tiles if not options.only or named(tile, options.only)]
    tiles = [tile for tile in tiles if not named(tile, options.leave_out)]
    if not tiles:
        raise OptionError(f"{options.images[0]}: no image is left; fix --only and --leave-out")
    labelled = sorted(known & {tile.name for tile in tiles})
    if labelled:
        raise LabelError(f"{negatives}: has labels of {labelled[0]}; give --leave-out for it")
    trained = [read_trained(source) for source in options.by]
    ensemble = BuildingEnsemble(trained, tta=options.tta, device=options.device)
    write_soft(labelled_crops(tiles, ensemble, chosen), output, negatives, say)


def named(tile: Tile, patterns: Sequence[str]) -> bool:
    """Return whether one of the patterns names a tile."""
    return any(fnmatch.fnmatch(tile.name, pattern) for pattern in patterns)


if __name__ == "__main__":
    main()
