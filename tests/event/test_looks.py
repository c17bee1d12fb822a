"""Results as an event reads them."""

import os

import pytest

from geodamage.errors import SceneReadError
from geodamage.event.looks import Look, find_looks, fingerprint, is_altered
from geodamage.output.publication import read_sidecar, sidecar_path
from geodamage.output.seen_ground import AREA_ENDING
from geodamage.output.vectors import write_buildings
from tests.conftest import UTM


def test_a_result_that_is_not_that_of_its_sidecar_is_noticed(tmp_path):
    for extension, expected in (("geojson", True), ("gpkg", False)):
        path = write_buildings([], tmp_path / f"b.{extension}", UTM)
        look = Look("b", None, path, sidecar_path(path))
        facts = read_sidecar(path)
        assert not is_altered(look, facts)
        path.write_bytes(path.read_bytes() + b"\n")
        assert is_altered(look, facts) is expected
        assert not is_altered(look, {})  # of an earlier version


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_result_that_is_a_pipe_is_refused_before_it_is_read(tmp_path):
    path = write_buildings([], tmp_path / "b.geojson", UTM)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SceneReadError, match="a pipe, not a file"):
        fingerprint(Look("b", None, path, sidecar_path(path)))


def test_assessed_areas_beside_results_are_no_looks(tmp_path):
    path = write_buildings([], tmp_path / "b.geojson", UTM)
    beside = tmp_path / f"b.geojson{AREA_ENDING}"
    beside.write_text("{}")
    assert [look.buildings for look in find_looks([path, beside])] == [path]
