"""Runs to learn from."""

import pytest

from tests.run_folders import write_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Return a folder with two runs of the compact network, `teacher` and `second`."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "teacher")
    write_run(folder / "second", seed=1)
    return folder
