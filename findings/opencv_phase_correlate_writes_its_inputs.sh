#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: cv2.phaseCorrelate(a, b, window) multiplies both inputs by the window
# in place where their sides need no padding for the Fourier transform, arrays marked read-only
# included. Measuring the same pair twice then gives two shifts. Where sides are padded the inputs stay.
#
# Seen on 2026-11-30, Python 3.11, numpy 2.4.6; a smooth texture moved (and wrapped) by 3 pixels:
#   side 64  inputs kept: False  first 2.58  second 2.86
#   side 61  inputs kept: True   first 2.33  second 2.33
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q opencv-python-headless==5.0.0.93 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import cv2
import numpy as np

texture = cv2.GaussianBlur(np.random.default_rng(0).random((200, 200)), (0, 0), 2)
kept = {}
for side in (64, 61):
    before = np.ascontiguousarray(texture[:side, :side])
    after = np.roll(before, 3, axis=1)
    before.flags.writeable = after.flags.writeable = False
    copies = before.copy(), after.copy()
    window = cv2.createHanningWindow((side, side), cv2.CV_64F)
    first = cv2.phaseCorrelate(before, after, window)[0][0]
    second = cv2.phaseCorrelate(before, after, window)[0][0]
    kept[side] = np.array_equal(before, copies[0]) and np.array_equal(after, copies[1])
    print(f"side {side}  inputs kept: {kept[side]}  first {first:.2f}  second {second:.2f}")
    assert (first == second) == kept[side]
assert kept == {64: False, 61: True}, "the behaviour has changed"
PYTHON
