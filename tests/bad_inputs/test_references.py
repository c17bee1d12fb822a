import socket

import geopandas as gpd
import pytest

from tests.bad_inputs.attempts import row
from tests.conftest import (
    ROOFS,
    UTM,
)

VRT = '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32616</SRS>{}</VRTDataset>'


BAND = '<VRTRasterBand dataType="Byte" band="1"{}</VRTRasterBand>'


SIMPLE = BAND.format("><SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource>")


RAW = BAND.format(
    ' subClass="VRTRawRasterBand"><SourceFilename>/etc/passwd</SourceFilename>'
    "<ImageOffset>0</ImageOffset>"
)


PYTHON = BAND.format(
    ' subClass="VRTDerivedRasterBand"><PixelFunctionLanguage>Python</PixelFunctionLanguage>'
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionCode><![CDATA["
    "\ndef f(*arguments, **options):\n    open('{}', 'w')\n]]></PixelFunctionCode>"
)


@pytest.fixture
def listener():
    """Return a socket that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "text",
    [
        row(20, VRT.format(SIMPLE.format("{pre}")), name="VRT"),
        row(21, VRT.format(SIMPLE.format("/vsicurl/{url}")), name="VRT of a URL"),
        row(22, VRT.format(RAW), name="VRT of a system file"),
        row(23, VRT.format(PYTHON.format("{out}/ran")), name="VRT with code"),
        row(
            24,
            "<GDALTileIndexDataset><IndexDataset>{url}</IndexDataset></GDALTileIndexDataset>",
            name="GTI",
        ),
        row(
            24,
            '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}</ServerUrl>'
            "</Service><DataWindow><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>",
            name="WMS",
        ),
        row(
            24,
            "<WCS_GDAL><ServiceURL>{url}?</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
            name="WCS",
        ),
        row(24, '{{"type":"gdal_streamed_alg","command_line":"gdal raster {url}"}}', name="GDALG"),
        row(24, '{{"stac_version":"1.0.0","features":[],"links":["{url}"]}}', name="STAC"),
        row(24, "<WMT_MS_Capabilities><Get>{url}</Get></WMT_MS_Capabilities>", name="XML"),
    ],
)
def test_files_that_point_elsewhere_are_refused(attempts, listener, text):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.tif"
    path = attempts.folder / "evil.tif"
    path.write_text(text.format(pre=attempts.pair.pre, url=url, out=attempts.out))
    for role in ("pre", "post"):
        attempts.refuse("--allow-remote", **{role: path}, words=[path, "not a GeoTIFF"])


@pytest.mark.parametrize("option", ["--footprints", "--aoi"])
@pytest.mark.parametrize("place", [row(21, "{url}", name="URL"), row(20, "{path}", name="file")])
def test_vector_files_that_point_elsewhere_are_refused(attempts, listener, option, place):
    other = attempts.folder / "other.geojson"
    gpd.GeoDataFrame(geometry=[ROOFS[0].polygon], crs=UTM).to_crs(4326).to_file(other)
    url = f"/vsicurl/http://127.0.0.1:{listener.getsockname()[1]}/x.geojson"
    path = attempts.folder / "evil.geojson"
    path.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="other"><SrcDataSource>'
        f"{place.format(url=url, path=other)}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    attempts.refuse(option, path, words=[path, "names others"])


@pytest.mark.parametrize(
    "name",
    [
        row(25, "GTIFF_DIR:1:{pre}", name="GTIFF_DIR"),
        row(25, "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1", name="MEM"),
        row(25, "/vsimem/x.tif", name="vsimem"),
        row(25, "/vsizip/{pre}/x.tif", name="vsizip"),
        row(25, "/vsicurl/{url}", name="vsicurl"),
        row(25, "/vsisubfile/0_100,{pre}", name="vsisubfile"),
        row(25, "{url}", name="URL"),
        row(25, "ftp://127.0.0.1/x.tif", name="ftp"),
        row(25, VRT.format(""), name="VRT"),
        row(25, "vrt://{pre}", name="vrt"),
    ],
)
@pytest.mark.parametrize("role", ["pre", "--footprints", "--aoi", "--model"])
def test_strings_that_are_not_paths_are_refused(attempts, listener, name, role):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.tif"
    name = name.format(pre=attempts.pair.pre, url=url)
    if role == "pre":
        attempts.refuse(pre=name, words=[name])
    else:
        code = 5 if role == "--model" else 4
        attempts.refuse(role, name, words=[name.rsplit("//")[-1]], code=code)
