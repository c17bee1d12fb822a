#!/usr/bin/env bash
# safetensors 0.8.0, its numpy front end: an array that is not C-contiguous (a transposed matrix, every
# second column) is saved with its shape and the bytes as they lie in memory, so that other
# values are loaded and nothing is raised. 0.7.0 saves the right values.
#
# Seen on 2026-11-30, Python 3.11, numpy 2.4.6; [[0, 1, 2], [3, 4, 5]] transposed:
#   0.8.0  [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
#   0.7.0  [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
for version in 0.8.0 0.7.0; do
  "$folder/env/bin/pip" install -q safetensors==$version numpy==2.4.6
  "$folder/env/bin/python" - $version <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load, save

array = np.arange(6, dtype=np.float32).reshape(2, 3).T
loaded = load(save({"weights": array}))["weights"]
print(sys.argv[1], loaded.tolist())
assert loaded.shape == array.shape
assert np.array_equal(loaded, array) == (sys.argv[1] == "0.7.0"), "the behaviour has changed"
PYTHON
done
