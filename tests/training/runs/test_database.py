import dataclasses
import socket
import sys

import pytest

from geodamage.errors import MissingExtraError
from tests.training.runs.answers import RECIPE
from training.runs.database import Database, DatabaseError
from training.runs.records import Status
from training.runs.tracking import Tracker

WITH_DATABASE = dataclasses.replace(RECIPE, mlflow=True)


@pytest.fixture(autouse=True)
def own_database(monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "GEODAMAGE_NOTIFY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "commit.txt").write_text("abc\n")
    return folder


def track(folder, steps, *, resumed_at=0):
    with Tracker(folder, WITH_DATABASE, resumed_at=resumed_at, total=9) as tracker:
        for step in steps:
            tracker.add_step(step, 0.5, 1e-3)
            tracker.add_validation(step, {"score": step / 4}, better=True)


@pytest.mark.slow
def test_a_run_that_goes_on_is_one_run_of_the_database(run, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(run)  # where MLflow would leave its files
    (run / "recipe.toml").write_text("name = 'tiny'\n")
    track(run, [1, 2])
    with pytest.raises(ZeroDivisionError):
        track(run, (3 // rest for rest in (1, 0)), resumed_at=2)
    track(run, [3], resumed_at=2)

    client = MlflowClient(tracking_uri=f"sqlite:///{run.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("geodamage")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("tiny", "FINISHED")
    assert found.data.tags["group"] == "tiny"
    assert found.data.tags["mlflow.source.git.commit"] == "abc"
    assert found.data.params["network"] == "res34_unet"
    assert found.data.params["augmentation_crop"] == "512"
    assert found.data.metrics == {"score": 0.75}
    history = client.get_metric_history(found.info.run_id, "score")
    assert sorted({(each.step, each.value) for each in history}) == [(1, 0.25), (2, 0.5), (3, 0.75)]
    files = {each.path for each in client.list_artifacts(found.info.run_id)}
    assert files == {"curve.png", "recipe.toml", "log.csv", "status.json"}
    assert not (run / "mlruns").exists()


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_one_line_without_its_address(
    run,
    monkeypatch,
):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"http://who:geheim@127.0.0.1:{unheard.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(DatabaseError, match="MLFLOW_TRACKING_URI") as caught:
            track(run, [1])
    assert "geheim" not in str(caught.value)
    assert not (run / "steps.csv").exists()


@pytest.mark.slow
def test_a_database_that_is_lost_on_the_way_does_not_end_a_run(
    run,
    monkeypatch,
    capsys,
):
    class Lost(Database):
        def __init__(self, *arguments, **options):
            pass

        def _lose(self, *arguments):
            raise DatabaseError("gone")

        add = add_files = end = _lose

    monkeypatch.setattr("training.runs.tracking.Database", Lost)
    track(run, [1])
    assert "warning: gone" in capsys.readouterr().err
    assert Status.read(run / "status.json").status == "finished"


def test_a_missing_mlflow_is_told_at_the_start(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r'mlflow.*"\.\[tracking\]"'):
        track(run, [1])
