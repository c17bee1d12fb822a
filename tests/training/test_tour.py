import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks import is_without_outputs, printed

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "training" / "tour.ipynb"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs():
    assert is_without_outputs(read())


def test_it_says_that_its_model_is_none():
    assert "on one drawn pair is no model" in " ".join(read().cells[0].source.split())
    assert "steps = 40\n" in "".join(cell.source for cell in read().cells)


def test_what_it_links_to_is_there():
    text = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    assert all((NOTEBOOK.parent / target).exists() for target in targets)


def named_in_the_run_book():
    """Return the names in its table of the run folder."""
    rows = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    rows = rows.partition("| in `runs/NAME` |")[2].partition("\n\n")[0].splitlines()
    return {name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_writes_nothing_but_into_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # Threads that wait for each other on busy cores take many times as long.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = shown_files()
    notebook = read()
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    assert shown_files() == before
    (work,) = tmp_path.glob("geodamage-tour-*")
    assert (work / "tour.onnx").stat().st_size > 1e6
    assert (work / "buildings.geojson").exists()
    assert len(list((work / "prepared" / "masks").iterdir())) == 8
    names = {path.name for path in (work / "runs" / "tour").iterdir()}
    assert names == named_in_the_run_book() - {"mlflow_run.txt"}
    said = printed(notebook)
    ways = r"score of the run (\S+), of the model file (\S+), of the PNGs (\S+)"
    ((of_run, of_file, of_pngs),) = re.findall(ways, said)
    assert of_run == of_file == of_pngs
    assert float(of_run) > 0.01
    losses = [float(loss) for loss in re.findall(r"train_loss (\S+)", said)]
    assert losses[-1] < losses[0]


def shown_files():
    """Return what lies in the folders that the tour starts from, without what Python keeps."""
    folders = (ROOT, ROOT / "training", ROOT / "training" / "recipes", ROOT / "sample_data")
    return {path for folder in folders for path in folder.iterdir() if path.name != "__pycache__"}
