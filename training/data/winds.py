"""Damage by wind and quake drawn over real roofs of post images: patches, tarpaulins, rubble."""

from typing import NamedTuple

import cv2
import numpy as np

from geodamage.damage import DamageGrade
from sample_data.damage import RUBBLE, TARP
from sample_data.painting import blob, texture
from training.data.radiometry import to_bytes

#: Smallest roof that anything is drawn on, pixels.
SMALLEST = 30
#: What lies under lost roof cover: boards, felt, insulation.
UNDER = ((176, 150, 118), (128, 104, 82), (66, 62, 60), (198, 186, 168), (150, 120, 100))
INSIDE = (62, 54, 50)
#: Mean grey of the image that the colours are meant for.
USUAL_LIGHT = 105.0
#: Share of the roof that is drawn over, least and most, of minor and of major damage.
COVER = {DamageGrade.MINOR: (0.06, 0.3), DamageGrade.MAJOR: (0.35, 0.65)}
BITS = 4


class Strike(NamedTuple):
    """A chip after a storm.

    Attributes
    ----------
    post
        uint8 (size, size, 3).
    damage
        uint8 (size, size): grades as they are drawn.
    changed
        bool (size, size): buildings whose grade was drawn, on the grid of `damage`.
    """

    post: np.ndarray
    damage: np.ndarray
    changed: np.ndarray


def struck(
    post: np.ndarray, damage: np.ndarray, shift: tuple[float, float], rng: np.random.Generator
) -> Strike:
    """Draw damage over some of the buildings that have none.

    Parameters
    ----------
    post
        uint8 (size, size, 3); pixels without data, all 0, stay so.
    damage
        uint8 (size, size): 0 none, 1-4 grades, 255 unknown.
    shift
        Columns and rows that `post` is moved by against `damage`, pixels.
    """
    severity = rng.random()
    odds = np.array([1.2 - severity, 0.35 + 0.3 * severity, 0.1 + 0.5 * severity])
    graded, changed = damage.copy(), np.zeros(damage.shape, bool)
    canvas = np.dstack([post, np.zeros(damage.shape, np.uint8)]).astype(np.float32)
    light = float(np.clip(post[post.any(2)].mean() / USUAL_LIGHT, 0.4, 2)) if post.any() else 1.0
    whole = (damage == DamageGrade.NO_DAMAGE).astype(np.uint8)
    number, labels, boxes, _ = cv2.connectedComponentsWithStats(whole, connectivity=4)
    for building in range(1, number):
        if boxes[building][4] < SMALLEST or rng.random() > 0.25 + 0.6 * severity:
            continue
        grade = DamageGrade(int(rng.choice([2, 3, 4], p=odds / odds.sum())))
        roof = labels == building
        rows, columns = np.nonzero(roof)
        spots = np.stack([columns + shift[0], rows + shift[1]], 1)
        _strike(canvas, spots, grade, light, rng)
        graded[roof], changed[roof] = grade, True
    grain = canvas[..., 3:] * texture(rng, len(post))[..., None]
    seen = to_bytes(canvas[..., :3] * (1 + grain))
    return Strike(np.where(post.any(2, keepdims=True), seen, 0), graded, changed)


