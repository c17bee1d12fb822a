"""What is counted as a fault, on drawn labels."""

import numpy as np

from benchmarks.faults import count_faults, row


def drawn(*boxes):
    """Return an index of boxes: top, bottom, left, right."""
    index = np.zeros((60, 60), np.int32)
    for number, (top, bottom, left, right) in enumerate(boxes, 1):
        index[top:bottom, left:right] = number
    return index


def test_a_roof_in_pieces_a_shed_and_a_pond_are_counted():
    truth = drawn((0, 30, 0, 30), (40, 45, 40, 45), (50, 56, 0, 6))
    found = drawn((0, 14, 0, 30), (16, 30, 0, 30), (50, 56, 0, 6), (32, 38, 50, 56))
    counts, faults = count_faults(truth, found, 1.0)
    assert counts._asdict() == {
        "large": 1, "whole": 0, "pieces": 2, "covered": 840 / 900, "small": 2, "matched": 1,
        "half": 1, "found": 4, "nothing": 1,
    }  # fmt: skip
    assert [(fault.kind, fault.size) for fault in faults] == [
        ("large", 2.0), ("small", 25.0), ("nothing", 36.0),
    ]  # fmt: skip
    assert faults[2].pixels.min(1).tolist() == [32, 50]


def test_a_crumb_on_a_roof_is_no_piece_and_a_touched_label_is_something():
    truth = drawn((0, 30, 0, 30))
    found = drawn((0, 30, 0, 26), (0, 6, 27, 30), (28, 40, 27, 39))
    counts, faults = count_faults(truth, found, 1.0)
    assert (counts.large, counts.whole, counts.pieces) == (1, 1, 1)
    assert counts.nothing == 1  # 6 of 144 pixels, less than a twentieth
    assert [fault.kind for fault in faults] == ["nothing"]


def test_an_empty_pair_has_no_faults_and_parts_add_up():
    nothing, faults = count_faults(drawn(), drawn(), 1.0)
    assert (sum(nothing), faults) == (0, [])
    some, _ = count_faults(drawn((0, 30, 0, 30)), drawn((0, 30, 0, 30)), 1.0)
    assert row("m", [nothing, some, some]) == (
        "| m | 2 | 1.00 | 1.00 | 1.00 | 0 | 0.000 | 0.000 | 2 | 0 | 0.000 |"
    )
