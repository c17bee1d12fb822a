import pandas as pd
import pytest

from geodamage.fields import FIELDS, NAMES, conform
from geodamage.output.layers import read_layer
from geodamage.output.publication import Publication
from geodamage.output.vectors import vector_writer, write_buildings
from tests.exports.results import UTM_CRS, make_frame


def test_a_csv_is_commas_and_utf_8(tmp_path):
    path = tmp_path / "b.csv"
    frame = make_frame((2, 0)).assign(building_id=['a,"é"', "b"])
    write_buildings([frame], path, UTM_CRS)
    first, second, third, last = path.read_bytes().decode("utf-8").split("\n")
    assert first == ",".join([*NAMES, "wkt"])
    assert second.startswith('"a,""é""",minor-damage,2,0.1,0.7,0.1,0.1,0.7,0.3333,true,assessed,,')
    assert third.startswith("b,,,,,,,,,,not_assessed,obscured_post,0.25,100.0,")
    assert last == ""


@pytest.mark.slow
def test_a_csv_comes_back_as_it_was_even_before_it_is_published(tmp_path):
    path = tmp_path / "b.csv"
    frame = make_frame((1, 2, 3, 4, 0))
    with Publication() as publication:
        partial = publication.partial(path)
        with vector_writer(partial, UTM_CRS) as writer:
            writer.append(frame)
        early = read_layer(partial)
    assert [t.kind for t in read_layer(path)[["damage_class", "p_none"]].dtypes] == ["f", "f"]
    again = conform(read_layer(path), UTM_CRS)
    pd.testing.assert_frame_equal(conform(early, UTM_CRS), again)
    for field in FIELDS:
        written = conform(frame, UTM_CRS)[field.name]
        pd.testing.assert_series_equal(again[field.name], written, check_dtype=field.kind != "text")
    assert again.geometry.hausdorff_distance(frame.geometry).max() < 0.02


def test_no_building_gives_the_names(tmp_path):
    write_buildings([], tmp_path / "b.csv", UTM_CRS)
    assert (tmp_path / "b.csv").read_text() == ",".join([*NAMES, "wkt"]) + "\n"
    assert len(read_layer(tmp_path / "b.csv")) == 0