def _strike(
    canvas: np.ndarray,
    roof: np.ndarray,
    grade: DamageGrade,
    light: float,
    rng: np.random.Generator,
) -> None:
    """Draw one building's damage; `roof` has columns and rows of its pixels, float (n, 2)."""
    reach = float(np.sqrt(len(roof))) / 2
    low = np.floor(roof.min(0) - 1.5 * reach - 4).astype(int).clip(0, len(canvas) - 1)
    high = np.ceil(roof.max(0) + 1.5 * reach + 4).astype(int).clip(1, len(canvas))
    if (high <= low).any():
        return
    window = canvas[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(window.shape[:2], np.float32)
    where = np.rint(roof - low).astype(int)
    inside = (where >= 0).all(1) & (where < mask.shape[::-1]).all(1)
    mask[where[inside, 1], where[inside, 0]] = 1
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.6), np.float32)
    if grade == DamageGrade.DESTROYED:
        _collapse(window, mask, roof - low, reach, light, rng)
        return
    before = window.copy()
    least, most = COVER[grade]
    aim, drawn = rng.uniform(least, most) * mask.sum(), np.zeros(mask.shape, np.uint8)
    tarpaulin = grade == DamageGrade.MINOR and rng.random() < 0.35
    angle = rng.uniform(0, np.pi)
    for _ in range(40):
        spot = roof[rng.integers(len(roof))] - low
        size = reach * rng.uniform(0.18, 0.45)
        outline = _sheet(spot, size, angle, rng) if tarpaulin else blob(rng, spot, size)
        colour = TARP if tarpaulin else UNDER[int(rng.integers(len(UNDER)))]
        if grade == DamageGrade.MAJOR and rng.random() < 0.5:
            colour = INSIDE
        shade = light * rng.uniform(0.75, 1.25)
        fixed = [_fixed(outline)]
        paint = (*(c * shade for c in colour), 0.06 if tarpaulin else 0.18)
        cv2.fillPoly(window, fixed, paint, cv2.LINE_8, BITS)
        cv2.fillPoly(drawn, fixed, 1, cv2.LINE_8, BITS)
        if (drawn * mask).sum() >= aim:
            break
    kept = mask[..., None] * rng.uniform(0.75, 1)
    window[:] = before + (window - before) * kept
    if grade == DamageGrade.MAJOR or rng.random() < 0.3:
        pieces = int(reach * (2 if grade == DamageGrade.MAJOR else 0.7))
        _scatter(window, _around(roof - low, reach, 1.5, pieces, rng), 1.4, light, rng)


def _collapse(
    window: np.ndarray,
    mask: np.ndarray,
    roof: np.ndarray,
    reach: float,
    light: float,
    rng: np.random.Generator,
) -> None:
    """Draw a heap of rubble, or the bare ground where a building was swept away."""
    swept = rng.random() < 0.25
    base = np.array(RUBBLE[int(rng.integers(len(RUBBLE)))]) * light * rng.uniform(0.7, 1.1)
    ground = np.array([*base, 0.1 if swept else 0.3], np.float32)
    window += (ground - window) * (0.95 * mask[..., None])
    dense = reach * reach * (0.15 if swept else 0.5)
    _scatter(window, _around(roof, reach, 1.1, int(dense), rng), 1.8, light, rng)
    _scatter(window, _around(roof, reach, 1.9, int(dense * 0.5), rng), 1.5, light, rng)


def _sheet(spot: np.ndarray, size: float, angle: float, rng: np.random.Generator) -> np.ndarray:
    along = np.array([np.cos(angle), np.sin(angle)]) * size * rng.uniform(0.9, 1.8)
    across = np.array([-np.sin(angle), np.cos(angle)]) * size * rng.uniform(0.6, 1.1)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.asarray(corners @ np.array([along, across]) + spot)


def _around(
    roof: np.ndarray, reach: float, spread: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose spots on the roof's pixels, moved outward at random, float (count, 2)."""
    spots = roof[rng.integers(len(roof), size=count)]
    return np.asarray(spots + rng.normal(0, max(spread - 1, 0.05) * reach, spots.shape))


def _scatter(
    window: np.ndarray, spots: np.ndarray, size: float, light: float, rng: np.random.Generator
) -> None:
    """Strew splinters and slabs of `size` pixels."""
    for spot in spots:
        shade = light * rng.uniform(0.6, 1.25)
        paint = (*(c * shade for c in RUBBLE[int(rng.integers(len(RUBBLE)))]), 0.12)
        piece = _sheet(spot, rng.gamma(2, size / 2) / 2, rng.uniform(0, np.pi), rng)
        cv2.fillConvexPoly(window, _fixed(piece), paint, cv2.LINE_8, BITS)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(points * (1 << BITS)), np.int32)
