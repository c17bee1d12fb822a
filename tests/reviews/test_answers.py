import json

import geopandas as gpd
import pytest
import shapely

from geodamage.errors import AnswersError, InputError, SceneReadError
from geodamage.reviews.answers import NO_BUILDING, UNCLEAR, canonical, joined, read_answers


def said(path):
    frame = read_answers(path)
    return list(zip(frame["building_id"], frame["damage"], strict=True))


def line(name, damage, reviewer="Ada", at="2026-03-01T10:00:00Z"):
    return json.dumps(
        {
            "building_id": name,
            "reviewed_damage": damage,
            "reviewer": reviewer,
            "reviewed_at": at,
        }
    )


@pytest.fixture
def write(tmp_path):
    def to(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_two_columns_is_read(write, separator):
    rows = [["building_id", "damage"], ["007", "destroyed"], ["b", ""], ["c", "No damage"]]
    path = write("a.csv", "\ufeff" + "\r\n".join(separator.join(row) for row in rows))
    assert said(path) == [("007", "destroyed"), ("c", "no-damage")]
    frame = read_answers(path)
    assert frame["damage_class"].to_list() == [4, 1]
    assert set(frame["reviewer"]) == {"a"}
    assert frame["inclusion_probability"].isna().all()


def test_fields_that_a_table_may_have_are_kept(write):
    path = write(
        "a.csv",
        "building_id,damage,reviewer,at,stratum,inclusion_probability\n"
        "1,u,Ada,2026-01-02,no-damage 1,0.25\n1,x,Ben,,no-damage 1,0.25\n",
    )
    frame = read_answers(path)
    assert frame["reviewer"].to_list() == ["Ada", "Ben"]
    assert frame["damage"].to_list() == [UNCLEAR, NO_BUILDING]
    assert frame["damage_class"].isna().all()
    assert frame["reviewed_at"].to_list() == ["2026-01-02", ""]
    assert frame["stratum"].to_list() == ["no-damage 1"] * 2
    assert frame["inclusion_probability"].to_list() == [0.25] * 2


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("no-damage", "no-damage"), ("Minor_Damage", "minor-damage"), (3, "major-damage"),
        (4.0, "destroyed"), ("4", "destroyed"), ("no building", NO_BUILDING),
        ("no-building", NO_BUILDING), ("UNCLEAR", UNCLEAR), ("un-classified", UNCLEAR),
        ("5", None), ("perhaps", None), (2.5, None),
    ],
)  # fmt: skip
def test_answers_have_several_spellings(answer, wanted):
    assert canonical(answer) == wanted


def test_the_journal_of_the_plugin_is_read_and_its_undo_is_one(write):
    lines = [
        line("a", "no-damage"),
        line("b", "minor-damage", at="2"),
        line("b", "destroyed", at="3"),
        line("c", "destroyed"),
        line("c", None, at="4"),
        # Ben changes what Ada said, and takes it back: the plugin writes Ada's line again.
        line("d", "major-damage", at="5"),
        line("d", "destroyed", "Ben", at="6"),
        line("d", "major-damage", at="5"),
        line("e", "major-damage"),
        line("e", "destroyed", "Ben"),
    ]
    path = write("r.gpkg.reviews.jsonl", "\n".join(lines) + '\n{"building_id": "f", "revi')
    frame = read_answers(path)
    found = list(zip(frame["building_id"], frame["damage"], frame["reviewer"], strict=True))
    assert found == [
        ("a", "no-damage", "Ada"),
        ("b", "destroyed", "Ada"),
        ("d", "major-damage", "Ada"),
        ("e", "major-damage", "Ada"),
        ("e", "destroyed", "Ben"),
    ]


def test_the_export_of_the_report_is_read(write):
    answers = [{"building_id": "a", "damage": "destroyed", "at": "2026"}]
    path = write("answers.json", json.dumps({"reviewer": "Ada", "answers": answers}))
    frame = read_answers(path)
    assert frame["reviewer"].to_list() == ["Ada"]
    assert frame["reviewed_at"].to_list() == ["2026"]
    assert said(write("list.json", json.dumps(answers))) == [("a", "destroyed")]


