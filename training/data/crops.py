"""Chips: crops of labelled pairs, turned, scaled, shifted and recoloured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, read_image
from geodamage.xbd.masks import burn_index, burn_labels
from sample_data.scenes import DrawnScene, draw_scene
from training.data.weathered import Asked, weathered

#: Native pixels of 0.47 m are as large as 1.2 m then.
COARSEST = 2.6


@dataclass(frozen=True, kw_only=True)
class ChipOptions:
    """How chips are cut and weighed; in a recipe every field has the prefix `chips_`."""

    crop: int = 320
    """Rows and columns of a chip, pixels; a multiple of the network's stride."""
    generated: int = 350
    """Number of generated scenes."""
    generated_share: float = 0.15
    """Share of chips that come from generated scenes."""
    half_share: float = 0.0
    """Share of chips that come from pairs at half size (`training.data.masked`)."""
    masked_share: float = 0.0
    """Share of chips that come from single images with building masks, which ask for no grade."""
    unlabelled_share: float = 0.0
    """Share of chips that come from pairs without labels, of which teachers alone are asked."""
    shift: int = 16
    """Largest extra shift of post against pre, pixels."""
    coarse: float = 0.0
    """How often an image is seen by a coarser sensor: up to `COARSEST` times as large pixels."""
    haze: float = 0.0
    """How often an image lies under haze, denser here than there."""
    wind: float = 0.0
    """How often damage by wind is drawn over roofs that have none."""
    flood: float = 0.0
    """How often post is under water or mud, which gives buildings the grades of floods."""
    cloud: float = 0.0
    """How often a cloud and its shadow lie over post; ground under its thick part is not asked
    about."""
    cloud_sharp: float = 0.0
    """How often the edges of such a cloud and its shadow are hard."""
    lean: int = 0
    """Farthest that roofs lean in post against pre, pixels, all of a chip one way; 0 for never."""
    grade_shares: tuple[float, float, float, float] = (0.35, 0.23, 0.17, 0.25)
    """How often the building in the middle of a chip has each grade."""
    grade_weights: tuple[float, float, float, float] = (0.6, 1.4, 1.8, 1.2)
    """Weight of each grade in the damage loss."""
    small_weight: float = 0.0
    """How much more the pixels of small buildings count in finding them: the weight of their vote
    times this, where that is more than they have. The vote of 64 pixels is 2.5, of 400 pixels 1."""
    localisation_weight: float = 1.0
    """Weight of the localisation loss of the pre image."""
    post_weight: float = 0.3
    """Weight of the localisation loss of the post image."""
    damage_weight: float = 1.0
    """Weight of the damage loss."""


@dataclass(frozen=True)
class LabelledPair:
    """A pair with its masks, all on one pixel grid.

    Attributes
    ----------
    pre, post
        uint8 (rows, columns, 3), red, green, blue; post of a radar (rows, columns, 1).
    buildings
        uint8 (rows, columns): 1 building in pre, 0 not, 255 unknown; a line is kept free where two
        touch.
    weights
        float32 (rows, columns): weight of each pixel in the localisation loss.
    damage
        uint8 (rows, columns): 0 none, 1-4 grades, 255 a building without a grade.
    vote
        float32 (rows, columns): weight of each building pixel in the damage loss.
    centres
        int (n, 3): row, column, grade of every graded building.
    """

    name: str
    pre: np.ndarray
    post: np.ndarray
    buildings: np.ndarray
    weights: np.ndarray
    damage: np.ndarray
    vote: np.ndarray
    centres: np.ndarray
    zoom: float = 1.0
    """What the pair is enlarged by before it is scaled at random: for pairs of coarser pixels."""
    teacher: np.ndarray | None = None
    """uint8 (rows, columns, k): what a teacher says (`teachers.encode`); 0 is unknown."""
    shown: np.ndarray | None = None
    """uint8 (rows, columns, 3): what a teacher is shown for post, where post is of a radar."""


