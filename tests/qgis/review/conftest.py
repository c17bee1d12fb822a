"""A result to review, and the dock on it."""

import pytest


@pytest.fixture(scope="module")
def sample(command_line, pair, tmp_path_factory):
    from graded import make_sample

    return make_sample(command_line, pair, tmp_path_factory)


@pytest.fixture
def result(sample, tmp_path):
    return sample.copy_result("buildings.gpkg", tmp_path)


@pytest.fixture
def open_review(iface):
    """Return a function that opens the dock on a layer; docks are closed with the test."""
    from geodamage_qgis.review.dock import ReviewDock

    docks = []

    def open_it(layer):
        dock = ReviewDock(iface, layer)
        docks.append(dock)
        iface.window.show()
        dock.begin()
        dock.panel.reviewer.setText("Ada")
        return dock

    yield open_it
    for dock in docks:
        iface.removeDockWidget(dock)
        dock.close()
