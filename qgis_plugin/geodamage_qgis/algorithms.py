# SPDX-License-Identifier: GPL-2.0-or-later
"""The Processing algorithms of the plugin: parameters in, command run, layers out."""

from __future__ import annotations

from .assess import Assess
from .batch import Batch
from .footprints import Buildings
from .scoring import Masks, Score

#: Every algorithm of the provider.
ALGORITHMS = (Assess, Buildings, Batch, Score, Masks)
