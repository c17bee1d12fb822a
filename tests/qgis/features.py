"""Results compared feature by feature, whoever wrote them."""

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
