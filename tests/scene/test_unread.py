"""What stands beside an image and is not read: it is named, with the command that brings it in."""

import subprocess
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from geodamage.errors import SceneError
from geodamage.scene.image import open_image
from geodamage.scene.tiles import open_tile
from tests.conftest import CORNER, UTM, make_pixels

BAND = '<PAMRasterBand band="{}">{}</PAMRasterBand>'
COLOUR = "<ColorInterp>{}</ColorInterp>"


@pytest.fixture
def beside(raster, tmp_path):
    """Write an image and a file beside it; return the notes that opening it gives."""

    def opened(name, text, asked=None, channels=3, **options):
        path = raster("a.tif", make_pixels(40, 50, channels=channels), **options)
        (tmp_path / name).write_text(text, encoding="utf-8")
        tile = open_tile(str(path), asked, 3)
        tile.dataset.close()
        return tile.notes

    return opened


def pam(*inside):
    bands = "".join(BAND.format(number, text) for number, text in enumerate(inside, 1))
    return f"<PAMDataset>{bands}</PAMDataset>"


@pytest.mark.parametrize(
    "text",
    [
        "<NoDataValue>255</NoDataValue>",
        '<NoDataValue le_hex_endian="0000000000E06F40">2.55000000000000E+02</NoDataValue>',
        '<Metadata><MDI key="NODATA_VALUES">255 255 255</MDI></Metadata>',
    ],
)
def test_nodata_that_a_pam_file_tells_is_named(beside, text):
    (note,) = beside("a.tif.aux.xml", pam(text))
    assert "a.tif.aux.xml says that 255 is no data, and is not read; bring" in note
    assert note.endswith("gdal_edit.py -a_nodata 255 a.tif")


def test_nodata_is_named_where_the_file_itself_says_another_and_not_where_it_says_the_same(beside):
    text = pam("<NoDataValue>255</NoDataValue>")
    (note,) = beside("a.tif.aux.xml", text, nodata=7)
    assert "and the file itself says 7" in note
    assert beside("a.tif.aux.xml", text, nodata=255) == ()


def test_nodata_that_the_user_gives_is_not_told_to_him(raster, tmp_path):
    path = raster("a.tif", make_pixels(40, 50))
    (tmp_path / "a.tif.aux.xml").write_text(pam("<NoDataValue>255</NoDataValue>"))
    for given, count in ((255, 0), (7, 1)):
        image = open_image(
            "pre", path, bands=None, channels=3, scale=None, allow_remote=False, nodata=given
        )
        image.close()
        assert sum("says that 255" in note for note in image.notes) == count


MEASURED = "<Offset>-0.1</Offset><Scale>0.0001</Scale>"


def test_what_values_measure_by_a_pam_file_is_named(raster, tmp_path):
    path = raster("a.tif", make_pixels(40, 50).astype(np.uint16) * 40)
    (tmp_path / "a.tif.aux.xml").write_text(pam(*[MEASURED] * 3))
    (note,) = open_tile(str(path), None, 3).notes
    assert "says that values are times 0.0001 plus -0.1, and is not read" in note
    assert note.endswith("gdal_translate a.tif new.tif")
    (tmp_path / "a.tif.aux.xml").unlink()
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,) * 3, (-0.1,) * 3
    (tmp_path / "a.tif.aux.xml").write_text(pam(*[MEASURED] * 3))
    assert open_tile(str(path), None, 3).notes == ()


def test_what_8_bits_measure_does_not_matter(beside):
    assert beside("a.tif.aux.xml", pam(*[MEASURED] * 3)) == ()


@pytest.mark.parametrize("text", ["<NoDataValue>none</NoDataValue>", "<NoDataValue/>", "", "<"])
def test_what_says_nothing_is_passed_over(beside, text):
    assert beside("a.tif.aux.xml", pam(text)) == ()


def test_colours_that_a_pam_file_tells_are_named_unless_the_user_chose(beside):
    text = pam(*map(COLOUR.format, ("Blue", "Green", "Red")))
    (note,) = beside("a.tif.aux.xml", text)
    assert "says that channel 1 is blue and channel 3 is red, and is not read" in note
    assert note.endswith("gdal_translate a.tif new.tif")
    assert beside("a.tif.aux.xml", text, (3, 2, 1)) == ()
    assert beside("a.tif.aux.xml", pam(*map(COLOUR.format, ("Red", "Green", "Blue")))) == ()


def test_an_alpha_channel_that_a_pam_file_tells_is_named_whoever_chose(beside):
    text = pam("", "", "", COLOUR.format("Alpha"))
    plain = {"photometric": "minisblack", "alpha": "no"}
    (note,) = beside("a.tif.aux.xml", text, (1, 2, 3), 4, **plain)
    assert "says that channel 4 is alpha" in note


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.tif.aux.xml", "<PAMDataset><SRS>EPSG:32616</SRS></PAMDataset>", ""),
        ("a.tif.aux.xml", "<GeodataXform><WKT>PROJCS[&quot;x</WKT>", "-a_srs CRS "),
        ("a.prj", 'PROJCS["WGS 84 / UTM zone 16N"]', "-a_srs a.prj "),
        ("a.PRJ", 'GEOGCS["GCS_WGS_1984"]', "-a_srs a.PRJ "),
        ("a.prj", 'PROJCRS["WGS 84 / UTM zone 16N"]', "-a_srs a.prj "),
        ("a.prj", "+proj=utm +zone=16", "-a_srs CRS "),
        ("a.prj", "EPSG:32616", "-a_srs CRS "),
        ("a.prj", "\ufeffGEOGCRS[x]", "-a_srs a.prj "),
        ("a.prj", "Projection    UTM\nZone 16\n", "-a_srs CRS "),
        ("a.qpj", 'PROJCS["x"]', "-a_srs a.qpj "),
        ("a.tif.xml", '<metadata><wkt>PROJCS["x"]</wkt></metadata>', "-a_srs CRS "),
        ("a.xml", "<metadata><peXml Sync='TRUE'>x</peXml></metadata>", "-a_srs CRS "),
    ],
)
def test_a_crs_that_stands_elsewhere_only_is_named(beside, name, text, options):
    told = f"{name} has one, and is not read; .*gdal_translate {options}a.tif new.tif$"
    with pytest.raises(SceneError, match=told):
        beside(name, text, crs=None)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".aux.xml", ".prj"])
