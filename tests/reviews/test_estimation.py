import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from geodamage.errors import AnswersError, InputError, OptionError
from geodamage.reviews.estimation import EstimateOptions, estimate
from geodamage.reviews.population import read_population
from geodamage.reviews.sampling import SampleOptions, write_sample
from tests.towns import LABELS, answer, town, write_districts, write_result

TARGETS = ("damaged", *LABELS, "no building")


@pytest.fixture
def result(tmp_path):
    return write_result(tmp_path / "town.gpkg", town(1), blind=3)


@pytest.fixture
def sample(result, tmp_path):
    path = tmp_path / "sample.gpkg"
    write_sample([result], path, SampleOptions(number=40, seed=5))
    return path


def found(result, sample, *answers, **options):
    results = result if isinstance(result, list) else [result]
    return estimate(results, EstimateOptions(reviewed=sample, answers=answers, **options))


def table(path, rows, head="building_id,damage"):
    path.write_text("\n".join([head, *(",".join(row) for row in rows)]), encoding="utf-8")
    return path


def ids(sample):
    return gpd.read_file(sample, layer=0)["building_id"].to_list()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r.gpkg", "r.geojson", "r.csv"])
def test_totals_have_intervals_and_sum_up(result, sample, tmp_path, name):
    told = found(result, answer(sample, tmp_path / name))
    for target in TARGETS:
        total = told[target]
        assert 0 <= total["low"] <= total["total"] <= total["high"] <= 97
        assert total["share"] == pytest.approx(total["total"] / 97, abs=1e-3)
    assert sum(told[label]["total"] for label in LABELS) == pytest.approx(97, abs=0.3)
    assert told["damaged"]["total"] + told["no-damage"]["total"] == pytest.approx(97, abs=0.2)
    assert told["no building"]["total"] == 0 < told["no building"]["high"]
    assert told["without_grade"] == 3
    assert "the 3 without a grade" in told["says"]
    accuracy = told["model"]["accuracy"]
    assert 0.5 < accuracy["low"] < accuracy["value"] < accuracy["high"] <= 1
    kappa = told["model"]["quadratic_kappa"]
    assert kappa["low"] < kappa["value"] <= kappa["high"]
    json.dumps(told, allow_nan=False)


@pytest.mark.slow
def test_looking_at_all_leaves_no_interval(result, tmp_path):
    path = tmp_path / "all.gpkg"
    write_sample([result], path, SampleOptions(number=500))
    told = found(result, answer(path, tmp_path / "r.csv", off=0))
    counts = gpd.read_file(result, layer=0)["damage"].value_counts()
    for label in LABELS:
        assert told[label]["low"] == told[label]["total"] == told[label]["high"] == counts[label]
    assert told["model"]["accuracy"]["value"] == told["model"]["accuracy"]["low"] == 1


@pytest.mark.slow
def test_no_building_and_unclear_are_answers(result, sample, tmp_path):
    names = ids(sample)
    rows = [(name, "no-damage") for name in names[2:]]
    told = found(
        result, sample, table(tmp_path / "a.csv", [(names[0], "x"), (names[1], "u"), *rows])
    )
    assert told["no building"]["total"] > 0
    assert told["unclear"] == 1
    assert told["answered"] == 39
    assert told["no-damage"]["total"] + told["no building"]["total"] == pytest.approx(97, abs=0.2)


@pytest.mark.slow
def test_several_reviewers_are_compared_and_their_conflicts_listed(result, sample, tmp_path):
    names = ids(sample)
    ada = table(tmp_path / "ada.csv", [(name, LABELS[i % 4]) for i, name in enumerate(names)])
    ben = table(
        tmp_path / "ben.csv",
        [(name, LABELS[(i + (i == 0)) % 4]) for i, name in enumerate(names)],
    )
    told = found(result, sample, ada, ben, conflicts="mildest")
    (pair,) = told["reviewers"]
    assert pair["reviewers"] == ["ada", "ben"]
    assert pair["same"] == pytest.approx(39 / 40)
    (conflict,) = told["conflicts"]
    assert conflict["building_id"] == names[0]
    assert conflict["taken"] == "no-damage"
    assert any(names[0] in warning for warning in told["warnings"])
    with pytest.raises(AnswersError, match="reviewers differ on 1 building,"):
        found(result, sample, ada, ben, conflicts="refuse")


