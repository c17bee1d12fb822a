# SPDX-License-Identifier: GPL-2.0-or-later
"""Corrections in the fields of a layer, beside the journal that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from qgis.core import (
    NULL,
    Qgis,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsVectorDataProvider,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, QMetaType, Qt, QVariant

from geodamage_qgis.errors import PluginError
from geodamage_qgis.results.journal import Review, append_reviews, journal_path, read_journal
from geodamage_qgis.results.results import output_path
from geodamage_qgis.translation import tr

FIELDS = ("reviewed_damage", "reviewer", "reviewed_at")


def now() -> str:
    """Return this moment as ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def restore(layer: QgsVectorLayer) -> dict[str, Review]:
    """Bring a layer and its journal together; return all corrections, by `building_id`.

    Corrections of the journal are written to the buildings that have their ids. Corrections that
    only the layer has are added to the journal, so they survive the next run.

    Raises
    ------
    PluginError
        If the journal cannot be read, or one of the two cannot be written.
    """
    path = output_path(layer)
    held = read_journal(path) if path else {}
    shown = shown_reviews(layer)
    new = [review for name, review in shown.items() if name not in held]
    if path and new:
        append_reviews(path, new)
    if why_read_only(layer) is None:
        late = {name: review for name, review in held.items() if shown.get(name) != review}
        features = find_features(layer, set(late))
        write_reviews(layer, {features[name]: late[name] for name in late if name in features})
    return {**shown, **held}


def shown_reviews(layer: QgsVectorLayer) -> dict[str, Review]:
    """Return the reviews in the fields of a layer, by `building_id`."""
    if "reviewed_damage" not in layer.fields().names():
        return {}
    request = request_fields(layer, ("building_id", *FIELDS))
    found = {}
    for feature in layer.getFeatures(request):
        grade = text(field_value(feature, "reviewed_damage"))
        if grade:
            name = text(field_value(feature, "building_id"))
            reviewer = text(field_value(feature, "reviewer"))
            moment = _moment(field_value(feature, "reviewed_at"))
            found[name] = Review(name, grade, reviewer, moment)
    return found


def find_features(layer: QgsVectorLayer, names: set[str]) -> dict[str, int]:
    """Return the feature ids of buildings, by `building_id`."""
    if not names:
        return {}
    request = request_fields(layer, ("building_id",))
    pairs = ((text(f["building_id"]), f.id()) for f in layer.getFeatures(request))
    return {name: feature_id for name, feature_id in pairs if name in names}


def find_feature(layer: QgsVectorLayer, name: str, *, near: int) -> QgsFeature | None:
    """Return the feature of a building, by its `building_id`; None where there is none.

    Parameters
    ----------
    layer
        A result.
    name
        The `building_id`.
    near
        Feature id that it had: it is looked at first, and has another after a run.
    """
    feature = layer.getFeature(near)
    if feature.isValid() and text(field_value(feature, "building_id")) == name:
        return feature
    found = find_features(layer, {name})
    return layer.getFeature(found[name]) if name in found else None


def why_read_only(layer: QgsVectorLayer) -> str | None:
    """Return in one line why corrections cannot be written to a layer; None where they can."""
    path = output_path(layer)
    name = path.name if path else layer.name()
    if layer.readOnly() or not all(_can(layer)):
        kept = (
            tr("corrections are kept in {file} only", file=journal_path(path).name)
            if path
            else tr("nothing kept")
        )
        return tr(
            "QGIS cannot change {name}: {kept}; save it as GeoPackage to have them in the layer",
            name=name,
            kept=kept,
        )
    return None


def _can(layer: QgsVectorLayer) -> Iterator[bool]:
    """Yield whether the format allows each thing that a correction needs."""
    can = layer.dataProvider().capabilities()
    yield bool(can & QgsVectorDataProvider.Capability.ChangeAttributeValues)
    if _missing(layer):
        yield bool(can & QgsVectorDataProvider.Capability.AddAttributes)


