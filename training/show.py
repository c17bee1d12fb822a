r"""Show what a network will see: a contact sheet of augmented samples.

    python -m training.show first_place_res34_damage --data ../shared/data/xbd -o sheet.png
    python -m training.show training/recipes/mine.toml --data ../shared/data/xbd -o sheet.png
    python -m training.show training/recipes/open_cities_b0.toml --data prepared -o sheet.png

A cell shows pre, post and the masks over post. Grades have the colours of the scale, and unknown
pixels are grey. A building of pre that has no grade is blue. Localisation has no post.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from geodamage.errors import GeodamageError, OptionError, OutputExistsError
from geodamage.xbd.folders import Pair, find_pairs
from training.data.augmentation_presets import augmentation_options
from training.data.building_images import in_folds, read_building_index
from training.data.crops import Chips, draw_generated, load_pair
from training.data.labelled import Sample
from training.data.overlay import overlay
from training.data.samples import ChipSamples, Labelled, PairSamples, Samples
from training.recipe import Recipe

#: Rows and columns of one picture on the sheet, pixels.
SIZE = 224
#: Pixels between two samples.
GAP = 6
COLUMNS = 2


def examples_of(source: str, data: Path) -> Sequence[Labelled]:
    """Return what a training learns from: the pairs of a folder, or the images prepared there.

    Raises
    ------
    LabelError
        If there are none.
    """
    if source.endswith(".toml"):
        recipe = Recipe.read(Path(source))
        if recipe.data == "buildings":
            return in_folds(read_building_index(data), recipe.fold)[0]
    return find_pairs(data)


def samples_of(source: str, pairs: Sequence[Labelled], *, count: int, seed: int) -> Samples:
    """Return what a training by a recipe, or by a preset of augmentations, would draw.

    Of a recipe that cuts chips, only as many pairs are read, and scenes drawn, as are shown.

    Raises
    ------
    OptionError
        If the source is neither, or the recipe makes no sense.
    """
    places = np.arange(len(pairs))
    if not source.endswith(".toml"):
        augmentation = augmentation_options({"augmentation": source})
        return PairSamples(pairs, places, augmentation, seed=seed)
    recipe = Recipe.read(Path(source))
    if recipe.sampling != "chips":
        kept = recipe.unclassified
        return PairSamples(pairs, places, recipe.augmentation, unclassified=kept, seed=seed)
    chosen = np.random.default_rng(seed).permutation(places)[:count]
    scenes = range(min(recipe.chips.generated, count // 2))
    shown = [pairs[int(place)] for place in chosen]
    loaded = [load_pair(pair) for pair in shown if isinstance(pair, Pair)]
    chips = Chips(loaded, [draw_generated(number) for number in scenes], recipe.chips)
    return ChipSamples(chips, count, seed=seed)


def as_sample(arrays: Mapping[str, np.ndarray]) -> Sample:
    """Return the images and masks among the arrays of one drawn sample."""
    codes = arrays["grades"] if "grades" in arrays else arrays["damage"]
    return Sample(arrays["pre"], arrays.get("post"), codes, arrays["buildings"])


def contact_sheet(samples: Sequence[Sample]) -> np.ndarray:
    """Lay samples out in rows, uint8 (rows, columns, 3)."""
    cells = [_cell(sample) for sample in samples]
    height, width = cells[0].shape[0] + GAP, cells[0].shape[1] + GAP
    sheet = np.full((-(-len(cells) // COLUMNS) * height, COLUMNS * width, 3), 255, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        y, x = row * height, column * width
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def _cell(sample: Sample) -> np.ndarray:
    images = [sample.pre] if sample.post is None else [sample.pre, sample.post]
    how = cv2.INTER_AREA if len(sample.pre) > SIZE else cv2.INTER_NEAREST
    return np.hstack(
        [cv2.resize(p, (SIZE, SIZE), interpolation=how) for p in (*images, overlay(sample))]
    )


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a PNG, complete or not at all.

    Raises
    ------
    OutputExistsError
        If the file is there already.
    """
    if path.exists():
        raise OutputExistsError(f"{path} exists; choose another name, or remove it")
    written = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1]
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(written.tobytes())
    partial.replace(path)


def show(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="recipe (.toml) or name of a preset")
    parser.add_argument("--data", type=Path, required=True, help="folder of xBD pairs, or prepared")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--count", type=int, default=12, help="samples")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise OptionError(f"--count {options.count}: at least one sample")
    pairs = examples_of(options.source, options.data)
    samples = samples_of(options.source, pairs, count=options.count, seed=options.seed)
    drawn = [as_sample(samples.draw(number)) for number in range(options.count)]
    write_picture(options.output, contact_sheet(drawn))


def main() -> int:
    """Run the command; an error is one line."""
    try:
        show()
    except GeodamageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
