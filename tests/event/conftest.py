"""Where an event goes."""

import pytest


@pytest.fixture
def output(tmp_path):
    """Return the path of an event that is not there yet."""
    return tmp_path / "event.gpkg"
