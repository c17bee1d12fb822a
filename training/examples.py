"""The examples of a training: what it learns from, and what it is validated on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from geodamage.damage import NOT_ASSESSED
from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, read_image, read_split
from geodamage.xbd.labels import read_label_file
from training.data.building_images import HALF, BuildingImage, in_folds, read_building_index
from training.data.crops import Chips, draw_generated, load_pair
from training.data.masked import More
from training.data.samples import (
    UNCLASSIFIED,
    ChipSamples,
    Labelled,
    PairSamples,
    Samples,
)
from training.data.sampling import epoch_places, sample_weights
from training.data.two_sensors import LAYOUTS, SensorPair, draw_two_sensors
from training.meta import EpisodeSamples
from training.recipe import Recipe
from training.state import Place
from training.teaching.semi_supervision import SoftBatches, read_soft

Example = TypeVar("Example", Pair, BuildingImage, SensorPair)


Parts = (
    tuple[list[Pair], list[Pair]]
    | tuple[list[BuildingImage], list[BuildingImage]]
    | tuple[list[SensorPair], list[SensorPair]]
)


def read_parts(recipe: Recipe, split: Path, data: Path) -> Parts:
    """Return the pairs, or prepared images, to train on and those to validate on."""
    if recipe.data == "buildings":
        learnt_images, images = in_folds(read_building_index(data), recipe.fold)
        return some_of(learnt_images, recipe), images[: recipe.validate_on or None]
    if recipe.fold < 0:
        learnt = read_split(split, data, "train")
        held_out = read_split(split, data, "validation")
    else:
        held_out = read_split(split, data, str(recipe.fold))
        names = {pair.name for pair in held_out}
        learnt = [pair for pair in read_split(split, data) if pair.name not in names]
    shared = {pair.name for pair in learnt} & {pair.name for pair in held_out}
    if shared:
        raise LabelError(f"{split}: {sorted(shared)[0]} is in two parts; make it by prepare")
    if recipe.data in LAYOUTS:
        layout = LAYOUTS[recipe.data]
        both, seen = ([layout(p.name, p.folder) for p in part] for part in (learnt, held_out))
        return some_of(both, recipe), seen[: recipe.validate_on or None]
    return some_of(learnt, recipe), held_out[: recipe.validate_on or None]


def some_of(learnt: list[Example], recipe: Recipe) -> list[Example]:
    """Return the random few that a recipe takes for a look, or all."""
    if not recipe.subset:
        return learnt
    chosen = np.random.default_rng(recipe.seed).permutation(len(learnt))[: recipe.subset]
    return [learnt[i] for i in sorted(chosen)]


def make_samples(
    recipe: Recipe, pairs: Sequence[Labelled], pixels: np.ndarray, more: More | None = None
) -> Samples:
    """Return what is drawn from the training pairs, and for the compact network from `more`."""
    if recipe.sampling == "chips":
        loaded = [load_pair(pair) for pair in pairs if isinstance(pair, Pair)]
        loaded += [pair.labelled() for pair in pairs if isinstance(pair, SensorPair)]
        draw = draw_two_sensors if recipe.data in LAYOUTS else draw_generated
        drawn = [draw(number) for number in range(recipe.chips.generated)]
        count = sum(len(pair.centres) for pair in loaded) or len(loaded)
        chips = Chips(loaded, drawn, recipe.chips, **(more or More()).load(recipe.chips))
        return ChipSamples(chips, count, seed=recipe.seed)
    samples = PairSamples(
        pairs,
        epoch_places(pixels[:, :5], recipe.sampling),
        recipe.augmentation,
        weights=sample_weights(pixels[:, :5]) if recipe.sampling == "weighted" else None,
        unclassified=recipe.unclassified,
        seed=recipe.seed,
    )
    if recipe.algorithm == "maml":
        return EpisodeSamples(samples, [pair.event for pair in pairs], recipe.meta, recipe.seed)
    return samples


def soft_batches(
    recipe: Recipe, place: Place, data: Path, held_out: Sequence[Labelled]
) -> SoftBatches | None:
    """Return what is drawn from images with soft labels, where the recipe names some."""
    if not recipe.soft.folder:
        return None
    images = [image for image in held_out if isinstance(image, BuildingImage)]
    names = {name for image in images for name in (image.place, image.tile)}
    return SoftBatches(
        read_soft(recipe.soft, (data, Path()), names),
        recipe.augmentation,
        recipe.soft,
        size=recipe.batch // place.world,
        seed=recipe.seed,
        first=place.rank,
        stride=place.world,
    )


def count_pixels(recipe: Recipe, pairs: Sequence[Labelled]) -> np.ndarray:
    """Return int (n, 6): pixels of background, the grades and un-classified, by the labels alone.

    Labels say enough for sampling and class weights, and are read in a hundredth of the time.
    """
    counts = np.zeros((len(pairs), 6), np.int64)
    for row, pair in zip(counts, pairs, strict=True):
        if isinstance(pair, BuildingImage):
            _, mask = pair.load()
            row[:2] = (mask < HALF).sum(), (mask >= HALF).sum()
            continue
        if isinstance(pair, SensorPair):
            continue  # chips are weighed by their buildings, and nothing asks for the pixels
        file = read_label_file(pair.label_file("post"))
        # Of those that do not say how large their image is, the image must be read.
        rows, columns = file.shape or read_image(pair.image("post")).shape[:2]
        row[0] = rows * columns
        for label in file.labels:
            code = UNCLASSIFIED[recipe.unclassified] if label.grade is None else int(label.grade)
            area = round(label.polygon.area)
            row[0] -= 0 if code is None else area
            if code not in (None, NOT_ASSESSED):
                row[code] += area
    return np.maximum(counts, 0)
