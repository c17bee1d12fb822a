import geopandas as gpd
import pytest

from benchmarks.engine import crowd, make_pair


@pytest.mark.slow
def test_a_crowd_of_footprints_lies_side_by_side_in_the_town(tmp_path):
    pre, _ = make_pair(tmp_path, 1024, 0.25)
    found = gpd.read_file(crowd(pre, 1000, 0.25, tmp_path / "given.geojson"))
    assert len(found) == found["building_id"].nunique() == 1000
    assert found.crs == "EPSG:32616"
    # The town is a square of 512 pixels of half a metre, in the corner.
    west, south, east, north = found.total_bounds
    assert (west, north) == (400_000, 3_400_000)
    assert 240 < east - west < 256
    assert 240 < north - south < 256
    assert found.union_all().area == pytest.approx(found.area.sum())
