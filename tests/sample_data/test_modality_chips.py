import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sample_data.modality_chips import (
    EO_SIZE,
    KINDS,
    SAR_SIZE,
    draw_pair,
    make_chips,
    train_counts,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "chips"
    command = [sys.executable, "sample_data/make.py", "--chips", str(folder)]
    command += ["--train-chips", "60", "--test-chips", "3"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=120)
    return folder


def rows(folder, part, sensor):
    with (folder / f"{part}_{sensor}.csv").open(newline="") as file:
        return [(row["img_name"], int(row["class_id"])) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_row_n_of_both_tables_is_one_vehicle(folder, part):
    eo, sar = rows(folder, part, "EO"), rows(folder, part, "SAR")
    assert [(name.removeprefix("EO_"), label) for name, label in eo] == [
        (name.removeprefix("SAR_"), label) for name, label in sar
    ]


@pytest.mark.slow
def test_training_has_a_tail_and_the_other_parts_have_none(folder):
    counts = np.bincount([label for _, label in rows(folder, "train", "EO")])
    assert counts.tolist() == train_counts(60)
    assert counts[0] > 5 * counts[9] >= 5
    judged = np.bincount([label for _, label in rows(folder, "test", "EO")])
    assert judged.tolist() == [3] * 10


def test_no_vehicle_is_in_two_parts(folder):
    names = [
        name for part in ("train", "validation", "test") for name, _ in rows(folder, part, "EO")
    ]
    assert len(names) == len(set(names))


def test_chips_are_grey_and_of_the_challenge_s_sizes(folder):
    for sensor, size in (("EO", EO_SIZE), ("SAR", SAR_SIZE)):
        name = rows(folder, "test", sensor)[0][0]
        chip = cv2.imread(str(folder / f"test_{sensor}" / name), cv2.IMREAD_UNCHANGED)
        assert chip.shape == (size, size)
        assert chip.dtype == np.uint8
        assert chip.std() > 5


@pytest.mark.slow
def test_the_same_chips_are_drawn_again(folder, tmp_path):
    make_chips(tmp_path, 60, 1)
    name = rows(folder, "train", "SAR")[0][0]
    again = rows(tmp_path, "train", "SAR")
    assert again == rows(folder, "train", "SAR")
    first, second = (path / "train_SAR" / name for path in (folder, tmp_path))
    assert first.read_bytes() == second.read_bytes()


def test_corners_of_a_vehicle_are_bright_in_sar():
    for label, kind in enumerate(KINDS):
        bright = np.mean([np.sort(draw_pair(n, label)[1].ravel())[-8:].mean() for n in range(5)])
        middle = np.median(draw_pair(0, label)[1])
        assert bright > 2.5 * middle, kind
