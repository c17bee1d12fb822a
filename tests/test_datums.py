"""Changes of datum that are not exact are said, with the operation and its accuracy."""

import pytest
from pyproj import CRS

from geodamage.datums import datum_doubt

PLACE = (630_000.0, 3_320_000.0, 640_000.0, 3_330_000.0)
UTM = CRS.from_epsg(32616)


@pytest.mark.parametrize("code", [4267, 26716])
def test_the_old_datum_of_america_is_in_doubt(code):
    told = datum_doubt("f.gpkg", CRS.from_epsg(code), UTM, PLACE)
    assert told is not None
    assert told.startswith("f.gpkg: from NAD27 to WGS 84 places are known ")
    assert " m" in told
    assert "\n" not in told


@pytest.mark.parametrize("code", [4326, 32617, 3857, 4269, 26916])
def test_what_is_exact_or_as_good_as_that_goes_without_a_word(code):
    assert datum_doubt("f.gpkg", CRS.from_epsg(code), UTM, PLACE) is None