@pytest.mark.parametrize("name", ["s.gpkg", "s.geojson", "s.parquet", "s.fgb", "s.json"])
def test_a_sample_with_its_answers_is_read(tmp_path, name):
    frame = gpd.GeoDataFrame(
        {
            "building_id": ["a", "b", "c"],
            "damage": ["destroyed"] * 3,
            "p_none": [0.1] * 3,
            "inclusion_probability": [0.5] * 3,
            "reviewed_damage": ["no-damage", None, "no building"],
        },
        geometry=[shapely.box(0, 0, 1, 1)] * 3,
        crs=4326,
    )
    path = tmp_path / name
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(
        path, driver={".json": "GeoJSON"}.get(path.suffix)
    )
    assert said(path) == [("a", "no-damage"), ("c", NO_BUILDING)]
    assert read_answers(path)["inclusion_probability"].to_list() == [0.5, 0.5]


def test_a_file_without_answers_has_none(write):
    path = write("a.csv", "building_id,damage\n1,\n")
    assert len(read_answers(path)) == 0
    other = write("b.csv", "building_id,damage\n1,destroyed\n")
    assert len(joined([read_answers(path), read_answers(other)])) == 1


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "has no column building_id; it has none"),
        ("a.csv", "id,damage\n1,destroyed\n", "has no column building_id; it has id, damage"),
        ("a.csv", "building_id,grade\n1,destroyed\n", "holds no answers"),
        ("a.csv", "building_id,damage,confidence\n1,destroyed,1\n", "holds no answers"),
        ("a.csv", "building_id,damage\n1,gone\n", "line 2: 'gone' is no answer; give no-damage"),
        ("a.csv", "building_id,damage\n,destroyed\n", "line 2: names no building"),
        ("a.csv", "building_id,damage\n1,2,3\n", "line 2: has 3 fields and the heading 2"),
        ("a.csv", 'building_id,damage\n"1,2\n', "is not a table"),
        ("a.csv", "building_id,damage,damage\n1,2,2\n", "two columns have one name"),
        (
            "a.csv",
            "building_id,damage\n1,destroyed\n2,minor\n1,minor\n",
            "two answers for building 1, line 2 and line 4; keep one",
        ),
        (
            "a.csv",
            "building_id,damage,inclusion_probability\n1,minor,0\n",
            "inclusion_probability '0' is not above 0",
        ),
        ("a.json", "[", "is no JSON"),
        ("a.json", '{"answers": [1]}', "has no list `answers`"),
        ("a.json", '[{"building_id": [1], "damage": "minor"}]', "has no list `answers`"),
        ("a.json", "[" * 200_000, "is no JSON"),
        (
            "a.json",
            r'{"answers": [{"building_id": "a", "damage": "minor", "reviewer": "\ud800"}]}',
            "reviewer holds half a character",
        ),
        ("r.reviews.jsonl", "{}\n", "line 1: is not a review"),
        ("r.reviews.jsonl", '{"building_id": "a"}\n', "line 1: is not a review"),
        ("r.reviews.jsonl", line("a", "gone"), "line 1: 'gone' is no answer"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(write, name, text, words):
    # An empty file is refused before it is read.
    path = write(name, text or "\n")
    with pytest.raises(AnswersError) as caught:
        read_answers(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path, write):
    with pytest.raises(SceneReadError, match="a folder"):
        read_answers(tmp_path)
    with pytest.raises(SceneReadError, match="no such file"):
        read_answers(tmp_path / "none.csv")
    with pytest.raises(SceneReadError, match="empty"):
        read_answers(write("e.csv", ""))
    with pytest.raises(InputError):
        read_answers(write("a.gpkg", "<OGRVRTDataSource/>"))
    path = tmp_path / "bytes.csv"
    path.write_bytes(b"building_id,damage\n\xff\xfe,1\n")
    with pytest.raises(AnswersError, match="cannot be read as text"):
        read_answers(path)
