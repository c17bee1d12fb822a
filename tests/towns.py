"""Towns: results of scenes that were never assessed, for the tests of reviews."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from geodamage.output.publication import Publication
from geodamage.output.vectors import vector_writer
from tests.event_scenes import CORNER, UTM, House, frame_of, hidden

LABELS = ("no-damage", "minor-damage", "major-damage", "destroyed")
SIDE = 400.0


def town(seed: int, *, side: int = 10, east: float = 0.0) -> list[House]:
    """Return side² houses of all grades; their names begin with the seed."""
    generator = np.random.default_rng(seed)
    return [
        House(
            east + 38.0 * i + 2, 38.0 * j + 2,
            grade=int(generator.choice([1, 2, 3, 4], p=[0.7, 0.1, 0.1, 0.1])),
            confidence=float(generator.uniform(0.4, 0.99)),
            identity=f"{seed}-{i}-{j}",
        )
        for i in range(side)
        for j in range(side)
    ]  # fmt: skip


def write_result(
    path: Path, houses: list[House], *, east: float = 0.0, model: str = "m", blind: int = 0
) -> Path:
    """Write a result with its sidecar; `blind` of its houses were not assessed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    houses = [hidden(house) for house in houses[:blind]] + houses[blind:]
    left, bottom = CORNER[0] + east, CORNER[1]
    with Publication() as publication:
        with vector_writer(publication.partial(path), UTM) as writer:
            writer.append(frame_of(houses))
        publication.sidecar(
            path,
            {
                "buildings": len(houses),
                "model": {"sha256": model},
                "scene": {
                    "crs": "EPSG:32616",
                    "region": [left, bottom, left + SIDE, bottom + SIDE],
                },
            },
        )
    return path


def write_districts(path: Path) -> Path:
    """Write a western and an eastern half of the first town."""
    middle = CORNER[0] + 190
    left, bottom, top = CORNER[0], CORNER[1], CORNER[1] + SIDE
    shapes = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, left + SIDE, top)]
    gpd.GeoDataFrame({"name": ["West", "East"]}, geometry=shapes, crs=UTM).to_file(path)
    return path


def answer(sample: Path, output: Path, *, off: float = 0.1, seed: int = 0) -> Path:
    """Write a copy of a sample whose answers are the model's, but for a share that is off by one.

    A copy in another format, and without a sidecar, as people hand it on.
    """
    frame = gpd.read_file(sample, layer=0)
    generator = np.random.default_rng(seed)
    moved = generator.choice([0, 1], len(frame), p=[1 - off, off])
    grades = [LABELS.index(label) for label in frame["damage"]]
    frame["reviewed_damage"] = [
        LABELS[min(grade + move, 3)] for grade, move in zip(grades, moved, strict=True)
    ]
    if output.suffix == ".csv":
        frame.drop(columns="geometry").to_csv(output, index=False)
    else:
        frame.to_file(output)
    return output
