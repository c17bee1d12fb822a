"""A peer: how a general tool runs the same graph over the same pair, to compare speeds with.

    python -m benchmarks.peer PRE POST OUTPUT --model fast --threads 2

It works as `predict_geotiff` of geoai does. Windows of 1,024 pixels overlap by 128 and are computed
one after the other. Answers are added up in one array of float64 for the whole scene.
`rasterio.features` makes polygons of it, and GeoPandas writes them. Both images must have one grid.
Nothing is looked at before, no building is split, and no probability, identity or status is
written.
"""

import argparse
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import onnxruntime
import rasterio
import rasterio.features
import shapely

from geodamage.model.card import read_card
from geodamage.model.loading import find_model
from geodamage.model.session import default_threads

#: Rows and columns of a window, and pixels that two of them share; the defaults of geoai.
SIDE, OVERLAP = 1024, 128


def starts(length: int, side: int = SIDE, overlap: int = OVERLAP) -> list[int]:
    """Return where windows begin that cover a length; the last one ends with it."""
    if length <= side:
        return [0]
    return [*range(0, length - side, side - overlap), length - side]


def predict(
    session: onnxruntime.InferenceSession, pre: Path, post: Path
) -> npt.NDArray[np.float64]:
    """Return localisation and the four grades of a pair, (5, rows, columns)."""
    with rasterio.open(pre) as before, rasterio.open(post) as after:
        rows, columns = before.shape
        total = np.zeros((5, rows, columns), np.float64)
        count = np.zeros((rows, columns), np.float64)
        for top in starts(rows):
            for left in starts(columns):
                height, width = min(SIDE, rows - top), min(SIDE, columns - left)
                window = rasterio.windows.Window(left, top, width, height)
                feed = {"pre": before.read(window=window), "post": after.read(window=window)}
                images = {
                    name: np.pad(
                        image, ((0, 0), (0, SIDE - height), (0, SIDE - width)), mode="reflect"
                    )[None]
                    for name, image in feed.items()
                }
                said = session.run(["localisation", "damage"], images)
                place = np.s_[top : top + height, left : left + width]
                total[(slice(None), *place)] += np.concatenate(said, 1)[0, :, :height, :width]
                count[place] += 1
    return np.asarray(total / count)


def polygons(
    probabilities: npt.NDArray[np.float64], threshold: float, profile: rasterio.profiles.Profile
) -> gpd.GeoDataFrame:
    """Return a polygon for each area of one grade."""
    grades = np.where(probabilities[0] > threshold, probabilities[1:].argmax(0) + 1, 0)
    found = rasterio.features.shapes(
        grades.astype(np.uint8), mask=grades > 0, transform=profile["transform"]
    )
    shapes, values = [], []
    for shape, value in found:
        shapes.append(shapely.geometry.shape(shape))
        values.append(int(value))
    return gpd.GeoDataFrame({"damage_class": values}, geometry=shapes, crs=profile["crs"])


def main() -> None:
    """Run the peer over a pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("pre", "post", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--threads", type=int, default=default_threads())
    given = parser.parse_args()
    blob = find_model(given.model).read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    with rasterio.open(given.pre) as dataset:
        profile = dataset.profile
    found = polygons(
        predict(session, given.pre, given.post), read_card(blob, given.model).threshold, profile
    )
    found.to_crs("EPSG:4326").to_file(given.output, driver="GeoJSON")
    print(f"{len(found):,} polygons")


if __name__ == "__main__":
    main()
