"""The ten vectors of the official metric: masks built in code, and what its scorer says."""

import cv2
import numpy as np

Y, X = np.mgrid[:1024, :1024]


def located(k):
    return (((X + 64 * k) // 64 + Y // 64) % 3 == 0).astype(np.uint8)


def damaged(k):
    grades = 1 + ((X + 128 * k) // 128 + 2 * (Y // 128) + k) % 4
    return (located(k) * grades).astype(np.uint8)


def same(k):
    return located(k), damaged(k), located(k), damaged(k)


def shifted(k):
    return np.roll(located(k), 8, 1), np.roll(damaged(k), 8, 1), located(k), damaged(k)


def confused():
    turned = damaged(0).copy()
    other = (turned > 0) & ((X + Y) % 5 == 0)
    turned[other] = turned[other] % 4 + 1
    return located(0), turned, located(0), damaged(0)


def gated():
    found = located(0)
    found[:, :512] = 0
    return found, damaged(0), located(0), damaged(0)


def all_of_one():
    ones = np.ones((1024, 1024), np.uint8)
    return ones, ones, located(0), damaged(0)


def class_absent():
    found, grades = located(0), damaged(0)
    found[grades == 4] = 0
    grades[grades == 4] = 0
    return found, grades, found, grades


def empty_image():
    found, nothing = np.zeros((2, 1024, 1024), np.uint8)
    found[:256, :256] = 1
    return found, found * 3, nothing, nothing


def empty_prediction():
    nothing = np.zeros((1024, 1024), np.uint8)
    return nothing, nothing, located(0), damaged(0)


def targets_differ():
    target = damaged(0)
    target[:, :512] = 0
    return located(0), damaged(0), located(0), target


# Source: run of the official script, reference/systems.md section 1.3: images, score, damage F1,
# localisation F1, F1 of each grade.
VECTORS = {
    "A": (lambda: [same(0), same(1)], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
    "B": (
        lambda: [shifted(0), shifted(1)],
        0.91547261,
        0.929371899,
        0.883040936,
        [0.933333333, 0.926153846, 0.933333333, 0.924731183],
    ),
    "C": (
        lambda: [confused()],
        0.859970682,
        0.799958117,
        1,
        [0.8036632, 0.800002219, 0.796200196, 0.799997675],
    ),
    "D": (
        lambda: [gated()],
        0.665023349,
        0.66431907,
        0.666666667,
        [0.705882353, 0.625, 0.64516129, 0.6875],
    ),
    "E": (lambda: [all_of_one()], 0.150878126, 1.333e-06, 0.502923977, [0.407407407, 0, 0, 0]),
    "F": (lambda: [class_absent()], 0.3000028, 4.0e-06, 1, [1, 1, 1, 0]),
    "G": (lambda: [same(0), empty_image()], 0.974468785, 1.000001, 0.914893617, [1, 1, 1, 1]),
    "H": (lambda: [(damaged(1),) * 4], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
    "I": (lambda: [empty_prediction()], 7e-07, 1e-06, 0, [0, 0, 0, 0]),
    "J": (lambda: [targets_differ()], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
}
# True positives, false negatives, false positives of localisation and of the four grades. A-E: that
# run. F-J follow by hand: one image of k=0 has 352256 pixels of buildings, 90112, 90112, 86016 and
# 86016 of the grades; k=1 is what is left of A.
COUNTS = {
    "A": [
        (700416, 0, 0),
        *[(180224, 0, 0), (176128, 0, 0), (167936, 0, 0), (176128, 0, 0)],
    ],
    "B": [
        (618496, 81920, 81920),
        *[(157696, 22528, 0), (154112, 22016, 2560), (146944, 20992, 0), (154112, 22016, 3072)],
    ],
    "C": [
        (352256, 0, 0),
        (72091, 18021, 17203),
        (72089, 18023, 18021),
        (68812, 17204, 18023),
        (68813, 17203, 17204),
    ],
    "D": [
        (176128, 176128, 0),
        *[(49152, 40960, 0), (40960, 49152, 0), (40960, 45056, 0), (45056, 40960, 0)],
    ],
    "E": [
        (352256, 0, 696320),
        *[(90112, 0, 262144), (0, 90112, 0), (0, 86016, 0), (0, 86016, 0)],
    ],
    "F": [
        (352256 - 86016, 0, 0),
        *[(90112, 0, 0), (90112, 0, 0), (86016, 0, 0), (0, 0, 0)],
    ],
    "G": [
        (352256, 0, 256 * 256),
        *[(90112, 0, 0), (90112, 0, 0), (86016, 0, 0), (86016, 0, 0)],
    ],
    "H": [
        (700416 - 352256, 0, 0),
        *[(90112, 0, 0), (86016, 0, 0), (81920, 0, 0), (90112, 0, 0)],
    ],
    "I": [
        (0, 352256, 0),
        *[(0, 90112, 0), (0, 90112, 0), (0, 86016, 0), (0, 86016, 0)],
    ],
    "J": [
        (352256, 0, 0),
        *[(49152, 0, 0), (40960, 0, 0), (40960, 0, 0), (45056, 0, 0)],
    ],
}


def write_masks(folder, images, part="test"):
    """Write masks, by id, in the official layout; return the two folders."""
    predictions, targets = folder / "predictions", folder / "targets"
    for path in (predictions, targets):
        path.mkdir(parents=True, exist_ok=True)
    for number, masks in images.items():
        names = (
            predictions / f"{part}_localization_{number}_prediction.png",
            predictions / f"{part}_damage_{number}_prediction.png",
            targets / f"{part}_localization_{number}_target.png",
            targets / f"{part}_damage_{number}_target.png",
        )
        for path, mask in zip(names, masks, strict=True):
            assert cv2.imwrite(str(path), mask)
    return predictions, targets
