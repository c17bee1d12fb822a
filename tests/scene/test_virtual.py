"""VRTs: mosaics and crops of files below are read, and whatever else they hold is refused."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geodamage.errors import SceneError, SceneReadError
from geodamage.scene.image import open_image
from geodamage.scene.tiles import open_tile
from geodamage.scene.virtual import read_virtual, sources_of
from geodamage.windows import Window
from tests.conftest import CORNER, UTM, make_pixels

PLACE = f"<SRS>{UTM}</SRS><GeoTransform>{CORNER[0]}, 0.5, 0, {CORNER[1]}, 0, -0.5</GeoTransform>"
BOX = '<{}Rect xOff="{}" yOff="0" xSize="50" ySize="40"/>'


def band(number, *names, inside="", kind="SimpleSource", relative=1):
    sources = "".join(
        f'<{kind}><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand>{BOX.format('Src', 0)}{BOX.format('Dst', 50 * place)}"
        f"</{kind}>"
        for place, name in enumerate(names)
    )
    colour = ("Red", "Green", "Blue")[number - 1]
    head = f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{colour}</ColorInterp>'
    return f"{head}{inside}{sources}</VRTRasterBand>"


def mosaic(*names, extra="", **options):
    bands = "".join(band(number, *names, **options) for number in (1, 2, 3))
    size = f'rasterXSize="{50 * max(len(names), 1)}" rasterYSize="40"'
    return f"<VRTDataset {size}>{PLACE}{extra}{bands}</VRTDataset>"


@pytest.fixture
def write(tmp_path):
    def written(text, name="a.vrt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def halves(raster):
    pixels = make_pixels(40, 100)
    raster("left.tif", pixels[..., :50])
    raster("below/right.tif", pixels[..., 50:])
    return pixels


def test_a_mosaic_of_files_below_is_read(halves, write):
    path = write(mosaic("left.tif", "below/right.tif"))
    tile = open_tile(str(path), None, 3)
    pixels, valid = tile.read(tile.window)
    assert np.array_equal(pixels, halves)
    assert valid.all()
    part, _ = tile.read(Window(7, 30, 20, 40))
    assert np.array_equal(part, halves[:, 7:27, 30:70])
    assert [Path(name).name for name in tile.facts["sources"]] == ["left.tif", "right.tif"]
    assert tile.grid.crs.to_epsg() == 32616


def test_a_vrt_of_vrts_is_read_as_what_they_name(halves, write, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir(exist_ok=True)
    write(mosaic("right.tif"), "below/b.vrt")
    path = write(mosaic("left.tif", "below/b.vrt"))
    tile = open_tile(str(path), None, 3)
    assert np.array_equal(tile.read(tile.window)[0], halves)
    assert [Path(name).name for name in tile.facts["sources"]] == ["left.tif", "right.tif"]
    write(mosaic("../left.tif"), "below/b.vrt")
    with pytest.raises(SceneReadError, match=r"b\.vrt: names \.\./left\.tif, which is not in its"):
        open_tile(str(path), None, 3)
    write(mosaic("right.tif"), "below/b.vrt")
    monkeypatch.setattr("geodamage.scene.virtual.LARGEST", path.stat().st_size)
    with pytest.raises(SceneReadError, match=r"a\.vrt: too long for a VRT"):
        open_tile(str(path), None, 3)


def test_nodata_of_a_vrt_counts(halves, write):
    path = write(mosaic("left.tif", inside="<NoDataValue>7</NoDataValue>", kind="ComplexSource"))
    tile = open_tile(str(path), None, 3)
    pixels, valid = tile.read(tile.window)
    assert tile.nodata == (7, 7, 7)
    assert np.array_equal(valid, ~(halves[..., :50] == 7).all(axis=0))
    assert (pixels[:, valid] == halves[..., :50][:, valid]).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (mosaic("left.tif", extra="<GDALWarpOptions/>"), "with a GDALWarpOptions is not read"),
        (mosaic("left.tif").replace("<VRTDataset", '<VRTDataset subClass="VRTWarpedDataset"', 1),
         "with a VRTWarpedDataset"),
        (mosaic("left.tif").replace("<VRTRasterBand", '<VRTRasterBand subClass="VRTRawRasterBand"'),
         "with a VRTRawRasterBand"),
        (mosaic("left.tif", inside="<PixelFunctionType>sum</PixelFunctionType>"),
         "with a PixelFunctionType"),
        (mosaic("left.tif", inside="<Overview/>"), "with a Overview"),
        (mosaic("left.tif", kind="KernelFilteredSource"), "with a KernelFilteredSource"),
        (mosaic(), "names no file"),
        (mosaic("nothing.tif"), r"nothing\.tif: no such file"),
        (mosaic("../other.tif"), "names ../other.tif, which is not in its folder or below"),
        (mosaic("link.tif"), "names link.tif, which is not in its folder"),
        (mosaic("text.tif"), r"text\.tif: not a GeoTIFF"),
        (mosaic("a.vrt"), r"a\.vrt: VRTs name each other"),
        (mosaic("/vsimem/a.tif"), "not a path"),
        (mosaic("vrt://left.tif"), "no such file"),
        (mosaic("left.tif", relative=0), "no such file"),
        ("<!DOCTYPE VRTDataset>" + mosaic("left.tif"), "with a document type is not read"),
        (mosaic("left.tif")[:-4], "not a VRT"),
        ("<Other/>", "not a VRT, but Other"),
    ],
)  # fmt: skip
def test_what_is_more_than_a_mosaic_of_files_below_is_refused(halves, write, raster, text, why):
    path = write(text)
    (path.parent / "text.tif").write_text("hello")
    other = raster("other.tif", halves).rename(path.parent.parent / "other.tif")
    (path.parent / "link.tif").symlink_to(other)
    with pytest.raises(SceneReadError, match=why) as caught:
        open_tile(str(path), None, 3)
    assert "\n" not in str(caught.value)
    other.unlink()


def test_a_source_has_the_limits_of_an_image(halves, write, monkeypatch, tmp_path):
    path = write(mosaic("left.tif"))
    (tmp_path / "left.tif.ovr").write_bytes(b"<VRTDataset/>")
    with pytest.raises(SceneReadError, match="no TIFF; move it away"):
        open_tile(str(path), None, 3)
    monkeypatch.setattr("geodamage.scene.virtual.LARGEST", 100)
    with pytest.raises(SceneReadError, match="too long for a VRT"):
        read_virtual(str(path))


def test_a_source_that_changes_is_noticed(halves, write, tmp_path):
    path = write(mosaic("left.tif", "below/right.tif"))
    image = open_image("pre", path, bands=None, channels=3, scale=None, allow_remote=False)
    image.require_unchanged()
    os.utime(tmp_path / "below" / "right.tif", ns=(0, 0))
    with pytest.raises(SceneReadError, match=r"right\.tif: was changed while it was read"):
        image.require_unchanged()
    image.close()


def test_sources_are_told_where_they_can_be_and_nowhere_else(halves, write, tmp_path):
    path = write(mosaic("left.tif", "below/right.tif"))
    names = [str(tmp_path / "left.tif"), str(tmp_path / "below" / "right.tif")]
    assert list(sources_of(str(path))) == names
    assert sources_of(names[0]) == ()
    assert sources_of(str(write("hello", "b.vrt"))) == ()


def test_a_vrt_has_to_be_called_so(halves, write):
    path = write(mosaic("left.tif"), "a.tif")
    with pytest.raises(SceneReadError, match=r"not a GeoTIFF .* virtual file; call it \.vrt"):
        open_tile(str(path), None, 3)


@pytest.mark.slow
def test_what_gdalbuildvrt_writes_is_read(raster, tmp_path):
    build = Path("/usr/bin/gdalbuildvrt")
    if not build.exists():
        pytest.skip("needs gdalbuildvrt")
    pixels = make_pixels(40, 50)
    moved = Affine(0.5, 0, CORNER[0] + 24.87, 0, -0.5, CORNER[1] + 0.2)
    names = [raster("a.tif", pixels), raster("b.tif", pixels, transform=moved)]
    subprocess.run([build, "-q", tmp_path / "m.vrt", *names], check=True)
    tile = open_tile(str(tmp_path / "m.vrt"), None, 3)
    whole, _ = tile.read(tile.window)
    assert (whole > 0).all(axis=0).mean() > 0.95
    for window in (Window(0, 0, 17, 31), Window(11, 40, 20, 33)):
        assert np.array_equal(tile.read(window)[0], whole[:, *window.slices])


@pytest.mark.parametrize(("kind", "told"), [("palette", "by palette"), ("miniswhite", "white")])
def test_a_source_whose_values_are_no_brightness_is_refused(write, raster, kind, told):
    """Also where the VRT does not say so; one that takes the colours of the palette is read."""
    path = raster("left.tif", make_pixels(40, 50, channels=1), photometric=kind)
    with rasterio.open(path, "r+") as dataset:  # GDAL makes up that of a negative
        if kind == "palette":
            dataset.write_colormap(1, {value: (value, 9, 9, 255) for value in range(256)})
    text = mosaic("left.tif").replace(">2</SourceBand>", ">1</SourceBand>")
    text = text.replace(">3</SourceBand>", ">1</SourceBand>")
    with pytest.raises(SceneError, match=rf"left\.tif: .*{told}"):
        open_tile(str(write(text)), None, 3)
    expanded = text.replace("SimpleSource", "ComplexSource").replace(
        "</ComplexSource>", "<ColorTableComponent>1</ColorTableComponent></ComplexSource>"
    )
    tile = open_tile(str(write(expanded)), None, 3)
    assert tile.read(Window(0, 0, 40, 50))[0].shape == (3, 40, 50)
