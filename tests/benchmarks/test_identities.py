import sys

import geopandas as gpd
import shapely

from benchmarks.identities import main
from tests.conftest import CORNER, UTM


def write(path, **boxes):
    x, y = CORNER
    shapes = [shapely.box(x + a, y + b, x + a + 12, y + b + 10) for a, b in boxes.values()]
    gpd.GeoDataFrame({"building_id": list(boxes)}, geometry=shapes, crs=UTM).to_file(path)
    return str(path)


def test_it_counts_the_buildings_that_keep_their_identity(tmp_path, monkeypatch, capsys):
    before = write(tmp_path / "a.gpkg", a=(0, 0), b=(40, 0), c=(80, 0))
    after = write(tmp_path / "b.gpkg", a=(0.5, 0), x=(40, 0.5), d=(200, 0), e=(240, 0))
    monkeypatch.setattr(sys, "argv", ["identities", before, after])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 and 4 buildings; as they are: 1 of 2 kept, 0 twice"
    assert len(lines) == 7
    assert all("of 2 kept, 0 twice" in line for line in lines)
