"""Chips: crops of labelled pairs, turned, scaled, shifted and recoloured."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np

from geodamage.damage import GRADES, NOT_ASSESSED, DamageGrade
from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, read_image
from geodamage.xbd.masks import burn_index, burn_labels
from sample_data.scenes import DrawnScene, draw_scene
from training.data.pasting import pasted
from training.data.photographs import lean, photographed, taken_again
from training.data.weathered import Asked, weathered

#: Pools of `Chips` that buildings are pasted into: labelled pairs, those at half size, images.
PASTED = (0, 2, 3)
#: How often a single image that asks for grades has wind, water or nothing drawn over its post.
HARM = (0.45, 0.3, 0.25)


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
    """Share of chips that come from single images with building masks."""
    masked_graded: float = 0.0
    """How often such a chip asks for grades: of buildings without damage, but for what is drawn."""
    paste: float = 0.0
    """How often buildings of another labelled pair are pasted into a chip, before and after."""
    unlabelled_share: float = 0.0
    """Share of chips that come from pairs without labels, of which teachers alone are asked."""
    shift: int = 16
    """Largest extra shift of post against pre, pixels."""
    coarse: float = 0.0
    """How often an image is seen by a coarser sensor: up to 2.6 times as large pixels."""
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

    @property
    def is_single(self) -> bool:
        """Whether pre and post are one image."""
        return self.pre is self.post


#: A pair, and row and column of it.
Spot: TypeAlias = tuple[LabelledPair, tuple[int, int]]


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
        kind = int(rng.choice(len(self.pools), p=self.shares))
        pair, centre = self._spot(kind, rng)
        donor = None
        asked = self.options.paste if kind in PASTED and self.pools[0][0] else 0.0
        if asked and rng.random() < asked:
            donor = self._spot(0, rng)
        return cut(pair, centre, self.options, rng, donor)

    def _spot(self, kind: int, rng: np.random.Generator) -> Spot:
        pool, places = self.pools[kind]
        pair, row, column = _choose(pool, places, self.options, rng)
        return pair, (row, column)


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
    pair: LabelledPair,
    centre: tuple[int, int],
    options: ChipOptions,
    rng: np.random.Generator,
    donor: Spot | None = None,
) -> Chip:
    """Cut one chip around a pixel, with everything random in it.

    Parameters
    ----------
    donor
        Pair and row and column of it, around which buildings to paste are taken.
    """
    matrix, shift = _ways(pair, centre, options, rng)
    chip = _warped(pair, matrix, shift, options, rng)
    if pair.is_single and rng.random() < options.masked_graded:
        chip, options = _harmed(chip, options, rng)
    if donor is not None:
        turn, _ = _ways(*donor, options, rng)
        other = dataclasses.replace(donor[0], teacher=None)  # nothing is asked of it there
        chip = pasted(chip, _warped(other, turn, shift, options, rng), shift, rng)
    asked = Asked(chip.damage, chip.vote, chip.buildings_post, chip.teacher)
    post = weathered(chip.post, asked, options, shift, rng)
    return chip._replace(
        pre=photographed(chip.pre, rng, options),
        post=taken_again(post, rng, options),
        damage=asked.damage,
        vote=asked.vote,
        buildings_post=asked.standing,
        teacher=asked.teacher,
    )


def _harmed(chip: Chip, options: ChipOptions, rng: np.random.Generator) -> tuple[Chip, ChipOptions]:
    """Ask for the grades of a single image; the options then draw wind, water or nothing."""
    own = chip.damage == NOT_ASSESSED
    damage = np.where(own, np.uint8(DamageGrade.NO_DAMAGE), chip.damage)
    vote = np.where(own, np.float32(1), chip.vote)
    kind = int(rng.choice(len(HARM), p=HARM))
    harm = dataclasses.replace(options, wind=float(kind == 0), flood=float(kind == 1))
    return chip._replace(damage=damage, vote=vote), harm


def _warped(
    pair: LabelledPair,
    matrix: np.ndarray,
    shift: tuple[float, float],
    options: ChipOptions,
    rng: np.random.Generator,
) -> Chip:
    """Warp a pair to a chip, not photographed yet; post is `shift` columns and rows off."""
    shifted = matrix.copy()
    shifted[:, 2] += shift

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
    return Chip(
        warp(pair.pre, cv2.INTER_LINEAR, 0, matrix),
        post,
        warp(pair.buildings, cv2.INTER_NEAREST, 0, matrix),
        weights,
        warp(pair.damage, cv2.INTER_NEAREST, 0, matrix),
        vote,
        seen,
        None if pair.teacher is None else _warped_planes(pair.teacher, matrix, options.crop),
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


def _ways(
    pair: LabelledPair, centre: tuple[int, int], options: ChipOptions, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the affine matrix (2, 3) from pair to chip, and columns and rows that post is off."""
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
    shift = (0.0, 0.0)
    if rng.random() < 0.6:
        # Half of them small: misregistration is a few pixels more often than many.
        reach = options.shift if rng.random() < 0.5 else options.shift / 4
        across, down = rng.uniform(-reach, reach, 2).tolist()
        shift = (across, down)
    return turn, shift