def test_the_command_for_a_crs_makes_an_image_that_has_it(raster, tmp_path, ending):
    path = raster("a.tif", make_pixels(40, 50), crs=None)
    wkt = CRS.from_user_input(UTM).to_wkt()
    text = f"<PAMDataset><SRS>{escape(wkt)}</SRS></PAMDataset>" if ending == ".aux.xml" else wkt
    beside = tmp_path / ("a.tif.aux.xml" if ending == ".aux.xml" else "a.prj")
    beside.write_text(text)
    with pytest.raises(SceneError, match="has no CRS") as refused:
        open_tile(str(path), None, 3)
    command = str(refused.value).partition("into the file with ")[2].split()
    try:
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("gdal_translate is not installed")
    assert open_tile(str(tmp_path / "new.tif"), None, 3).grid.crs == CRS.from_user_input(UTM)


@pytest.mark.parametrize(("name", "text"), [("a.prj", "nothing"), ("b.prj", 'PROJCS["x"]')])
def test_what_has_no_crs_of_the_image_is_not_named(beside, name, text):
    with pytest.raises(SceneError, match=r"has no CRS; assign the right one"):
        beside(name, text, crs=None)


def test_control_points_and_a_transform_that_stand_elsewhere_only_are_named(beside):
    with pytest.raises(SceneError, match=r"aux\.xml has control points, .* gdalwarp"):
        beside("a.tif.aux.xml", "<PAMDataset><GCPList/></PAMDataset>", crs=None)
    text = "<PAMDataset><GeoTransform>4e5, .5, 0, 3e6, 0, -.5</GeoTransform></PAMDataset>"
    with pytest.raises(SceneError, match=r"has one, and is not read; .*gdal_translate a\.tif"):
        beside("a.tif.aux.xml", text, transform=Affine.identity())


PLACE = f"{CORNER[0]}, 0.5, 0, {CORNER[1]}, 0, -0.5"


@pytest.mark.parametrize(
    ("place", "is_moved"),
    [
        (PLACE, False),
        (PLACE.replace("0.5, 0,", "5.00000001e-01, 0,"), False),
        (PLACE.replace("629600", "629603"), True),
        (PLACE.replace("0.5, 0,", "0.51, 0,"), True),
        ("1, 2", False),
        ("a, b, c, d, e, f", False),
        ("nan, nan, nan, nan, nan, nan", True),
    ],
)
def test_a_pam_file_that_moves_an_image_is_named(beside, place, is_moved):
    text = f"<PAMDataset><GeoTransform>{place}</GeoTransform></PAMDataset>"
    notes = beside("a.tif.aux.xml", text)
    assert bool(notes) == is_moved
    for note in notes:
        assert "a.tif.aux.xml says that its corner lies at" in note
        assert f"and the file itself says {CORNER[0]:.10g}, {CORNER[1]:.10g}; bring" in note


@pytest.mark.parametrize("name", ["a.tif.msk", "a.msk"])
def test_a_mask_that_is_not_read_as_one_is_named(raster, tmp_path, name):
    path = raster("a.tif", make_pixels(40, 50))
    with rasterio.open(
        tmp_path / name, "w", driver="GTiff", count=1, height=40, width=50, dtype="uint8", crs=UTM
    ) as dataset:
        dataset.write(np.zeros((1, 40, 50), np.uint8))
    (note,) = open_tile(str(path), None, 3).notes
    assert f"{name} beside it is not read as its mask" in note
    (tmp_path / name).rename(tmp_path / "a.tif.msk")
    with rasterio.open(tmp_path / "a.tif.msk", "r+") as dataset:  # what the note says
        dataset.update_tags(INTERNAL_MASK_FLAGS_1=2)
    tile = open_tile(str(path), None, 3)
    assert tile.notes == ()
    assert not tile.read(tile.window)[1].any()


def test_what_stands_beside_a_vrt_and_its_sources_is_named(raster, tmp_path):
    raster("a.tif", make_pixels(40, 50))
    (tmp_path / "a.tif.aux.xml").write_text(pam("<NoDataValue>255</NoDataValue>"))
    raster("m.tif", make_pixels(40, 50)).rename(tmp_path / "a.vrt.msk")
    source = '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>'
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}">{source}{n}</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for n in (1, 2, 3)
    )
    path = tmp_path / "a.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>{UTM}</SRS>'
        f"<GeoTransform>402000, .5, 0, 3344900, 0, -.5</GeoTransform>{bands}</VRTDataset>"
    )
    mask, nodata = open_tile(str(path), None, 3).notes
    assert "a.vrt.msk beside it is not read" in mask
    assert "gdal_translate -of COG" in mask
    assert "a.tif.aux.xml says that 255 is no data" in nodata
