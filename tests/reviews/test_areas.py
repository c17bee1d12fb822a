import geopandas as gpd
import pytest

from geodamage.errors import AnswersError, InputError, OptionError
from geodamage.output.publication import sidecar_path
from geodamage.reviews.areas import read_missed, write_areas
from geodamage.reviews.population import read_population
from tests.towns import town, write_result


@pytest.fixture
def result(tmp_path):
    # Houses stand in the west only, so that some cells have none.
    return write_result(tmp_path / "town.gpkg", town(1)[:50])


def told(tmp_path, frame, result, name="r.geojson"):
    path = tmp_path / name
    frame.to_file(path)
    return read_missed(path, read_population([result]))


def draw(result, path, **options):
    return write_areas([result], path, **{"number": 8, "cell": 100, "seed": 0} | options).frame


@pytest.mark.slow
def test_cells_cover_what_was_assessed_and_count_what_was_found(result, tmp_path):
    frame = draw(result, tmp_path / "a.gpkg", number=10_000)
    assert len(frame) == 16
    assert frame.geometry.area.sum() == pytest.approx(400 * 400, rel=1e-2)
    assert frame["found"].sum() == 50
    assert frame["cell_id"].is_unique
    assert set(frame["stratum"]) == {"with buildings", "without buildings"}


@pytest.mark.slow
def test_missed_buildings_are_estimated(result, tmp_path):
    frame = draw(result, tmp_path / "a.gpkg")
    weights = 1 / frame["inclusion_probability"]
    assert weights.sum() == pytest.approx(16)
    frame["missed"] = [2, 0, 1, 0, 0, 0, 3, 0]
    frame["missed_damaged"] = [1, None, 0, None, None, None, 0, 0]
    found = told(tmp_path, frame, result)
    assert found["missed"].value == pytest.approx((weights * frame["missed"]).sum())
    assert 6 <= found["missed"].low <= found["missed"].value <= found["missed"].high
    assert found["missed_damaged"].low >= 1
    frame = frame.assign(missed=0, missed_damaged=None)
    nothing = told(tmp_path, frame, result, "n.geojson")["missed"]
    assert nothing.value == 0 < nothing.high


@pytest.mark.slow
def test_looking_at_all_cells_leaves_no_interval(result, tmp_path):
    frame = draw(result, tmp_path / "a.gpkg", number=16)
    frame["missed"] = 1
    found = told(tmp_path, frame, result)
    assert set(found) == {"missed"}
    assert (found["missed"].low, found["missed"].high) == (16, 16)


@pytest.mark.slow
def test_what_makes_no_sense_is_refused(result, tmp_path):
    frame = draw(result, tmp_path / "a.gpkg")
    with pytest.raises(AnswersError, match=r"no cell .* has an answer"):
        told(tmp_path, frame, result)
    for number, (missed, words) in enumerate(
        [
            ([-1] * 8, "missed is not a count"),
            ([0.5] * 8, "missed is not a count"),
            (["x"] * 8, "not a count"),
        ]
    ):
        with pytest.raises(AnswersError, match=words):
            told(tmp_path, frame.assign(missed=missed), result, f"{number}.geojson")
    more = frame.assign(missed=1, missed_damaged=2)
    with pytest.raises(AnswersError, match="more missed_damaged than missed"):
        told(tmp_path, more, result, "more.geojson")
    with pytest.raises(AnswersError, match="is not an area sample"):
        read_missed(result, read_population([result]))
    with pytest.raises(OptionError, match=r"--cell 0\.01: over 1,000,000 cells"):
        draw(result, tmp_path / "b.gpkg", cell=0.01)


@pytest.mark.slow
def test_ground_that_is_not_told_is_refused(result, tmp_path):
    sidecar_path(result).write_text('{"buildings": 50}')
    with pytest.raises(InputError, match="does not say what ground was assessed"):
        draw(result, tmp_path / "a.gpkg")
    assert not list(tmp_path.glob("a.gpkg*"))
    assert len(gpd.read_file(result, layer=0)) == 50
