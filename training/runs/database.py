"""Database of runs: parameters, figures and files of every run, in MLflow.

It is a SQLite file beside the runs, for `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`,
or any server that the environment names by MLFLOW_TRACKING_URI. Names and passwords for a server
are in the environment, too, as MLflow's manual says.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geodamage.errors import GeodamageError
from training.extras import optional

EXPERIMENT = "geodamage"
#: Where a run keeps its number in the database.
NUMBER = "mlflow_run.txt"
#: How a run ended, in the words of MLflow.
ENDS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
#: Parameters that MLflow takes at once, and characters of one. Source: mlflow.utils.validation.
AT_ONCE, LONGEST = 100, 6000
DEFAULTS = {
    # A training says nothing to anybody who was not named.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The loop waits: seven tries, as by default, take minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class DatabaseError(GeodamageError):
    """The database of runs does not answer as it should."""


class Database:
    """One run in the database; a run that goes on is found again.

    Parameters
    ----------
    folder
        Folder of the run; the SQLite file is beside it.
    name, group
        Name and group of the run.
    parameters
        The resolved recipe.
    commit
        Commit of the code.

    Raises
    ------
    MissingExtraError
        If MLflow is not installed.
    DatabaseError
        If the database cannot be reached.
    """

    def __init__(
        self, folder: Path, name: str, *, group: str, parameters: Mapping[str, Any], commit: str
    ) -> None:
        for variable, value in DEFAULTS.items():
            os.environ.setdefault(variable, value)
        mlflow = optional("mlflow", "tracking")
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        self._mlflow = mlflow
        self._own = f"sqlite:///{(folder.parent / 'mlflow.db').resolve().as_posix()}"
        self._address = os.environ.get("MLFLOW_TRACKING_URI") or self._own
        with self._explained():
            self._client = mlflow.MlflowClient(tracking_uri=self._address)
            self.number = self._found(folder / NUMBER) or self._begun(folder, name, group, commit)
            self._set_parameters(parameters)
            self._client.update_run(self.number, status="RUNNING")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Record the figures of a validation."""
        with self._explained():
            for name, value in values.items():
                self._client.log_metric(self.number, name, float(value), step=step)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Keep copies of files, in place of earlier ones of these names."""
        with self._explained():
            for path in paths:
                if path.exists():
                    self._client.log_artifact(self.number, str(path))

    def end(self, status: str) -> None:
        """Record how the run ended; see `ENDS`."""
        with self._explained():
            self._client.set_terminated(self.number, ENDS[status])

    def _found(self, path: Path) -> str:
        """Return the number of the run in this database, if it has been there."""
        number = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        if not number:
            return ""
        found = self._client.search_runs(
            [self._experiment(path.parent.parent)],
            f"attributes.run_id = '{number}'",
            max_results=1,
        )
        return number if found else ""

    def _begun(self, folder: Path, name: str, group: str, commit: str) -> str:
        tags = {"group": group, "mlflow.source.git.commit": commit}
        run = self._client.create_run(self._experiment(folder.parent), run_name=name, tags=tags)
        number = str(run.info.run_id)
        (folder / NUMBER).write_text(number + "\n", encoding="utf-8")
        return number

    def _experiment(self, runs: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        # A server knows where it keeps files; by itself a database file takes the current folder.
        own = self._address == self._own
        place = (runs / "mlflow_files").resolve().as_uri() if own else None
        return str(self._client.create_experiment(name, artifact_location=place))

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record parameters that are not there yet: in MLflow they are written once."""
        there = self._client.get_run(self.number).data.params
        entity = self._mlflow.entities.Param
        new = [
            entity(key, str(value)[:LONGEST])
            for key, value in parameters.items()
            if key not in there
        ]
        for start in range(0, len(new), AT_ONCE):
            self._client.log_batch(self.number, params=new[start : start + AT_ONCE])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (self._mlflow.exceptions.MlflowException, OSError) as error:
            # The address may hold a password, and so may what MLflow says of it.
            raise DatabaseError(
                f"MLflow: {type(error).__name__} {getattr(error, 'error_code', '')}; see that the "
                "database of MLFLOW_TRACKING_URI answers, or train with mlflow = false"
            ) from error
