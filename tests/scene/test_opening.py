"""The one place that decides what GDAL opens as a raster."""

import re
from pathlib import Path

import pytest

import geodamage
from geodamage.errors import SceneReadError
from geodamage.scene.opening import environment, open_plain
from tests.conftest import make_pixels

PACKAGE = Path(geodamage.__file__).parent
#: Who else calls rasterio: blocks and a VRT in memory that were checked, and writers.
OTHERS = {"scene/jpeg.py", "scene/tiles.py", "output/rasters.py", "xbd/georeferencing.py"}


def test_nobody_else_opens_a_raster():
    calls = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"rasterio\.open\(", path.read_text(encoding="utf-8"))
    }
    assert calls - OTHERS == {"scene/opening.py"}


@pytest.mark.parametrize(("driver", "kinds"), [(None, "GeoTIFF or JPEG 2000"), ("PNG", "PNG")])
def test_another_format_is_refused_by_name(tmp_path, driver, kinds):
    path = tmp_path / "a.tif"
    path.write_bytes(b"<VRTDataset/>")
    with pytest.raises(SceneReadError, match=f"a.tif: not a {kinds}, or damaged .*virtual file"):
        open_plain(str(path), driver)


def test_what_a_pam_file_says_is_not_read(raster):
    path = raster("a.tif", make_pixels(8, 8))
    Path(f"{path}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>'
        "</PAMDataset>"
    )
    with environment(str(path)), open_plain(str(path)) as dataset:
        assert dataset.nodata is None
