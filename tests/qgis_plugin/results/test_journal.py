from pathlib import Path

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.results.journal import Review, append_reviews, journal_path, read_journal

from geodamage.output import SIBLINGS, sidecar_path


def review(name: str, damage: str | None = "destroyed") -> Review:
    return Review(name, damage, "Žofie", "2026-11-21T10:00:00Z")


def test_what_was_said_last_holds(tmp_path: Path) -> None:
    output = tmp_path / "a.gpkg"
    append_reviews(output, [review("1"), review("2")])
    append_reviews(output, [review("1", "no-damage")])
    assert read_journal(output) == {"1": review("1", "no-damage"), "2": review("2")}


def test_what_was_taken_back_does_not_hold(tmp_path: Path) -> None:
    output = tmp_path / "a.gpkg"
    append_reviews(output, [review("1"), review("1", None)])
    assert read_journal(output) == {}


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "a.gpkg") == {}


def test_a_line_that_a_crash_cut_costs_only_itself(tmp_path: Path) -> None:
    output = tmp_path / "a.gpkg"
    append_reviews(output, [review("1"), review("2")])
    whole = journal_path(output).read_bytes()
    journal_path(output).write_bytes(whole[:-20])
    append_reviews(output, [review("3")])
    assert set(read_journal(output)) == {"1", "3"}


@pytest.mark.parametrize(
    "line",
    ["nonsense", '{"building_id": "1", "reviewed_damage": "ruined"}', "[1]", "[" * 100_000],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    output = tmp_path / "a.gpkg"
    append_reviews(output, [review("1")])
    with journal_path(output).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(PluginError, match="line 2"):
        read_journal(output)


def test_a_journal_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="would not survive"):
        append_reviews(tmp_path / "nowhere" / "a.gpkg", [review("1")])


def test_the_tool_leaves_the_journal_where_it_is() -> None:
    replaced = {"a.gpkg", sidecar_path("a.gpkg").name, *(f"a.gpkg{end}" for end in SIBLINGS)}
    assert journal_path("a.gpkg").name not in replaced


def test_no_building_and_unclear_are_answers(tmp_path: Path) -> None:
    said = [Review("a", "no building", "me", "t"), Review("b", "unclear", "me", "t")]
    append_reviews(tmp_path / "s.gpkg", said)
    assert list(read_journal(tmp_path / "s.gpkg").values()) == said