class Chip(NamedTuple):
    """One training sample; arrays as in `LabelledPair`, cut to (crop, crop).

    `buildings_post` is uint8: 1 building still standing in post, 0 not, 255 do not ask. `teacher`
    is None where nobody was asked.
    """

    pre: np.ndarray
    post: np.ndarray
    buildings: np.ndarray
    weights: np.ndarray
    damage: np.ndarray
    vote: np.ndarray
    buildings_post: np.ndarray
    teacher: np.ndarray | None = None


def load_pair(pair: Pair) -> LabelledPair:
    """Read one xBD pair and draw its masks."""
    labels = pair.labels("post")
    try:
        outlines = pair.labels("pre")
    except LabelError:
        outlines = labels  # a few pairs at hand lack the pre file; post has the same polygons
    pre, post = (read_image(pair.image(date)) for date in ("pre", "post"))
    shape = pre.shape[:2]
    if post.shape != pre.shape:
        raise LabelError(f"{pair.name}: pre is {shape}, post {post.shape[:2]} pixels")
    index = burn_index(outlines, shape)
    damage = burn_labels(labels, shape, unclassified=NOT_ASSESSED)
    centres = [
        (int(label.polygon.centroid.y), int(label.polygon.centroid.x), int(label.grade))
        for label in labels
        if label.grade is not None
    ]
    return assemble(pair.name, pre, post, (index, burn_index(labels, shape), damage, centres))


def assemble(
    name: str,
    pre: np.ndarray,
    post: np.ndarray,
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[int, int, int]]],
) -> LabelledPair:
    """Make a labelled pair from images and drawn masks (index pre, index post, damage, centres)."""
    index, graded, damage, centres = drawn
    return LabelledPair(
        name,
        pre,
        post,
        _parted(index),
        _separation_weights(index),
        damage,
        _vote_weights(graded),
        np.array(centres, int).reshape(-1, 3),
    )


def draw_generated(number: int) -> LabelledPair:
    """Draw one generated scene; `number` is its seed."""
    return label_drawn(draw_scene(number, 512), number)


def label_drawn(scene: DrawnScene, number: int) -> LabelledPair:
    """Make a labelled pair of a drawn scene."""
    shape = scene.pre.shape[1:]
    index, damage = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    centres = []
    for i, (outline, grade) in enumerate(zip(scene.footprints, scene.grades, strict=True), 1):
        vertices = [np.rint(outline).astype(np.int32)]
        cv2.fillPoly(index, vertices, i)
        cv2.fillPoly(damage, vertices, int(grade))
        x, y = outline.mean(0)
        centres.append((int(y), int(x), int(grade)))
    pre, post = (
        np.ascontiguousarray(image.transpose(1, 2, 0)) for image in (scene.pre, scene.post)
    )
    return assemble(f"generated_{number:08d}", pre, post, (index, index, damage, centres))


def _parted(index: np.ndarray) -> np.ndarray:
    """Return 1 in buildings and 0 elsewhere and where another building is a neighbour."""
    lifted = index.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(lifted, kernel)
    lowest = -cv2.dilate(np.where(index > 0, -lifted, -1e9).astype(np.float32), kernel)
    return np.asarray((index > 0) & (highest == lowest), np.uint8)


def _separation_weights(index: np.ndarray) -> np.ndarray:
    """Weigh the gaps between close buildings: what is blurred there is joined for good."""
    # Source of the idea: Ronneberger et al. 2015 (U-Net), equation 2; here by closing the gaps.
    inside = _parted(index)
    closed = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    weights = np.ones(index.shape, np.float32)
    weights[(closed > 0) & (inside == 0)] = 4.0
    return weights


def _vote_weights(index: np.ndarray) -> np.ndarray:
    """Weigh pixels so that a house counts nearly as much as a warehouse."""
    areas = np.bincount(index.ravel())
    weights = np.clip(np.sqrt(400 / np.maximum(areas, 1)), 0.3, 2.5)
    weights[0] = 0
    return np.asarray(weights[index], np.float32)


