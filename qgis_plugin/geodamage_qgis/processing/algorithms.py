# SPDX-License-Identifier: GPL-2.0-or-later
"""The Processing algorithms of the plugin: parameters in, command run, layers out."""

from __future__ import annotations

from geodamage_qgis.processing.assess import Assess
from geodamage_qgis.processing.batch import Batch
from geodamage_qgis.processing.buildings import Buildings
from geodamage_qgis.processing.exchange import Compare, Event, Export
from geodamage_qgis.processing.learning import Adapt, Estimate, Regrade, Sample
from geodamage_qgis.processing.scoring import Masks, Score
from geodamage_qgis.processing.weights import ImportModel

#: Every algorithm of the provider.
ALGORITHMS = (
    Assess, Buildings, Batch, Event, Sample, Estimate, Adapt, Regrade, Export, Compare, Score,
    Masks, ImportModel,
)  # fmt: skip
