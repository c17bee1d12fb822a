"""A short run of the mutations that no library in another language sees; always the same."""

import pytest

from tests.fuzz.__main__ import run

NAMES = (
    "geojson", "geojsonl", "admin", "places", "labels", "sidecar", "ensemble", "list-toml",
    "list-csv", "list-json", "card",
)  # fmt: skip


@pytest.mark.slow
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path):
    found = run(tmp_path, 40, 0, list(NAMES))
    assert set(found) == set(NAMES)
    odd = {name: set(counts) - {"read", "refused"} for name, counts in found.items()}
    assert not {name: what for name, what in odd.items() if what}
    assert all(counts["refused"] for counts in found.values())