class Chips:
    """Labelled pairs that chips are cut from.

    Parameters
    ----------
    pairs
        Real ones; all that the others leave comes from them.
    drawn
        Generated ones; they and the next two are taken as often as the options say.
    options
        How chips are cut.
    half
        Pairs at half size.
    masked
        Single images with building masks.
    unlabelled
        Pairs without labels.
    """

    def __init__(
        self,
        pairs: Sequence[LabelledPair],
        drawn: Sequence[LabelledPair],
        options: ChipOptions,
        *,
        half: Sequence[LabelledPair] = (),
        masked: Sequence[LabelledPair] = (),
        unlabelled: Sequence[LabelledPair] = (),
    ) -> None:
        self.options = options
        pools = (pairs, drawn, half, masked, unlabelled)
        self.pools = [(pool, by_grade(pool)) for pool in pools]
        self.shares = _shares([bool(pool) for pool, _ in self.pools], options)

    def draw(self, rng: np.random.Generator) -> Chip:
        """Cut one chip; everything random in it comes from the generator."""
        pool, places = self.pools[int(rng.choice(len(self.pools), p=self.shares))]
        pair, row, column = _choose(pool, places, self.options, rng)
        return cut(pair, (row, column), self.options, rng)


def _shares(there: Sequence[bool], options: ChipOptions) -> np.ndarray:
    """Return float (5,): how often a chip comes from each pool, in the order of `Chips`."""
    asked = [
        options.generated_share,
        options.half_share,
        options.masked_share,
        options.unlabelled_share,
    ]
    shares = np.array([max(1 - sum(asked), 0.0), *asked]) * there
    if shares.sum() == 0:  # nothing is there but what the options ask none of
        shares = np.array(there, float)
    return np.asarray(shares / shares.sum())


def by_grade(pool: Sequence[LabelledPair]) -> list[np.ndarray]:
    """Return for each grade int (n, 3): number of the pair, row, column."""
    rows = [
        np.column_stack([np.full(len(pair.centres), i), pair.centres])
        for i, pair in enumerate(pool)
    ]
    table = np.concatenate(rows) if rows else np.zeros((0, 4), int)
    return [table[table[:, 3] == grade][:, :3] for grade in GRADES]


def _choose(
    pool: Sequence[LabelledPair],
    places: list[np.ndarray],
    options: ChipOptions,
    rng: np.random.Generator,
) -> tuple[LabelledPair, int, int]:
    shares = np.array(options.grade_shares) * [len(p) > 0 for p in places]
    if rng.random() < 0.2 or shares.sum() == 0:  # anywhere: most of the world is not a building
        pair = pool[int(rng.integers(len(pool)))]
        rows, columns = pair.damage.shape
        return pair, int(rng.integers(rows)), int(rng.integers(columns))
    grade = rng.choice(len(shares), p=shares / shares.sum())
    number, row, column = places[grade][rng.integers(len(places[grade]))]
    jitter = options.crop // 3
    row, column = row + rng.integers(-jitter, jitter), column + rng.integers(-jitter, jitter)
    return pool[int(number)], int(row), int(column)


