"""Results of an event that nobody assessed: boxes in a row of blocks, with features and grades."""

import json

import geopandas as gpd
import numpy as np
import shapely

from geodamage.adaptation.feature_file import FeatureWriter
from geodamage.adaptation.fingerprints import fingerprint
from geodamage.buildings.finding import Grading
from geodamage.output.vectors import write_buildings

UTM = "EPSG:32616"
MODEL = {
    "name": "fast", "version": "1", "sha256": "a" * 64, "licence": "CC0-1.0",
    "training_data": "none", "provider": "none", "tta": "none",
}  # fmt: skip


def make_truth(count, seed=0):
    """Return grades 1-4, int (n,), two thirds of them no damage."""
    return np.random.default_rng(seed).choice([1, 2, 3, 4], count, p=SHARES)


SHARES = [0.6, 0.1, 0.1, 0.2]


def make_said(truth, knows, seed=1):
    """Return what a model says, (n, 4): the more it knows, the more of it is the truth.

    It is right as often as it says.
    """
    signal = np.random.default_rng(seed).normal(size=(len(truth), 4)) + knows * np.eye(4)[truth - 1]
    odds = knows * signal + np.log(SHARES)
    raised = np.exp(odds - odds.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def make_features(truth, tells, width=12, seed=2):
    """Return features, float16 (n, 2 * width), whose first number after tells the grade."""
    features = np.random.default_rng(seed).normal(size=(len(truth), 2 * width))
    features[:, width] += tells * (truth - 1)
    return features.astype(np.float16)


def make_frame(said, ids=None):
    """Return the buildings as a result has them, side by side on 20 by 20 m each."""
    count = len(said)
    column, row = np.arange(count) % 20 * 20, np.arange(count) // 20 * 20
    shapes = shapely.box(500_000 + column, 3_300_000 + row, 500_010 + column, 3_300_010 + row)
    frame = gpd.GeoDataFrame(
        {
            "building_id": [f"b{n}" for n in range(count)] if ids is None else ids,
            **Grading().columns(said),
            "status": "assessed",
            "status_reason": None,
            "valid_fraction": 1.0,
            "area_m2": 100.0,
            "source": "model",
        },
        geometry=shapes,
        crs=UTM,
    )
    points = frame.geometry.centroid.to_crs("EPSG:4326")
    return frame.assign(lon=points.x, lat=points.y)


def write_result(folder, said, features, *, name="buildings.gpkg", ids=None, **facts):
    """Write a result with its features; return the path of the buildings."""
    path, frame = folder / name, make_frame(said, ids)
    write_buildings([frame], path, frame.crs)
    kept = folder / f"{path.stem}.npz"
    writer = FeatureWriter(kept)
    writer.add(frame["building_id"].to_list(), features, said, frame[["lon", "lat"]].to_numpy())
    writer.finish(
        {
            "network": "drawn", "network_sha256": "b" * 64, "model": "fast",
            "model_sha256": MODEL["sha256"], "result": fingerprint(frame),
        }
    )  # fmt: skip
    whole = {
        "statement": "drawn", "model": MODEL, "features": {"file": kept.name},
        "thresholds": {"damaged": 0.5}, "software": {},
    }  # fmt: skip
    path.with_name(f"{name}.json").write_text(json.dumps(whole | facts))
    return path


def write_answers(path, truth, rows):
    """Write a table of answers."""
    names = ["", "no-damage", "minor-damage", "major-damage", "destroyed"]
    lines = [f"b{row},{names[truth[row]]}" for row in rows]
    path.write_text("\n".join(["building_id,damage", *lines]) + "\n")
    return path
