import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from geodamage.errors import SceneError, SceneReadError
from geodamage.grid import ground_area
from geodamage.scene.outlines import outline_of
from tests.conftest import CORNER, UTM, make_pixels, make_raster


def test_a_geotiff_lies_where_its_header_says(tmp_path):
    path = make_raster(tmp_path / "a.tif", make_pixels(64, 128))
    outline = outline_of(str(path))
    assert ground_area(outline, "EPSG:4326") == pytest.approx(64 * 32, rel=2e-3)
    left, top = CORNER
    to_lonlat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    assert outline.contains(shapely.Point(to_lonlat.transform(left + 1, top - 1)))
    assert not outline.intersects(shapely.Point(to_lonlat.transform(left - 1, top - 1)))
    square = shapely.box(left, top - 32, left + 64, top)
    assert ground_area(square, UTM) == pytest.approx(ground_area(outline, "EPSG:4326"), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_number_of_channels_does_not_matter(tmp_path, count):
    path = make_raster(tmp_path / "a.tif", make_pixels(16, 16, channels=count))
    assert outline_of(str(path)).area > 0


def test_what_lies_nowhere_has_no_outline(tmp_path):
    path = make_raster(tmp_path / "a.tif", make_pixels(16, 16), crs=None)
    with pytest.raises(SceneError, match="no CRS"):
        outline_of(str(path))
    far = Affine(0.5, 0, 1e9, 0, -0.5, 1e9)
    path = make_raster(tmp_path / "b.tif", make_pixels(16, 16), transform=far)
    with pytest.raises(SceneError, match="outside the Earth"):
        outline_of(str(path))
    (tmp_path / "c.tif").write_text("nothing")
    with pytest.raises(SceneReadError, match="not a GeoTIFF"):
        outline_of(str(tmp_path / "c.tif"))
