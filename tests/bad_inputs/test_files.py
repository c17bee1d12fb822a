import struct

import geopandas as gpd
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from geodamage.output.publication import read_sidecar
from tests.bad_inputs.attempts import TILED, TRUTH, damaged, grades, row
from tests.conftest import (
    CORNER,
    UTM,
    make_arrays,
    make_pixels,
    make_raster,
)

# The file itself


@pytest.mark.parametrize(
    "content",
    [
        row(1, b"", name="empty"),
        row(2, b"II*\0\x08\0\0", name="7 bytes"),
        row(3, b"II*\0\x08\0\0\0", name="header only"),
        row(3, b"II+\0\x08\0\0\0\x10" + bytes(7), name="BigTIFF header only"),
    ],
)
@pytest.mark.parametrize("role", ["pre", "post"])
def test_a_file_without_pixels_is_refused(attempts, content, role):
    path = attempts.folder / "bad.tif"
    path.write_bytes(content)
    attempts.refuse(**{role: path}, words=[path])


@pytest.mark.parametrize(
    "layout", [{}, TILED, TILED | {"compress": "deflate"}], ids=["strips", "tiles", "deflate"]
)
@pytest.mark.parametrize("share", [row(4, 0.25, name="25%"), row(4, 0.9, name="90%")])
def test_a_truncated_file_is_refused(attempts, share, layout):
    path = damaged(attempts, lambda content: content[: int(len(content) * share)], **layout)
    attempts.refuse(pre=path, words=[path, "damaged"])
    attempts.refuse(post=path, words=[path, "damaged"])


@pytest.mark.parametrize("place", [row(5, place, name=place) for place in (0.3, 0.6, 0.9)])
def test_flipped_bytes_are_refused_with_their_rows(attempts, place):
    def flip(content):
        start = int(len(content) * place)
        content[start : start + 4096] = bytes(b ^ 0xFF for b in content[start : start + 4096])
        return content

    path = damaged(attempts, flip, **TILED, compress="deflate")
    attempts.refuse(pre=path, words=[path, "rows", "columns", "damaged"])


@pytest.mark.parametrize("layout", [row(6, {}, name="strips"), row(6, TILED, name="tiles")])
def test_a_missing_last_byte_is_refused(attempts, layout):
    path = damaged(attempts, lambda content: content[:-1], **layout)
    attempts.refuse(pre=path, words=[path, "rows"])


#: Row and column of what is in a giant; within a block.
MIDDLE = 500_000


@pytest.fixture(scope="module")
def giants(tmp_path_factory):
    """Return a sparse pair of 10^6 x 10^6 pixels with something in the middle."""
    folder = tmp_path_factory.mktemp("giants")
    paths = []
    for name, array in zip(("pre", "post"), make_arrays(), strict=True):
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", count=3, dtype="uint8",
            width=1_000_000, height=1_000_000, crs=UTM, SPARSE_OK=True, BIGTIFF="YES", tiled=True,
            transform=Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]),
            blockxsize=4096, blockysize=4096, interleave="band", compress="deflate",
        ) as dataset:  # fmt: skip
            dataset.write(array, window=Window(MIDDLE, MIDDLE, 160, 128))
        paths.append(folder / f"{name}.tif")
    return paths


@pytest.mark.slow
def test_row13_too_many_pixels_are_refused_with_their_number(attempts, giants):
    pre, post = giants
    attempts.refuse(pre=pre, post=post, words=["1000000 x 1000000", "--aoi"])


@pytest.mark.slow
def test_row13_a_part_of_too_many_pixels_is_assessed(attempts, giants):
    left, top = CORNER[0] + MIDDLE / 2, CORNER[1] - MIDDLE / 2
    area = shapely.box(left, top - 64, left + 80, top)
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(attempts.folder / "aoi.gpkg")
    pre, post = giants
    frame = attempts.read("--aoi", attempts.folder / "aoi.gpkg", pre=pre, post=post)
    assert grades(frame) == TRUTH
    warnings = read_sidecar(attempts.out / "b.gpkg")["warnings"]
    assert [text for text in warnings if f"{pre}: no valid pixel in a sample" in text]


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        row(14, (1, 1), "line.tif: every pixel has", name="1x1"),
        row(14, (1, 300), "post.tif overlap in 1 x 160 pixels only", name="1xN"),
        row(14, (300, 1), "post.tif overlap in 128 x 1 pixels only", name="Nx1"),
    ],
)
def test_an_image_of_a_pixel_or_a_line_is_refused(attempts, shape, word):
    path = make_raster(attempts.folder / "line.tif", make_pixels(*shape))
    attempts.refuse(pre=path, words=[path, word])


@pytest.mark.parametrize("tag", [row(14, 256, name="no columns"), row(14, 257, name="no rows")])
def test_an_image_without_pixels_is_refused(attempts, tag):
    def shrink(content):
        place = content.index(struct.pack("<HHI", tag, 3, 1))
        content[place + 8 : place + 12] = bytes(4)
        return content

    path = damaged(attempts, shrink)
    attempts.refuse(pre=path, words=[path])


# Files of other kinds


@pytest.mark.parametrize("driver", [row(19, "PNG", name="PNG"), row(19, "JPEG", name="JPEG")])
def test_other_formats_named_tif_are_refused(attempts, driver):
    path = attempts.folder / "picture.tif"
    profile = {"driver": driver, "count": 3, "height": 64, "width": 64, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(make_pixels(64, 64))
    attempts.refuse(pre=path, words=[path, "not a GeoTIFF"])
