import geopandas as gpd
import numpy as np
import pytest
import shapely

from geodamage.errors import InputError, OptionError
from geodamage.event.rollups import read_admin
from geodamage.reviews.evidence import _rank
from geodamage.reviews.population import read_population
from geodamage.reviews.sampling import SampleOptions, draw_sample, write_sample
from tests.towns import town, write_districts, write_result


@pytest.fixture
def population(tmp_path):
    return read_population([write_result(tmp_path / "town.gpkg", town(1))])


def far(population):
    """Return distances that grow with the row."""
    names = population.frame["building_id"].astype(str)
    return dict(zip(names, np.arange(len(names), dtype=float), strict=True))


def test_the_quarter_that_is_least_familiar_has_strata_of_its_own(population):
    sample = draw_sample(population, SampleOptions(number=60), distances=far(population))
    rows = dict(zip(population.frame["building_id"], range(len(population)), strict=True))
    last = sample.frame["building_id"].map(rows) > 0.75 * (len(population) - 1)
    assert sample.frame["stratum"].str.startswith("less familiar: ").tolist() == last.tolist()
    assert 0 < last.sum() < 60
    sizes = {s["name"]: s["buildings"] for s in sample.facts["strata"]}
    assert sum(sizes.values()) == len(population)
    assert sample.facts["familiarity"]
    weight = 1 / sample.frame["inclusion_probability"]
    assert weight.sum() == pytest.approx(len(population))


def test_areas_and_familiarity_go_together(population, tmp_path):
    admin = read_admin(write_districts(tmp_path / "districts.gpkg"))
    sample = draw_sample(population, SampleOptions(number=90), admin, far(population))
    kinds = {tuple(name.split(": ")[:2]) for name in sample.frame["stratum"]}
    assert {kind for _, kind in kinds} == {"familiar", "less familiar"}
    assert len({area for area, _ in kinds}) > 1


def test_areas_of_another_place_are_refused(population, tmp_path):
    far = gpd.GeoSeries([shapely.box(10, 10, 11, 11)], crs=4326)
    gpd.GeoDataFrame({"name": ["Far"]}, geometry=far).to_file(tmp_path / "far.gpkg")
    with pytest.raises(InputError, match="no building lies in any of its areas"):
        draw_sample(population, SampleOptions(), read_admin(tmp_path / "far.gpkg"))


def test_a_building_without_a_distance_is_less_familiar(population):
    sample = draw_sample(population, SampleOptions(number=30), distances={})
    assert sample.frame["stratum"].str.startswith("less familiar").all()


@pytest.mark.parametrize("options", [{"purpose": "adapt"}, {"design": "simple"}])
def test_familiarity_needs_strata(population, options):
    with pytest.raises(OptionError, match="--familiarity"):
        draw_sample(population, SampleOptions(**options), distances=far(population))


def test_a_result_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        write_sample([tmp_path / "none.gpkg"], tmp_path / "sample.gpkg")


def test_neighbours_of_a_stratum_are_the_next_in_certainty():
    names = ["no-damage sure", "destroyed", "no-damage less sure", "no-damage unsure"]
    assert sorted(names, key=_rank) == [names[3], names[2], names[0], names[1]]
