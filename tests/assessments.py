"""Runs of assess, and what they found."""

import geopandas as gpd
import numpy as np

from tests.conftest import (
    CORNER,
    UTM,
    Roof,
    run_command,
)


def run(pair, output, model, *options):
    """Run the command; it must succeed. Return what it wrote."""
    result = run_command("assess", *pair, "-o", output, "--model", model, *options)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    return read(output)


def read(path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer=0)


def in_pixels(frame):
    """Return the rows and columns of the boxes, and grades, as `Roof`s."""
    found = []
    for (left, bottom, right, top), grade in zip(
        frame.to_crs(UTM).bounds.to_numpy(), frame["damage_class"], strict=True
    ):
        row, column = (CORNER[1] - top) * 2, (left - CORNER[0]) * 2
        numbers = row, column, (top - bottom) * 2, (right - left) * 2, grade
        assert np.abs(np.array(numbers) - np.round(numbers)).max() < 0.05
        found.append(Roof(*(round(number) for number in numbers)))
    return sorted(found)


def comparable(frame):
    """Return the rows of a frame in an order that does not depend on how they were found."""
    frame = frame.sort_values("building_id").reset_index(drop=True)
    return frame.assign(wkt=frame.geometry.normalize().to_wkt()).drop(columns="geometry")


def write_footprints(path, ids, shapes, crs=UTM):
    gpd.GeoDataFrame({"uid": ids}, geometry=shapes, crs=crs).to_file(path)
    return path