@pytest.mark.slow
def test_the_journal_beside_the_sample_is_taken(result, sample):
    lines = [
        json.dumps(
            {
                "building_id": name,
                "reviewed_damage": "destroyed",
                "reviewer": "A",
                "reviewed_at": "",
            }
        )
        for name in ids(sample)
    ]
    journal = sample.with_name("sample.gpkg.reviews.jsonl")
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = found(result, sample)
    assert told["destroyed"]["total"] == 97
    assert told["destroyed"]["low"] < 97
    assert "all 40 answers are destroyed" in told["warnings"]


@pytest.mark.slow
def test_several_results_are_one_population(tmp_path):
    west = write_result(tmp_path / "west.gpkg", town(1))
    east = write_result(tmp_path / "east.geojson", town(2, east=400), east=400)
    batch = tmp_path / "batch"
    write_result(batch / "scenes" / "a" / "buildings.gpkg", town(1))
    # What both scenes show counts once.
    write_result(batch / "scenes" / "b" / "buildings.gpkg", town(1)[80:] + town(2, east=400))
    both, of_batch = read_population([west, east]), read_population([batch])
    assert len(both) == len(of_batch) == 200
    assert both.fingerprint == of_batch.fingerprint == read_population([east, west]).fingerprint
    path = tmp_path / "s.geojson"
    write_sample([batch], path, SampleOptions(number=60))
    told = found([west, east], answer(path, tmp_path / "r.gpkg"))
    assert told["buildings"] == 200


@pytest.mark.slow
def test_ids_are_unique_over_all_results(tmp_path):
    first = write_result(tmp_path / "a.gpkg", town(1, side=2))
    second = write_result(tmp_path / "b.gpkg", town(1, side=2, east=4000), east=4000)
    with pytest.raises(InputError, match="two buildings in different places are called 1-0-0"):
        read_population([first, second])


@pytest.mark.slow
@pytest.mark.parametrize("drawn_so", [True, False])
def test_areas_have_intervals_of_their_own(result, tmp_path, drawn_so):
    districts = write_districts(tmp_path / "districts.gpkg")
    path = tmp_path / "s.gpkg"
    write_sample([result], path, SampleOptions(number=40, by=districts if drawn_so else None))
    told = found(result, answer(path, tmp_path / "r.csv"), by=districts)
    east, west = told["areas"]
    assert (east["name"], west["name"]) == ("East", "West")
    assert east["buildings"] + west["buildings"] == 97
    for target in TARGETS:
        ends = [area[target][key] for area in (east, west) for key in ("low", "total", "high")]
        assert ends[0] <= ends[1] <= ends[2] <= 60
    whole = told["damaged"]["total"]
    if drawn_so:
        assert east["damaged"]["total"] + west["damaged"]["total"] == pytest.approx(whole, abs=0.3)


@pytest.mark.slow
def test_an_answer_that_is_missing_is_said(result, sample, tmp_path):
    few = table(tmp_path / "a.csv", [(name, "minor") for name in ids(sample)[:15]])
    told = found(result, sample, few)
    assert any("25 of 40 buildings of the sample have no answer" in w for w in told["warnings"])
    assert told["minor-damage"]["total"] == 97


