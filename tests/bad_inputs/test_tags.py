"""Tags of a TIFF that are odd, and what stands in files beside it."""

import os
import struct
import subprocess
import sys
import zipfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.crs import CRS

from geodamage.errors import InputError
from geodamage.output.publication import read_sidecar
from geodamage.scene.tiles import open_tile
from tests.bad_inputs.attempts import TRUTH, grades, one, row
from tests.conftest import (
    CORNER,
    UTM,
    listing,
    make_arrays,
    make_pixels,
    make_raster,
    run_command,
)

#: Tags of a TIFF.
COMPRESSION, STRIP_SIZES, GEOKEYS = 259, 279, 34735


def directory(content):
    """Return where the first directory is and how many tags it has."""
    (start,) = struct.unpack_from("<I", content, 4)
    return start, struct.unpack_from("<H", content, start)[0]


def place_of(content, tag):
    """Return where the twelve bytes of a tag are."""
    start, count = directory(content)
    places = [start + 2 + 12 * number for number in range(count)]
    return next(p for p in places if struct.unpack_from("<H", content, p)[0] == tag)


def changed(attempts, change, **options):
    """Write a good image, and change its bytes in place."""
    path = one(attempts, **options)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


@pytest.mark.slow
def test_row7_directories_in_a_ring_are_read_once(attempts):
    def close_the_ring(content):
        start, count = directory(content)
        struct.pack_into("<I", content, start + 2 + 12 * count, start)

    assert grades(attempts.read(pre=changed(attempts, close_the_ring))) == TRUTH


def test_row8_a_directory_beyond_the_end_is_refused(attempts):
    path = changed(attempts, lambda content: struct.pack_into("<I", content, 4, len(content) + 99))
    attempts.refuse(pre=path, words=[path, "not a GeoTIFF"])


@pytest.mark.slow
def test_row9_no_more_of_a_strip_is_read_than_it_needs(attempts):
    def claim(content):
        place = place_of(content, STRIP_SIZES)
        kind, count, value = struct.unpack_from("<HII", content, place + 2)
        size, most = ("<H", 2**16 - 1) if kind == 3 else ("<I", 2**32 - 1)
        is_inside = count * struct.calcsize(size) <= 4
        struct.pack_into(size, content, place + 8 if is_inside else value, most)

    assert grades(attempts.read(pre=changed(attempts, claim))) == TRUTH


def test_row10_a_bigtiff_that_is_none_is_refused(attempts):
    path = changed(attempts, lambda content: struct.pack_into("<H", content, 2, 43))
    attempts.refuse(pre=path, words=[path, "not a GeoTIFF"])


def test_row11_an_unknown_compression_is_refused_by_its_number(attempts):
    def compress(content):
        struct.pack_into("<H", content, place_of(content, COMPRESSION) + 8, 60123)

    path = changed(attempts, compress)
    attempts.refuse(pre=path, words=[path, "60123"])


def test_row15_a_thousand_channels_need_bands(attempts):
    path = make_raster(attempts.folder / "many.tif", make_pixels(20, 20, channels=1000))
    attempts.refuse(pre=path, words=[path, "1,000 channels", "--bands 1,2,3"])


@pytest.mark.slow
def test_row16_an_image_smaller_than_a_window_is_mirrored(attempts):
    pre, post = (
        make_raster(attempts.folder / f"{name}.tif", array[:, :20, :20])
        for name, array in zip(("pre", "post"), make_arrays(), strict=True)
    )
    attempts.read(pre=pre, post=post)
    sidecar = read_sidecar(attempts.out / "b.gpkg")
    assert sidecar["scene"]["pre"]["files"][0]["shape"] == [20, 20]


BOMB = '<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><PAMDataset>&b;</PAMDataset>'
MOVED = "<PAMDataset><GeoTransform>1, 2, 0, 4, 0, -6</GeoTransform></PAMDataset>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "text"),
    [
        row(26, ".tif.aux.xml", BOMB, name="bomb"),
        row(27, ".tif.aux.xml", MOVED, name="PAM"),
        row(27, ".tfw", "9\n0\n0\n-9\n0\n0\n", name="world file"),
    ],
)
def test_what_stands_beside_an_image_does_not_move_it(attempts, ending, text):
    path = one(attempts)
    expected = attempts.read(pre=path)
    path.with_name(f"pre{ending}").write_text(text)
    found = attempts.read("--overwrite", pre=path)
    assert found.geometry.equals(expected.geometry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "note", [row(28, "x" * 5_000_000, name="5 MB"), row(29, "Q" * 40, name="no UTF-8")]
)
def test_odd_notes_in_tags_do_not_matter(attempts, note):
    path = one(attempts)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(note=note)
    path.write_bytes(path.read_bytes().replace(b"Q" * 40, b"\xff\xfe\xe9\xff" * 10))
    assert grades(attempts.read(pre=path)) == TRUTH


