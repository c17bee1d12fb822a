# SPDX-License-Identifier: GPL-2.0-or-later
"""The buildings of a layer, as a review walks through them."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsFeature, QgsVectorLayer

from geodamage_qgis.results.reviews import field_value, request_fields, text
from geodamage_qgis.review.walk import ATTRIBUTES, Building
from geodamage_qgis.scale import PROBABILITIES


def read_buildings(layer: QgsVectorLayer) -> list[Building]:
    """Return the buildings of a layer that the model graded and its filter lets through."""
    features = layer.getFeatures(request_fields(layer, ATTRIBUTES))
    return [_building(feature) for feature in features if text(field_value(feature, "damage"))]


def _building(feature: QgsFeature) -> Building:
    return Building(
        feature_id=feature.id(),
        building_id=text(field_value(feature, "building_id")),
        damage=text(field_value(feature, "damage")),
        confidence=_number(field_value(feature, "confidence")),
        probabilities={g: _number(field_value(feature, name)) for g, name in PROBABILITIES.items()},
        status=text(field_value(feature, "status")),
        status_reason=text(field_value(feature, "status_reason")),
        area=_number(field_value(feature, "area_m2")),
        order=int(_number(field_value(feature, "sample_order"))),
    )


def is_sample(layer: QgsVectorLayer) -> bool:
    """Return whether a layer is a sample of buildings to look at."""
    return "sample_order" in layer.fields().names()


def _number(value: Any) -> float:
    return float(value) if value is not None else 0.0
