"""A small labelled set in the folder layout of xBD, drawn: for tests, the tour and a first look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely

from geodamage.damage import LABELS, DamageGrade
from sample_data.scenes import TRAINING_SEEDS, DrawnScene, draw_scene

#: Two made-up disasters, so that a set can be split by event.
EVENTS = ("drawn-storm", "drawn-flood")
#: Far above the seeds that models train on, and above the sample's.
FIRST_SEED = TRAINING_SEEDS + 11_000_000
DEGREES = 4.6e-6  # a pixel; about half a metre
PLACE = (-88.0, 30.2)  # longitude and latitude of the first pair's corner
APART = 0.02  # degrees between two pairs: no ground is shown twice


def make_pairs(
    folder: Path, count: int = 4, size: int = 512, seed: int = FIRST_SEED, *, sar: bool = False
) -> list[str]:
    """Draw labelled pairs into `images/` and `labels/`.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist.
    count : int
        Number of pairs; the disasters take turns.
    size : int
        Rows and columns, pixels.
    seed : int
        Of the first pair.
    sar : bool
        Write what a radar sees after the event, too: `NAME_post_sar.png`, of one channel.

    Returns
    -------
    list of str
        Names of the pairs.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"{EVENTS[number % len(EVENTS)]}_{number:08d}" for number in range(count)]
    for number, name in enumerate(names):
        scene = draw_scene(seed + number, size, sar=sar)
        if scene.post_sar is not None:
            cv2.imwrite(str(folder / "images" / f"{name}_post_sar.png"), scene.post_sar[0])
        for date, image in (("pre", scene.pre), ("post", scene.post)):
            stem = f"{name}_{date}_disaster"
            path = folder / "images" / f"{stem}.png"
            cv2.imwrite(str(path), np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1]))
            document = label_document(scene, f"{stem}.png", number, graded=date == "post")
            (folder / "labels" / f"{stem}.json").write_text(json.dumps(document), encoding="utf-8")
    return names


def label_document(scene: DrawnScene, image: str, number: int, *, graded: bool) -> dict[str, Any]:
    """Return the label file of one image as xBD writes it."""
    size = scene.pre.shape[1]
    frame = shapely.box(0, 0, size, size)
    pixels: list[dict[str, Any]] = []
    degrees: list[dict[str, Any]] = []
    for index, (corners, grade) in enumerate(zip(scene.footprints, scene.grades, strict=True)):
        outline = shapely.intersection(shapely.Polygon(corners), frame)
        if not isinstance(outline, shapely.Polygon) or outline.area < 1:
            continue
        facts = {"feature_type": "building", "uid": f"{number:04d}-{index:04d}"}
        if graded:
            facts["subtype"] = LABELS[DamageGrade(grade)]
        place = shapely.transform(outline, lambda xy: _to_degrees(xy, number))
        for features, shape in ((pixels, outline), (degrees, place)):
            wkt = shapely.to_wkt(shape, rounding_precision=9)
            features.append({"properties": facts, "wkt": wkt})
    return {
        "features": {"lng_lat": degrees, "xy": pixels},
        "metadata": {
            "sensor": "drawn by sample_data/make.py; no real place",
            "disaster": EVENTS[number % len(EVENTS)],
            "gsd": 0.5,
            "width": size,
            "height": size,
            "original_width": size,
            "original_height": size,
            "img_name": image,
        },
    }


def _to_degrees(xy: np.ndarray, number: int) -> np.ndarray:
    west, north = PLACE[0] + number * APART, PLACE[1]
    return np.column_stack([west + xy[:, 0] * DEGREES, north - xy[:, 1] * DEGREES])