def write_reviews(layer: QgsVectorLayer, reviews: Mapping[int, Review]) -> None:
    """Write reviews to the fields of features, which are added where they are missing.

    A layer that the user edits gets them as one edit of that session, to be saved or undone with
    the rest. Any other layer is opened, changed and saved.

    Parameters
    ----------
    layer
        A layer that `why_read_only` has nothing against.
    reviews
        By feature id; one whose grade is None empties the fields.

    Raises
    ------
    PluginError
        If QGIS cannot write.
    """
    if not reviews:
        return
    with _session(layer):
        _add_fields(layer)
        fields = [layer.fields().lookupField(name) for name in FIELDS]
        for feature_id, review in reviews.items():
            for index, value in zip(fields, _values(layer, review)):
                if not layer.changeAttributeValue(feature_id, index, value):
                    raise PluginError(
                        tr(
                            "building {building} of {layer} cannot be changed; the correction "
                            "is in the journal",
                            building=review.building_id,
                            layer=layer.name(),
                        )
                    )


@contextmanager
def _session(layer: QgsVectorLayer) -> Iterator[None]:
    """Open an edit, inside the user's session or in one that is saved at the end."""
    users = layer.isEditable()
    if not users and not layer.startEditing():
        raise PluginError(
            tr(
                "layer {layer} cannot be edited; the correction is in the journal",
                layer=layer.name(),
            )
        )
    layer.beginEditCommand(tr("Review of building damage"))
    try:
        yield
    except PluginError:
        layer.destroyEditCommand()
        if not users:
            layer.rollBack()
        raise
    layer.endEditCommand()
    if not users and not layer.commitChanges():
        reason = "; ".join(layer.commitErrors()).replace("\n", " ")
        layer.rollBack()
        raise PluginError(
            tr("cannot write to {layer}: {reason}", layer=layer.name(), reason=reason)
        )


def _add_fields(layer: QgsVectorLayer) -> None:
    for name in _missing(layer):
        if not layer.addAttribute(QgsField(name, _text_type())):
            raise PluginError(
                tr("field {name} cannot be added to {layer}", name=name, layer=layer.name())
            )
    layer.updateFields()


def _missing(layer: QgsVectorLayer) -> list[str]:
    names = layer.fields().names()
    return [name for name in FIELDS if name not in names]


def _text_type() -> Any:
    # From 3.38 on QGIS types fields by QMetaType; in PyQt6, QVariant has no types.
    if Qgis.QGIS_VERSION_INT >= 33800:
        return QMetaType.Type.QString
    return QVariant.String


def _values(layer: QgsVectorLayer, review: Review) -> tuple[Any, Any, Any]:
    """Return what the three fields get."""
    if review.reviewed_damage is None:
        return NULL, NULL, NULL
    # Text says UTC in every format; GeoJSON that is read again has turned it into a moment.
    moment: Any = review.reviewed_at
    if layer.fields().field("reviewed_at").isDateOrTime():
        moment = QDateTime.fromString(review.reviewed_at, Qt.DateFormat.ISODate)
    return review.reviewed_damage, review.reviewer, moment


def request_fields(layer: QgsVectorLayer, names: tuple[str, ...]) -> QgsFeatureRequest:
    """Return a request of some fields, those that the layer has, without geometries."""
    known = [name for name in names if name in layer.fields().names()]
    request = QgsFeatureRequest()
    request.setFlags(QgsFeatureRequest.Flag.NoGeometry)
    request.setSubsetOfAttributes(known, layer.fields())
    return request


def field_value(feature: QgsFeature, name: str) -> Any:
    """Return what a field holds; None where it is null, or the layer lacks the field."""
    index = feature.fields().lookupField(name)
    value = feature.attribute(index) if index >= 0 else None
    return None if value == NULL else value


def text(value: Any) -> str:
    """Return a value as text, and null as an empty one."""
    return "" if value is None or value == NULL else str(value)


def _moment(value: Any) -> str:
    """Return a moment as ISO 8601, UTC."""
    if not isinstance(value, QDateTime):
        return text(value)
    # Formats that lose the time zone hold the UTC that was written to them.
    if value.timeSpec() == Qt.TimeSpec.LocalTime:
        return str(value.toString("yyyy-MM-ddTHH:mm:ss")) + "Z"
    return str(value.toUTC().toString(Qt.DateFormat.ISODate))
