from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks import is_without_outputs, printed

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "sample_data" / "quickstart.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs():
    assert is_without_outputs(read())


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_finds_most_buildings(tmp_path, monkeypatch):
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = read()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = printed(notebook)
    recall = float(said.split("(recall ")[1].split(")")[0])
    assert recall > 0.5
    assert (tmp_path / "quickstart.geojson").stat().st_size > 1000
