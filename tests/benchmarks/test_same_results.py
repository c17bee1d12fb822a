import json

import pytest

from benchmarks.same_results import compare, lasting


@pytest.fixture
def folders(tmp_path):
    """Return two folders that hold the same."""
    facts = {"created": "then", "software": {"python": "3.11"}, "scene": {"gsd": 0.5}}
    for name in ("before", "after"):
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True)
        (folder / "b.geojson").write_text("{}")
        own = {"seconds": len(name), "result_sha256": name}
        (folder / "b.geojson.json").write_text(json.dumps(facts | own))
        (folder / "ledger.sqlite").write_text(name)
    return tmp_path / "before", tmp_path / "after"


def test_versions_times_and_ledgers_do_not_count(folders):
    assert compare(*folders) == {"run/b.geojson": "equal", "run/b.geojson.json": "equal"}


def test_a_byte_counts(folders):
    (folders[1] / "run" / "b.geojson").write_text("{ }")
    assert compare(*folders)["run/b.geojson"] == "DIFFERENT"


@pytest.mark.parametrize("scene", [{"gsd": 0.6}, {}, {"gsd": 0.5, "crs": "EPSG:32616"}])
def test_a_fact_counts_wherever_it_stands(folders, scene):
    (folders[1] / "run" / "b.geojson.json").write_text(json.dumps({"scene": scene}))
    assert compare(*folders)["run/b.geojson.json"] == "DIFFERENT"


def test_a_file_that_is_there_once_counts(folders):
    (folders[0] / "run" / "b.geojson").unlink()
    (folders[1] / "run" / "b.geojson.json").unlink()
    assert list(compare(*folders).values()) == ["ONLY SECOND", "ONLY FIRST"]


def test_the_order_of_facts_counts():
    assert lasting({"a": 1, "b": [{"seconds": 1}]}) == [("a", 1), ("b", [[]])]
    assert lasting({"a": 1, "b": 2}) != lasting({"b": 2, "a": 1})