def cut(
    pair: LabelledPair, centre: tuple[int, int], options: ChipOptions, rng: np.random.Generator
) -> Chip:
    """Cut one chip around a pixel, with everything random in it."""
    matrix, shifted = _matrices(pair, centre, options, rng)

    def warp(array: np.ndarray, how: int, fill: int, m: np.ndarray) -> np.ndarray:
        size = (options.crop, options.crop)
        return cv2.warpAffine(array, m, size, flags=how, borderValue=(fill,) * 4)

    standing = pair.buildings.copy()
    standing[pair.damage >= 3] = NOT_ASSESSED  # gone, half gone or unknown: no answer is right
    outside = warp(np.ones(pair.damage.shape, np.uint8), cv2.INTER_NEAREST, 0, matrix) == 0
    weights = warp(pair.weights, cv2.INTER_NEAREST, 0, matrix)
    vote = warp(pair.vote, cv2.INTER_NEAREST, 0, matrix)
    if options.small_weight:
        weights = np.maximum(weights, options.small_weight * vote)
    weights[outside] = 0
    post = warp(pair.post, cv2.INTER_LINEAR, 0, shifted)
    seen = warp(standing, cv2.INTER_NEAREST, NOT_ASSESSED, shifted)
    if options.lean and rng.random() < 0.5:
        roofs = warp(pair.buildings, cv2.INTER_NEAREST, 0, shifted) == 1
        towards = rng.uniform(-options.lean, options.lean, 2)
        post, seen = lean(post, seen, roofs, (float(towards[0]), float(towards[1])))
    said = None if pair.teacher is None else _warped_planes(pair.teacher, matrix, options.crop)
    asked = Asked(warp(pair.damage, cv2.INTER_NEAREST, 0, matrix), vote, seen, said)
    across, down = (shifted[:, 2] - matrix[:, 2]).tolist()
    post = weathered(post, asked, options, (across, down), rng)
    return Chip(
        _photograph(warp(pair.pre, cv2.INTER_LINEAR, 0, matrix), rng, options),
        _taken_again(post, rng, options),
        warp(pair.buildings, cv2.INTER_NEAREST, 0, matrix),
        weights,
        asked.damage,
        asked.vote,
        asked.standing,
        asked.teacher,
    )


def _warped_planes(planes: np.ndarray, matrix: np.ndarray, crop: int) -> np.ndarray:
    """Return what a teacher says of a chip, uint8 (crop, crop, k); 0 beyond the pair.

    At the nearest pixel, as the labels: between a mean and the code of unknown nothing is true.
    """
    # OpenCV fills a border in four channels and no more.
    parts = [planes[..., first : first + 4] for first in range(0, planes.shape[2], 4)]
    size = (crop, crop)
    warped = [
        cv2.warpAffine(np.ascontiguousarray(part), matrix, size, flags=cv2.INTER_NEAREST)
        for part in parts
    ]
    return np.concatenate([np.atleast_3d(part) for part in warped], 2)


