import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.damage import FROM_SCALE, GRADES, SCALE_SOURCES, TO_SCALE
from geodamage.exports.schemas import SCHEMAS, apply_schema, fields_of
from geodamage.fields import NAMES, conform
from geodamage.options.exchange import WRITTEN
from tests.exports.results import make_frame

#: What tells the grade of what a schema says, and the grades that it cannot tell apart.
BACK = {
    "geodamage": (FROM_SCALE["xbd"], {}),
    "cems": (FROM_SCALE["cems"], {}),
    "unosat": (FROM_SCALE["unosat"], {}),
    "fema": (FROM_SCALE["fema"], {}),
    "ems98": (FROM_SCALE["ems98"], {}),
}


def written(name, grades, labels=False):
    frame = make_frame(grades)
    schema = SCHEMAS[name]
    made = apply_schema(schema, frame, date="2026-08-12", labels=labels)
    return conform(made, made.crs, fields_of(schema, frame, labels))


def test_the_option_has_every_schema():
    assert set(WRITTEN) == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_says_its_source_and_what_it_loses(name):
    facts = SCHEMAS[name].facts(labels=False)
    assert facts["source_date"]
    assert facts["field"] in [field.name for field in SCHEMAS[name].fields]
    assert (name == "geodamage") == (not facts["loses"])
    assert set(SCALE_SOURCES) >= set(SCHEMAS) - {"geodamage"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BACK)
@given(grades=st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=1, max_size=5))
def test_grades_come_back_from_the_words_of_a_schema(name, grades):
    back, _ = BACK[name]
    frame = written(name, grades)
    said = [None if pd.isna(v) else back[str(v)] for v in frame[SCHEMAS[name].value]]
    assert [0 if grade is None else int(grade) for grade in said] == grades


@pytest.mark.parametrize("name", ["microsoft", "binary"])
def test_two_levels_keep_the_threshold_of_the_model(name):
    frame = written(name, (1, 2, 3, 4, 0))
    assert frame["damaged"].fillna(-1).tolist() == [0, 1, 1, 1, -1]
    words = written(name, (1, 4, 0), labels=True)["damaged"]
    assert words.fillna("").tolist() == ["undamaged", "damaged", ""]


@pytest.mark.parametrize("name", ["unosat", "ems98"])
def test_labels_are_words_instead_of_codes(name):
    words = written(name, GRADES, labels=True)[SCHEMAS[name].value]
    assert words.tolist() == list(TO_SCALE[f"{name}_words"].values())


def test_our_own_schema_has_our_fields_and_those_of_footprints():
    frame = make_frame((1, 4)).assign(floors=[2, 3], use=["school", None])
    made = apply_schema(SCHEMAS["geodamage"], frame, date=None, labels=True)
    assert list(made.columns) == [*NAMES, "damage_label", "floors", "use", "geometry"]
    assert made["damage_label"].tolist() == ["No damage", "Destroyed"]


def test_who_was_not_seen_is_not_called_undamaged():
    for name in SCHEMAS:
        frame = written(name, (0,))
        assert pd.isna(frame.loc[0, SCHEMAS[name].value]) or name == "cems"
        assert frame.loc[0, "status"] == "not_assessed"
    assert written("cems", (0,))["damage_gra"].tolist() == ["Not Analysed"]


def test_microsoft_has_what_the_images_do_not_show():
    frame = written("microsoft", (4, 0))
    assert frame["unknown_pct"].tolist() == [0, 0.75]
    assert frame.loc[0, "damage_pct_0m"] == pytest.approx(0.9)
    assert pd.isna(frame.loc[1, "damage_pct_0m"])
