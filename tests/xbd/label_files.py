"""Label files of xBD, changed and written."""

import json


def edit(folder, date, change, name="storm_1"):
    """Change the features of one label file; `change` gets them and returns them or None."""
    path = folder / "labels" / f"{name}_{date}_disaster.json"
    document = json.loads(path.read_text())
    change(document["features"])
    path.write_text(json.dumps(document))


def no_degrees(features):
    features["lng_lat"] = []


PRE, POST = "storm_00000001_pre_disaster", "storm_00000001_post_disaster"
SQUARES = {
    "no-damage": "POLYGON ((0 0, 3 0, 3 3, 0 3, 0 0))",
    "destroyed": "POLYGON ((5 0, 8 0, 8 3, 5 3, 5 0))",
    "un-classified": "POLYGON ((0 5, 3 5, 3 8, 0 8, 0 5))",
}


def write_labels(folder, *names, squares=SQUARES, metadata=None):
    """Write label files of squares of 4 x 4 pixels, on 12 x 10 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        graded = "post" in name
        features = [
            {"properties": {"uid": s} | ({"subtype": s} if graded else {}), "wkt": wkt}
            for s, wkt in squares.items()
        ]
        document = {
            "features": {"xy": features, "lng_lat": []},
            "metadata": {"width": 12, "height": 10} if metadata is None else metadata,
        }
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder
