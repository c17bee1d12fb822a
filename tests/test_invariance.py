from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from geodamage.buildings.finding import find_buildings
from geodamage.model.loading import load_model
from geodamage.prediction import predict
from geodamage.scene.scene import Scene
from tests.data_folder import DATA, needs

ROOT = Path(__file__).parents[1]
REAL = DATA / "xbd_geotiff"
PAIRS = [
    pytest.param(ROOT / "sample_data" / "pre.tif", ROOT / "sample_data" / "post.tif", id="sample"),
    pytest.param(
        REAL / "hurricane-michael_00000031_pre_disaster.tif",
        REAL / "hurricane-michael_00000031_post_disaster.tif",
        id="real",
        marks=[
            pytest.mark.data,
            needs("xbd_geotiff"),
        ],
    ),
]
WAYS = [
    pytest.param({"tile": 384}, 0, id="tile 384"),
    pytest.param({"tile": 512}, 0, id="tile 512"),
    pytest.param({"tile": 512, "batch": 3}, 0, id="batches of 3"),
    pytest.param({}, 1, id="one thread"),
    pytest.param({}, 4, id="four threads"),
    pytest.param({"memory": 0.9e9}, 0, id="little memory"),
]


def find(pair: tuple[Path, Path], threads: int, **how: float) -> gpd.GeoDataFrame:
    model = load_model(device="cpu", threads=threads)
    with Scene.open(*pair, gsd=model.card.gsd) as scene:
        strips = predict(scene, model, **how)
        frames = list(find_buildings(strips, scene.grid, scene.region, model.card))
    found = pd.concat([frame for frame in frames if len(frame)])
    return found.sort_values("building_id", ignore_index=True)


@pytest.fixture(scope="module")
def found_by_default():
    known: dict[tuple[Path, Path], gpd.GeoDataFrame] = {}

    def of(pair: tuple[Path, Path]) -> gpd.GeoDataFrame:
        if pair not in known:
            known[pair] = find(pair, 0, tile=1024)
        return known[pair]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(("how", "threads"), WAYS)
@pytest.mark.parametrize(("pre", "post"), PAIRS)
def test_buildings_do_not_depend_on_how_the_work_is_cut(
    pre, post, how, threads, found_by_default, capsys
):
    expected, found = found_by_default((pre, post)), find((pre, post), threads, **how)
    assert len(expected) > 20
    ours, theirs = (
        dict(zip(shapely.to_wkb(frame.geometry), zip(*says, strict=True), strict=True))
        for frame in (found, expected)
        for says in [(frame["building_id"], frame["damage_class"])]
    )
    assert found["building_id"].is_unique
    differing = len(ours.keys() ^ theirs.keys())
    with capsys.disabled():
        print(f"\n{len(expected)} buildings, {differing} polygons not identical")  # noqa: T201
    assert differing <= len(expected) // 1000
    assert all(said == theirs[shape] for shape, said in ours.items() if shape in theirs)
