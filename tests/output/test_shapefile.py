import csv
import warnings

import geopandas as gpd
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import InputError, OutputError, OutputExistsError
from geodamage.fields import FIELDS, GIVEN_FIELDS, NAMES, Field
from geodamage.output.companions import COMPANIONS
from geodamage.output.layers import read_layer
from geodamage.output.publication import Publication
from geodamage.output.shapefile import (
    LONGEST_NAME,
    LONGEST_TEXT,
    NAMES_ENDING,
    fitting,
    short_names,
)
from geodamage.output.vectors import vector_writer, write_buildings
from tests.conftest import listing
from tests.exports.results import UTM_CRS, make_frame


@pytest.mark.slow
@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=30))
def test_names_are_short_and_stay_unique(names):
    found = short_names(names)
    assert list(found) == names
    assert len({short.lower() for short in found.values()}) == len(names)
    assert all(1 <= len(short) <= LONGEST_NAME for short in found.values())
    assert all(short.isascii() for short in found.values())


def test_names_that_fit_stay():
    names = ["confidence", "damage", "source"]
    assert short_names(names) == dict(zip(names, names, strict=True))
    assert short_names(["population_1", "population_2", "population"]) == {
        "population_1": "populati_2", "population_2": "populati_3", "population": "population",
    }  # fmt: skip
    own = short_names(field.name for field in GIVEN_FIELDS)
    assert own["building_id"] == "bldg_id"
    assert own["damage_class"] == "dmg_class"


@given(st.text(), st.integers(0, 20))
def test_a_text_is_cut_between_letters(text, most):
    short = fitting(text, most)
    assert text.startswith(short)
    assert len(short.encode()) <= most
    assert len(short.encode()) > most - 4 or short == text


@pytest.mark.slow
def test_a_shapefile_comes_back_as_it_was(tmp_path):
    path = tmp_path / "b.shp"
    frame = make_frame((1, 2, 3, 4, 0))
    frame.loc[2, "geometry"] = None
    write_buildings([frame], path, UTM_CRS)
    assert listing(tmp_path) == sorted(
        ["b.shp", "b.shp.json", *(f"b{ending}" for ending in COMPANIONS[".shp"])]
    )
    again = read_layer(path)
    assert list(again.columns) == [*NAMES, "geometry"]
    assert again.crs == UTM_CRS
    assert again["damage_class"].fillna(0).tolist() == [1, 2, 3, 4, 0]
    assert again["damaged"].fillna(False).tolist() == [False, True, True, True, False]
    assert again["damaged"].isna().tolist() == [False] * 4 + [True]
    assert again["status_reason"].isna().tolist() == [True] * 4 + [False]
    assert again.geometry.isna().tolist() == [False, False, True, False, False]
    with pytest.raises(OutputExistsError):
        write_buildings([frame], path, UTM_CRS)
    (tmp_path / "c.dbf").write_text("of somebody else")
    with pytest.raises(OutputExistsError, match=r"c\.dbf exists"):
        write_buildings([frame], tmp_path / "c.shp", UTM_CRS)


@pytest.mark.slow
def test_texts_that_are_too_long_are_cut_with_a_word(tmp_path):
    fields = (*FIELDS, Field("a long remark", "text", "what somebody wrote", nullable=True))
    frame = make_frame((1, 4)).assign(**{"a long remark": ["é" * 200, "short"]})
    path = tmp_path / "b.shp"
    with warnings.catch_warnings(), Publication() as publication:
        warnings.simplefilter("error")
        with vector_writer(publication.partial(path), UTM_CRS, fields=fields) as writer:
            writer.append(frame)
    assert writer.notes == [
        "a long remark: 1 texts are cut to 254 bytes, the most that a Shapefile holds"
    ]
    again = gpd.read_file(path)
    assert again["a_long_rem"].tolist() == ["é" * (LONGEST_TEXT // 2), "short"]
    with (tmp_path / "b.fields.csv").open(encoding="utf-8", newline="") as file:
        table = {row["name"]: row["field"] for row in csv.DictReader(file)}
    assert table["a long remark"] == "a_long_rem"
    assert pd.Series(table).is_unique


@pytest.mark.slow
def test_a_new_shapefile_leaves_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "b.shp"
    write_buildings([make_frame((1, 4))], path, UTM_CRS)
    write_buildings([make_frame((3,))], path, UTM_CRS, overwrite=True)
    assert len(gpd.read_file(path)) == 1


@pytest.mark.filterwarnings("ignore:Normalized")
@pytest.mark.parametrize(
    "table",
    [b"\xff\xfe", b"a,b\n1,2\n", b"field,name\nbldg_id\n", b'field,name\n"' + b"x" * 200_000],
)
def test_a_table_of_names_that_is_none_is_refused(tmp_path, table):
    path = tmp_path / "a.shp"
    make_frame((1, 2)).to_file(path)
    path.with_suffix(NAMES_ENDING).write_bytes(table)
    with pytest.raises(InputError, match=r"a\.fields\.csv: .*move it away"):
        read_layer(path)


def test_more_fields_than_a_shapefile_has_are_refused(tmp_path):
    fields = tuple(Field(f"a{n}", "text", "attribute", nullable=True) for n in range(256))
    with pytest.raises(OutputError, match=r"b\.shp: a Shapefile has 255 fields at most, .* 256"):
        vector_writer(tmp_path / "b.shp", UTM_CRS, fields=fields)
    assert listing(tmp_path) == []
    with vector_writer(tmp_path / "b.shp", UTM_CRS, fields=fields[1:]):
        pass
