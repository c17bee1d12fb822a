"""Results compared feature by feature, whoever wrote them, and their facts."""

import json
from pathlib import Path


def read_features(path: Path) -> list[tuple]:
    """Return the features of a result: attributes but the file's own key, and geometry."""
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(str(path), "result", "ogr")
    assert layer.isValid(), path
    names = [name for name in layer.fields().names() if name != "fid"]
    return sorted(
        (feature["building_id"], [feature[name] for name in names], feature.geometry().asWkt())
        for feature in layer.getFeatures()
    )


def facts_of(path: Path) -> dict:
    """Return the sidecar of a result."""
    return json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
