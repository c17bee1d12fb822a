"""What a test of bad inputs is given."""

from pathlib import Path

import pytest

from tests.bad_inputs.attempts import Attempts

#: Bad input is refused at once; a test that takes so many seconds hangs.
PATIENCE = 120


def pytest_collection_modifyitems(items):
    """Let no test of this folder wait: by a thread, as no signal interrupts GDAL."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(PATIENCE, method="thread"))


@pytest.fixture
def attempts(tmp_path, pair, model):
    """Return runs of the command in a folder of this test."""
    return Attempts(tmp_path, pair, model)
