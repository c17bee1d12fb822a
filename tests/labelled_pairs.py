"""xBD pairs that `make_model` understands, with labels that say what is on them, or lie."""

import json

import cv2
import numpy as np
import shapely

from geodamage.damage import LABELS, UNCLASSIFIED, DamageGrade
from tests.conftest import ROOFS, make_arrays

#: One building of each grade.
FOUR = ROOFS[:4]
SHAPE = 128, 160


def feature(uid, roof, scale):
    # The official masks hold the vertices, so the last pixel is a vertex, not the corner behind it.
    bottom, right = roof.row + roof.height - 1, roof.column + roof.width - 1
    corners = np.array([(roof.column, roof.row), (right, roof.row), (right, bottom)])
    corners = np.vstack([corners, (roof.column, bottom)]) * np.asarray(scale)[0]
    subtype = LABELS[DamageGrade(roof.grade)] if roof.grade else UNCLASSIFIED
    shape = shapely.Polygon(corners + np.asarray(scale)[1])
    return {"properties": {"uid": uid, "subtype": subtype}, "wkt": shapely.to_wkt(shape, 12)}


PIXELS = (1, 1), (0, 0)
#: Half a metre near the equator.
DEGREES = (4.4916e-6, -4.5218e-6), (10, 0)


def write_labels(path, roofs, metadata=None, place=DEGREES):
    features = {"xy": [feature(f"house-{n}", roof, PIXELS) for n, roof in enumerate(roofs)]}
    if place is not None:
        features["lng_lat"] = [feature(f"house-{n}", r, place) for n, r in enumerate(roofs)]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"features": features, "metadata": metadata}))


def write_pair(folder, name, drawn=FOUR, labelled=None, **options):
    """Write a pair that shows some roofs, and labels that say what they are."""
    labelled = drawn if labelled is None else labelled
    suffix = options.pop("suffix", ".png")
    (folder / "images").mkdir(exist_ok=True, parents=True)
    for date, image in zip(("pre", "post"), make_arrays(SHAPE, drawn), strict=True):
        path = folder / "images" / f"{name}_{date}_disaster{suffix}"
        assert cv2.imwrite(str(path), image.transpose(1, 2, 0))
        write_labels(folder / "labels" / f"{name}_{date}_disaster.json", labelled, **options)
    return folder


def write_split(folder, **parts):
    """Write pairs by their names, and the split that says which part each is in."""
    for name in parts:
        write_pair(folder, name)
    split = folder / "split.csv"
    split.write_text("pair,part\n" + "".join(f"{name},{part}\n" for name, part in parts.items()))
    return split


def graded(roof, grade):
    return roof._replace(grade=grade)


def shrunk(folder):
    path = str(folder / "images" / "storm_1_post_disaster.png")
    cv2.imwrite(path, cv2.imread(path)[:100])