@pytest.mark.slow
def test_what_does_not_fit_is_refused(result, sample, tmp_path):
    names = ids(sample)
    good = [(name, "minor") for name in names]
    cases = [
        ([*good, ("gone", "minor")], "1 answer is for buildings that the result does not grade"),
        ([*good, good[0]], "two answers for building"),
        (good[:9], "9 randomly drawn buildings have a clear answer; review 10 or more"),
        ([(name, "u") for name in names], "0 randomly drawn buildings have a clear answer"),
    ]
    for rows, words in cases:
        with pytest.raises(AnswersError, match=words):
            found(result, sample, table(tmp_path / "a.csv", rows))
    with pytest.raises(AnswersError, match="has no answer yet"):
        found(result, sample)
    with pytest.raises(AnswersError, match=r"is not a sample \(no field stratum\)"):
        found(result, table(tmp_path / "a.csv", good))
    with pytest.raises(OptionError, match="--admin-name needs --by"):
        found(result, sample, admin_name="name")


@pytest.mark.slow
def test_another_result_is_refused(result, sample, tmp_path):
    other = write_result(tmp_path / "model.gpkg", town(1), model="other", blind=3)
    with pytest.raises(InputError, match="a result of another model"):
        found(other, sample)
    changed = write_result(tmp_path / "changed.gpkg", town(1), blind=2)
    with pytest.raises(InputError, match="the result has changed"):
        found(changed, sample)
    copy = answer(sample, tmp_path / "copy.csv")
    with pytest.raises(InputError, match="its strata have 97 buildings and the result 98"):
        found(changed, copy)
    moved = town(1)
    moved[50:] = [house.__class__(**{**vars(house), "grade": 4}) for house in moved[50:]]
    regraded = write_result(tmp_path / "regraded.gpkg", moved, blind=3)
    with pytest.raises(InputError, match="the result has changed"):
        found(regraded, copy)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["inf", "-1", "x", "", "1"])
def test_strata_that_make_no_sense_are_refused(result, sample, tmp_path, size):
    copy = answer(sample, tmp_path / "copy.csv")
    frame = pd.read_csv(copy, dtype=str).assign(stratum_buildings=size)
    frame.to_csv(copy, index=False)
    with pytest.raises(InputError, match="give the sample as it was written"):
        found(result, copy)


@pytest.mark.slow
def test_a_sample_to_teach_gives_no_estimate(result, tmp_path):
    path = tmp_path / "teach.gpkg"
    sample = write_sample([result], path, SampleOptions(number=20, purpose="adapt"))
    assert "no unbiased estimate" in sample.warnings[0]
    frame = gpd.read_file(path, layer=0)
    assert frame["inclusion_probability"].isna().all()
    assert frame["building_id"].is_unique
    with pytest.raises(AnswersError, match="were chosen for adapt"):
        found(result, answer(path, tmp_path / "r.csv"))


@pytest.mark.slow
def test_a_share_of_a_sample_to_teach_gives_one(result, tmp_path):
    path = tmp_path / "both.gpkg"
    options = SampleOptions(number=40, purpose="adapt", estimate_share=0.5)
    write_sample([result], path, options)
    frame = gpd.read_file(path, layer=0)
    assert frame["building_id"].is_unique
    assert frame["drawn_for"].value_counts().to_dict() == {"estimate": 20, "adapt": 20}
    told = found(result, answer(path, tmp_path / "r.csv"))
    assert told["answered"] == 20
    assert any("not drawn at random" in warning for warning in told["warnings"]) is False


@pytest.mark.slow
def test_weights_of_a_sample_stand_for_all(result, tmp_path):
    for design in ("stratified", "simple"):
        path = tmp_path / f"{design}.gpkg"
        write_sample([result], path, SampleOptions(number=30, design=design))
        frame = gpd.read_file(path, layer=0)
        assert (1 / frame["inclusion_probability"]).sum() == pytest.approx(97)
        assert frame["sample_order"].to_list() == list(range(1, 31))
        again = tmp_path / f"again-{design}.geojson"
        write_sample([result], again, SampleOptions(number=30, design=design))
        assert ids(again) == ids(path)
        other = tmp_path / f"other-{design}.gpkg"
        write_sample([result], other, SampleOptions(number=30, design=design, seed=1))
        assert ids(other) != ids(path)
    assert set(frame["stratum"]) == {"all"}
    assert np.allclose(frame["inclusion_probability"], 30 / 97)