def _matrices(
    pair: LabelledPair, centre: tuple[int, int], options: ChipOptions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return affine matrices (2, 3) from pair to chip, for pre and for post."""
    half = options.crop / 2
    rows, columns = pair.damage.shape
    reach = min(half / pair.zoom, rows / 2, columns / 2)
    row = float(np.clip(centre[0], reach, rows - reach))
    column = float(np.clip(centre[1], reach, columns - reach))
    angle = 90 * rng.integers(4) + (rng.uniform(-45, 45) if rng.random() < 0.3 else 0)
    scale = float(np.exp(rng.normal(0, 0.18))) if rng.random() < 0.7 else 1.0
    scale = float(np.clip(scale, 0.6, 1.6)) * pair.zoom
    turn: Any = cv2.getRotationMatrix2D((column, row), float(angle), scale)
    turn[:, 2] += half - np.array([column, row])
    if rng.random() < 0.5:  # a mirror image; with the quarter turns all eight orientations
        turn = np.array([[-1.0, 0, options.crop - 1], [0, 1, 0]]) @ np.vstack([turn, [0, 0, 1]])
    shifted = turn.copy()
    if rng.random() < 0.6:
        # Half of them small: misregistration is a few pixels more often than many.
        reach = options.shift if rng.random() < 0.5 else options.shift / 4
        shifted[:, 2] += rng.uniform(-reach, reach, 2)
    return turn, shifted


def lean(
    image: np.ndarray, standing: np.ndarray, roofs: np.ndarray, towards: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Move roofs against the ground, as a camera does that looks from another side.

    Parameters
    ----------
    image
        uint8 (rows, columns) or (rows, columns, channels).
    standing
        uint8 (rows, columns): as `buildings_post` of a chip.
    roofs
        bool (rows, columns).
    towards
        Columns and rows that a roof moves by, pixels.

    Returns
    -------
    tuple
        Image and `standing` with the roofs moved. What a roof has left is unknown: a wall is there,
        or the edge of the roof still.
    """
    matrix = np.array([[1, 0, towards[0]], [0, 1, towards[1]]], float)
    size = (roofs.shape[1], roofs.shape[0])
    now = cv2.warpAffine(roofs.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    there = cv2.warpAffine(standing, matrix, size, flags=cv2.INTER_NEAREST)
    image, standing = image.copy(), standing.copy()
    image[now] = moved[now]
    standing[roofs & ~now] = NOT_ASSESSED
    standing[now] = there[now]
    return image, standing


def _taken_again(image: np.ndarray, rng: np.random.Generator, options: ChipOptions) -> np.ndarray:
    """Take the post image again, uint8 (rows, columns, channels); a radar's has lost its axis."""
    return _photograph(image, rng, options) if image.ndim == 3 else _measure(image, rng)[..., None]


def _measure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Measure by radar again, uint8 (rows, columns): other scale, curve, resolution, speckle."""
    grey: Any = image.astype(np.float32)
    if rng.random() < 0.85:
        grey = grey * np.float32(rng.uniform(0.75, 1.3)) + np.float32(rng.uniform(-20, 20))
    if rng.random() < 0.4:  # between the root of the intensity and its logarithm
        grey = 255 * (np.clip(grey, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.3:
        grey = cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.3:
        looks = rng.uniform(4, 20)
        grey = grey * rng.gamma(looks, 1 / looks, grey.shape).astype(np.float32)
    result: Any = np.clip(grey, 0, 255).astype(np.uint8)
    result[image == 0] = 0
    return np.asarray(result)


def _photograph(image: np.ndarray, rng: np.random.Generator, options: ChipOptions) -> np.ndarray:
    """Take the picture again: other light, haze, pixels, blur, noise, compression."""
    collar = (image == 0).all(2)
    colour: Any = image.astype(np.float32)
    if rng.random() < 0.85:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.9, 1.1, 3)
        offset = rng.uniform(-22, 22) + rng.uniform(-8, 8, 3)
        colour = colour * gain.astype(np.float32) + offset.astype(np.float32)
    if rng.random() < 0.3:
        grey = colour.mean(2, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.3, 1.5)
    if rng.random() < 0.3:
        colour = 255 * (np.clip(colour, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    if options.haze and rng.random() < options.haze:
        colour = _hazy(colour, rng)
    if options.coarse and rng.random() < options.coarse:
        colour = _coarse(colour, float(rng.uniform(1, COARSEST)))
    if rng.random() < 0.25:
        colour = cv2.GaussianBlur(colour, (0, 0), float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.2:
        colour = colour + rng.normal(0, rng.uniform(1, 7), colour.shape).astype(np.float32)
    result: Any = np.clip(colour, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    result[collar] = 0
    return np.asarray(result)


def _hazy(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay haze over an image, float32 (rows, columns, 3)."""
    # Source: Koschmieder 1924: what is seen is t J + (1 - t) A, of the scene J and the airlight A.
    rows, columns = colour.shape[:2]
    field = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
    dense = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
    veil = np.clip(rng.uniform(0.1, 0.45) + 0.15 * dense, 0, 0.7)[..., None].astype(np.float32)
    airlight = rng.uniform(170, 240) + rng.uniform(-10, 10, 3)
    return np.asarray((1 - veil) * colour + veil * airlight.astype(np.float32))


def _coarse(colour: np.ndarray, factor: float) -> np.ndarray:
    """Return an image as larger pixels show it, upsampled to its own size again."""
    rows, columns = colour.shape[:2]
    size = (max(round(columns / factor), 1), max(round(rows / factor), 1))
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
