"""The exposure of a scene: how imagery of more than 8 bits is stretched, by its common ground.

Blocks of both images are read with a first guess. Hidden ground is then left out, and the guess is
corrected on the rest, until it does not change any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geodamage.scene.cells import CELL
from geodamage.scene.image import Image
from geodamage.scene.obscured import hidden
from geodamage.scene.options import SceneOptions
from geodamage.scene.ranges import range_of
from geodamage.scene.scaling import Range, Scaling
from geodamage.scene.shift import Shift
from geodamage.scene.stretch import Ends, ends_of, fit
from geodamage.scene.survey import Block, Bools, Bytes, Ground, look, spread
from geodamage.scene.water import water

#: Rounds of reading, at most, and 8-bit values by which ends that stand may still move.
ROUNDS, STANDS = 6, 2.0
#: Ranges by which a guess grows on a side where it cuts values off.
WIDENED = 3.0
#: Pixels of clear ground that are enough to judge by.
ENOUGH = 4096
#: Of so many pixels along a side one is looked at.
STEP = 2


@dataclass(frozen=True)
class Reading:
    """How the images of a scene are read, once they have been examined.

    Attributes
    ----------
    scalings
        Scaling of each image; None where it stays as it is.
    shift
        What moves the post image into place; None where it stays.
    """

    scalings: tuple[Scaling | None, ...] = ()
    shift: Shift | None = None


def scaled_as(images: Sequence[Image], scalings: Sequence[Scaling | None]) -> tuple[Image, ...]:
    """Return images with the scalings that were found before."""
    return tuple(
        replace(image, scaling=scaling) for image, scaling in zip(images, scalings, strict=True)
    )


def exposed(images: Sequence[Image], ground: Ground, options: SceneOptions) -> tuple[Image, ...]:
    """Return the images of a scene, stretched as their common ground asks for.

    Images of 8 bits, of a radar, and those whose scaling is known, stay as they are.

    Raises
    ------
    SceneReadError
        If a file is damaged where it was looked at.
    """
    optical = images if options.post_sensor == "optical" else images[:1]
    guessed = [number for number, image in enumerate(optical) if is_guessed(image)]
    if not guessed:
        return tuple(images)
    origin = ground.origin.row, ground.origin.column
    windows, found = spread(ground.extent, origin), list(images)
    known = {number: range_of(images[number].first) for number in guessed}
    for _ in range(ROUNDS):
        samples = _clear(look(found, ground, windows), len(optical), options)
        if samples is None:
            break
        for number in guessed:
            known[number] = _believed(known[number], found[number], samples[number])
        mended = _mended([(found[number], samples[number], known[number]) for number in guessed])
        moved = 0.0
        for number, scaling in zip(guessed, mended, strict=True):
            moved = max(moved, _difference(found[number].scaling, scaling))
            found[number] = replace(found[number], scaling=scaling)
        if moved <= STANDS:
            break
    for number in guessed:  # not before: while the stretch is looked for, ends may lie at 255
        scaling = replace(_scaling_of(found[number]), known=known[number])
        found[number] = replace(found[number], scaling=scaling)
    return tuple(found)


def _believed(known: Range | None, image: Image, sample: Bytes) -> Range | None:
    """Return what is known of an image, without a highest value that its pixels are above."""
    if known is None or known.most is None:
        return known
    scaling = _scaling_of(image)
    highest = scaling.undo(ends_of(sample).high[:, None]).max()
    step = (np.array(scaling.high) - np.array(scaling.low)).max() / 255
    return known if highest <= known.most + step else replace(known, most=None)


def _unsaturated(known: Range | None, image: Image, sample: Bytes) -> Bytes:
    """Return the pixels of a sample that are below the highest value in any channel."""
    if known is None or known.most is None:
        return sample
    highest = _scaling_of(image).bytes_of(known.most)
    if highest.max() == 255:  # it is cut off, so nobody knows
        return sample
    kept = sample[:, (sample < highest[:, None]).any(0)]
    return kept if kept.shape[1] >= ENOUGH else sample


def is_guessed(image: Image) -> bool:
    """Say whether nobody told how an image becomes 8 bits."""
    return image.scaling is not None and image.scaling.source == "guess"


def remarks(images: Sequence[Image]) -> list[str]:
    """Return a line for each image whose scaling was not told."""
    found = []
    for image in images:
        scaling, tile = image.scaling, image.first
        if scaling is None or scaling.source == "option":
            continue
        option = "--post-scale or --scale" if image.role == "post" else "--scale"
        said = f"{_listed(scaling.low)} to {_listed(scaling.high)} become 0 to 255"
        if scaling.source == "guess":
            told = _told(scaling.known)
            why = f"guessed from its pixels{told}; give {option} if you know better"
        else:
            why = "because it holds 8 bits in a wider type"
        found.append(f"{tile.name}: of its {tile.dtype} values, {said}, {why}")
    return found


def _told(known: Range | None) -> str:
    """Return what a guess knew beforehand, in words."""
    if known is None or (known.most is None and known.scale is None):
        return ""
    facts = [] if known.most is None else [f"{known.most:g} is the highest value"]
    if known.scale is not None:
        facts.append(f"values are times {known.scale:g} plus {known.offset:g}")
    return f", knowing by {' and '.join(known.sources)} that {' and '.join(facts)}"


def _listed(values: Sequence[float]) -> str:
    return "/".join(dict.fromkeys(f"{value:.4g}" for value in values))


def _clear(blocks: Sequence[Block], dates: int, options: SceneOptions) -> list[Bytes] | None:
    """Return the pixels of each date on ground that all show, (channels, pixels)."""
    clear = [_clear_of(block, dates, options) for block in blocks]
    land = [found & ~_cut(_wet(block, dates)) for block, found in zip(blocks, clear, strict=True)]
    everything = [_cut(block.both) for block in blocks]
    # Of nothing but water, or cloud, by what there is.
    chosen = next((found for found in (land, clear) if _pixels(found) >= ENOUGH), everything)
    if not _pixels(chosen):
        return None
    return [
        np.concatenate(
            [_cut(image)[:, found] for image, found in zip(date, chosen, strict=True)], axis=1
        )
        for date in ([block.pre for block in blocks], [block.post for block in blocks])[:dates]
    ]


def _pixels(masks: Sequence[Bools]) -> int:
    return sum(int(mask.sum()) for mask in masks)


def _whole(block: Block, dates: int) -> tuple[tuple[slice, slice], list[Bytes]]:
    """Return the part of a block that is whole cells, and its images."""
    rows, columns = (side // CELL * CELL for side in block.both.shape)
    cut = slice(0, rows), slice(0, columns)
    return cut, [image[:, *cut] for image in (block.pre, block.post)[:dates]]


def _wet(block: Block, dates: int) -> Bools:
    """Return where open water lies in a block."""
    cut, images = _whole(block, dates)
    result = np.zeros_like(block.both)
    if result[cut].size:
        result[cut] = water(images)
    return result


def _clear_of(block: Block, dates: int, options: SceneOptions) -> Bools:
    """Return where nothing hides the ground of a block."""
    cut, images = _whole(block, dates)
    missing = [~valid[cut] for valid in (block.pre_valid, block.post_valid)[:dates]]
    clear = block.both.copy()
    if not clear[cut].size:
        return _cut(clear)
    together = options.obscured == "on"
    groups = [range(dates)] if together else [range(number, number + 1) for number in range(dates)]
    for group in groups:  # of one date alone, constant fill is all that is found
        for obscured in hidden([images[n] for n in group], [missing[n] for n in group]):
            clear[cut] &= ~obscured
    return _cut(clear)


def _cut(plane: np.ndarray) -> np.ndarray:
    return plane[..., ::STEP, ::STEP]


def _mended(dates: Sequence[tuple[Image, Bytes, Range | None]]) -> list[Scaling]:
    """Return better scalings: wider where one cuts its ground off, else by the ends of it."""
    scalings = [_scaling_of(image) for image, _, _ in dates]
    ends = [ends_of(_unsaturated(known, image, sample)) for image, sample, known in dates]
    if any(end.low.min() <= 0 or end.high.max() >= 255 for end in ends):
        return [_widened(scaling, end) for scaling, end in zip(scalings, ends, strict=True)]
    undone = [_undone(scaling, end) for scaling, end in zip(scalings, ends, strict=True)]
    return _fitted(undone, [known for _, _, known in dates])


def _fitted(ends: Sequence[Ends], known: Sequence[Range | None]) -> list[Scaling]:
    """Return the scalings of some dates; of what was measured, where both tell how."""
    factors = [(one.scale, one.offset) for one in known if one is not None and one.scale]
    if len(factors) < len(ends):
        return fit(ends)
    measured = [_measured(end, *factor) for end, factor in zip(ends, factors, strict=True)]
    return [
        replace(
            scaling,
            low=tuple((low - offset) / scale for low in scaling.low),
            high=tuple((high - offset) / scale for high in scaling.high),
        )
        for scaling, (scale, offset) in zip(fit(measured), factors, strict=True)
    ]


def _measured(ends: Ends, scale: float, offset: float) -> Ends:
    low, high = (end * scale + offset for end in ends.shared)
    return Ends(ends.low * scale + offset, ends.high * scale + offset, (low, high))


def _scaling_of(image: Image) -> Scaling:
    if image.scaling is None:
        raise ValueError("an image of 8 bits has no scaling")
    return image.scaling


def _undone(scaling: Scaling, ends: Ends) -> Ends:
    """Return ends in units of the image."""
    low, high = scaling.undo(np.stack([ends.low, ends.high], 1)).T
    shared = scaling.undo(np.full((len(low), 2), ends.shared)).mean(0)
    return Ends(low, high, (float(shared[0]), float(shared[1])))


def _widened(scaling: Scaling, ends: Ends) -> Scaling:
    low, high = np.array(scaling.low), np.array(scaling.high)
    spread = (high - low) * WIDENED
    if ends.low.min() <= 0:
        low = low - spread
    if ends.high.max() >= 255:
        high = high + spread
    return Scaling(tuple(low.tolist()), tuple(high.tolist()), scaling.source)


def _difference(before: Scaling | None, after: Scaling) -> float:
    """Return by how many 8-bit values ends have moved."""
    if before is None:
        return np.inf
    ends = [np.array([one.low, one.high]) for one in (before, after)]
    return float((np.abs(ends[0] - ends[1]) / (ends[1][1] - ends[1][0])).max() * 255)
