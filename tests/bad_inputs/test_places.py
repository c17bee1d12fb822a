import struct

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from geodamage.output.publication import read_sidecar
from tests.bad_inputs.attempts import TRUTH, grades, one, row
from tests.conftest import (
    CORNER,
    ROOFS,
    UTM,
    make_scene,
)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        row(48, {"crs": None}, ["has no CRS", "a_srs"], name="no CRS"),
        row(53, {"transform": Affine.identity()}, ["not georeferenced"], name="identity"),
        row(53, {"transform": Affine(0, 0, 5, 0, 0, 6)}, ["transform"], name="zero scale"),
        row(53, {"transform": Affine(np.nan, 0, 5, 0, -1, 6)}, ["transform"], name="NaN"),
        row(53, {"transform": Affine(0.5, 0, 5, 0, -np.inf, 6)}, ["transform"], name="infinity"),
        row(
            60,
            {"transform": Affine(0.5, 0, CORNER[0] + 500, 0, -0.5, CORNER[1])},
            ["do not overlap", "pre covers -85.6", "post covers -85.6"],
            name="no overlap",
        ),
        row(60, {"crs": "EPSG:32717"}, ["do not overlap", "post covers -85.6"], name="far apart"),
    ],
)
def test_an_image_of_no_or_another_place_is_refused(attempts, options, words):
    path = one(attempts, **options)
    named = [] if "overlap" in words[0] else [path]
    attempts.refuse(pre=path, words=[*named, *words])


def test_row51_an_unknown_epsg_code_is_refused(attempts):
    path = one(attempts)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHHH", 3072, 0, 1, 32616))
    content[place + 6 : place + 8] = struct.pack("<H", 32500)
    path.write_bytes(content)
    attempts.refuse(pre=path, words=[path, "PROJ does not know its CRS", "UTM zone 16N", "EPSG"])


@pytest.mark.slow
def test_row57_images_in_degrees_are_measured_in_metres(attempts):
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*CORNER)
    across, down = 0.5 / (111_320 * np.cos(np.radians(lat))), 0.5 / 110_860
    place = {"crs": "EPSG:4326", "transform": Affine(across, 0, lon, 0, -down, lat)}
    pair = make_scene(attempts.folder / "in", **place)
    frame = attempts.read(pre=pair.pre, post=pair.post)
    assert grades(frame) == TRUTH
    expected = sum(roof.height * roof.width / 4 for roof in ROOFS)
    assert frame["area_m2"].sum() == pytest.approx(expected, rel=0.05)
    facts = read_sidecar(attempts.out / "b.gpkg")["scene"]
    assert facts["crs"] == UTM
    assert facts["gsd"] == pytest.approx(0.5, rel=0.01)


def test_row57_degrees_called_metres_are_refused(attempts):
    place = {"transform": Affine(5e-6, 0, CORNER[0], 0, -4.5e-6, CORNER[1])}
    attempts.refuse(pre=one(attempts, **place), words=["m per pixel"])
