"""Results as an event reads them."""

import os

import pytest

from geodamage.errors import SceneReadError
from geodamage.event.looks import Look, find_looks, fingerprint
from geodamage.output.publication import sidecar_path
from geodamage.output.seen_ground import AREA_ENDING
from geodamage.output.vectors import write_buildings
from tests.conftest import UTM


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
