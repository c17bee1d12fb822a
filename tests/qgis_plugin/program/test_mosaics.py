"""Virtual mosaics: taken apart where they are plain, refused with the reason where not."""

import os

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.mosaics import Mosaic, is_tiff, is_virtual, read_mosaic

SOURCE = """<{kind}><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>
<SourceBand>{band}</SourceBand>
<SourceProperties RasterXSize="64" RasterYSize="64" DataType="Byte" BlockXSize="64" BlockYSize="1"/>
<SrcRect xOff="0" yOff="0" xSize="{inside}" ySize="64"/>
<DstRect xOff="{left}" yOff="0" xSize="{shown}" ySize="64"/>{extra}</{kind}>"""


def source(name, band, left=0, **changes):
    values = {
        "kind": "SimpleSource", "relative": 1, "inside": 64, "shown": 64, "extra": "",
        "name": name, "band": band, "left": left, **changes,
    }  # fmt: skip
    return SOURCE.format(**values)


def vrt(folder, bands, *, root="", inside_band=""):
    text = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}">{inside_band}{"".join(band)}'
        "</VRTRasterBand>"
        for number, band in enumerate(bands, 1)
    )
    path = folder / "mosaic.vrt"
    path.write_text(f'<VRTDataset rasterXSize="128" rasterYSize="64"{root}>{text}</VRTDataset>')
    return path


def plain(bands=3, **changes):
    return [
        [source("a.tif", band, **changes), source("b.tif", band, left=64, **changes)]
        for band in range(1, bands + 1)
    ]


def test_a_plain_mosaic_is_its_tiles_the_top_one_first(tmp_path):
    found = read_mosaic(vrt(tmp_path, plain()))
    assert found == Mosaic((str(tmp_path / "b.tif"), str(tmp_path / "a.tif")), 3, None)


def test_names_are_relative_to_the_mosaic_unless_it_says_otherwise(tmp_path):
    above = read_mosaic(vrt(tmp_path, [[source("../x/a.tif", 1)]]))
    assert above.tiles == (os.path.normpath(tmp_path.parent / "x" / "a.tif"),)
    absolute = read_mosaic(vrt(tmp_path, [[source("/d/a.tif", 1, relative=0)]]))
    assert absolute.tiles == ("/d/a.tif",)


@pytest.mark.parametrize("value", ["0", "255.0", "nan"])
def test_a_no_data_value_is_kept(tmp_path, value):
    bands = plain(kind="ComplexSource", extra=f"<NODATA>{value}</NODATA>")
    path = vrt(tmp_path, bands, inside_band=f"<NoDataValue>{value}</NoDataValue>")
    assert str(read_mosaic(path).nodata) == str(float(value))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"root": ' subClass="VRTWarpedDataset"'}, "warps"),
        ({"inside_band": "<PixelFunctionType>sum</PixelFunctionType>"}, "computes"),
        ({"inside_band": "<NoDataValue>0</NoDataValue><NODATA>1</NODATA>"}, "computes"),
    ],
)
def test_what_does_more_is_refused(tmp_path, change, said):
    with pytest.raises(PluginError, match=said):
        read_mosaic(vrt(tmp_path, plain(), **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inside": 32}, "cuts its tiles"),
        ({"shown": 32}, "resamples its tiles"),
        ({"kind": "ComplexSource", "extra": "<ScaleRatio>2</ScaleRatio>"}, "changes the values"),
        ({"kind": "AveragedSource"}, "computes"),
    ],
)
def test_tiles_that_are_changed_are_refused(tmp_path, change, said):
    with pytest.raises(PluginError, match=said):
        read_mosaic(vrt(tmp_path, plain(**change)))


def test_channels_that_are_chosen_are_refused(tmp_path):
    with pytest.raises(PluginError, match="chooses among the channels"):
        read_mosaic(vrt(tmp_path, [[source("a.tif", 3)], [source("a.tif", 2)]]))
    with pytest.raises(PluginError, match="several files"):
        read_mosaic(vrt(tmp_path, [[source("a.tif", 1)], [source("b.tif", 2)]]))


@pytest.mark.parametrize("text", ["", "<VRTDataset", "<html/>", "no XML at all"])
def test_what_is_no_mosaic_is_refused(tmp_path, text):
    path = tmp_path / "no.vrt"
    path.write_text(text)
    with pytest.raises(PluginError):
        read_mosaic(path)
    with pytest.raises(PluginError):
        read_mosaic(tmp_path / "absent.vrt")


def test_files_are_known_by_how_they_begin(tmp_path):
    image, virtual, other = (tmp_path / name for name in ("a.vrt", "b.tif", "c.tif"))
    image.write_bytes(b"II*\0rest")
    virtual.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"/>')
    other.write_bytes(b"\x89PNG")
    assert [is_tiff(path) for path in (image, virtual, other)] == [True, False, False]
    assert [is_virtual(path) for path in (image, virtual, other)] == [False, True, False]
    assert not is_tiff(tmp_path / "absent.tif")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_mosaic_that_declares_entities_is_refused(tmp_path, encoding):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE VRTDataset [<!ENTITY e0 "x">{levels}]><VRTDataset>&e11;</VRTDataset>'
    path = tmp_path / "bomb.vrt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(PluginError, match="declares a document type"):
        read_mosaic(path)