@pytest.mark.parametrize(
    "text", [row(50, 'PROJCX["x"', name="no WKT"), row(50, "A" * 60_000, name="long")]
)
def test_a_crs_that_is_none_is_refused(attempts, text):
    """The text of a CRS counts where its code does not, and here it says nothing."""

    def write_over(content):
        place = place_of(content, GEOKEYS)
        count, start = struct.unpack_from("<II", content, place + 4)
        for key in range(start, start + 2 * count, 8):
            if struct.unpack_from("<H", content, key)[0] == 3072:
                struct.pack_into("<HHHH", content, key, 3073, 34737, len(text), 0)
        ascii_tag = place_of(content, 34737)
        struct.pack_into("<II", content, ascii_tag + 4, len(text), len(content))
        content += text.encode()

    path = changed(attempts, write_over)
    attempts.refuse(pre=path, words=[path, "CRS"])


def test_row52_a_local_crs_is_refused(attempts):
    path = one(attempts, crs=CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'))
    attempts.refuse(pre=path, words=[path, "'site'", "local to a site"])


@pytest.mark.parametrize("value", [0, 1, 999, 32767, 65535])
@pytest.mark.parametrize("word", range(4))
def test_odd_geokeys_are_passed_over_or_refused_in_one_line(attempts, word, value):
    """Number, place, count and value of each key in turn; none gives an internal error."""
    good = one(attempts).read_bytes()
    count, start = struct.unpack_from("<II", good, place_of(good, GEOKEYS) + 4)
    said = []
    for key in range(start + 8, start + 2 * count, 8):
        content = bytearray(good)
        struct.pack_into("<H", content, key + 2 * word, value)
        path = attempts.folder / "odd.tif"
        path.write_bytes(content)
        try:
            open_tile(str(path), None, 3).dataset.close()
        except InputError as error:
            said.append(str(error))
    assert not [text for text in said if "\n" in text]


@pytest.mark.slow
@pytest.mark.parametrize("locale", [row(47, "C", name="C"), row(47, "tr_TR.UTF-8", name="Turkish")])
def test_the_language_of_the_machine_does_not_matter(attempts, locale):
    expected = attempts.read()
    language = dict.fromkeys(("LC_ALL", "LANG", "LANGUAGE"), locale) | {"PYTHONUTF8": "0"}
    pre, post = attempts.pair
    command = ["assess", pre, post, "-o", attempts.out / "b.gpkg", "--overwrite"]
    command = [sys.executable, "-m", "geodamage", *command, "--model", attempts.model]
    subprocess.run(command, env=os.environ | language, check=True, capture_output=True)
    assert gpd.read_file(attempts.out / "b.gpkg", layer=0).equals(expected)


@pytest.mark.slow
def test_row75_three_channels_alike_are_assessed_and_one_is_refused(attempts):
    grey = [array[:1] for array in make_arrays()]
    alike = [array[[0, 0, 0]] for array in make_arrays()]
    names = ("pre", "post")
    one_channel, same = (
        [make_raster(attempts.folder / f"{kind}{name}.tif", array)
         for name, array in zip(names, arrays, strict=True)]
        for kind, arrays in (("one", grey), ("three", alike))
    )  # fmt: skip
    attempts.refuse(pre=one_channel[0], words=[one_channel[0], "1 channel", "--bands"])
    attempts.read(pre=same[0], post=same[1])
    said = read_sidecar(attempts.out / "b.gpkg")["warnings"]
    assert [text for text in said if "three" in text]


@pytest.mark.slow
def test_row79_every_one_of_many_footprints_comes_out(attempts):
    """Most lie beyond the scene, as those of a whole city do."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(200) * 9.0, np.arange(100) * 9.0))
    shapes = shapely.box(CORNER[0] + x, CORNER[1] - y - 6, CORNER[0] + x + 6, CORNER[1] - y)
    frame = gpd.GeoDataFrame({"id": np.arange(len(shapes))}, geometry=shapes, crs=UTM)
    frame.to_file(attempts.folder / "city.gpkg")
    found = attempts.read("--footprints", attempts.folder / "city.gpkg", "--id-field", "id")
    assert sorted(found["building_id"].astype(int)) == list(range(20_000))
    assert (found["status"] == "not_assessed").sum() > 19_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [row(83, "../out.png", name="leads out"), row(84, "bomb.png", name="bomb")],
)
def test_no_archive_is_unpacked(attempts, name):
    path = attempts.folder / "xbd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(10_000_000))
    before = listing(attempts.folder)
    for command in (["masks", path, "-o", attempts.out / "m"], ["score", path, path]):
        result = run_command(*command)
        assert result.exit_code in (2, 4)
        assert "xbd.zip" in result.stderr
    attempts.refuse(pre=path, words=[path, "a ZIP archive; unpack it first"])
    assert listing(attempts.folder) == before
