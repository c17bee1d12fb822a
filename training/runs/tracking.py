"""Tracking: what a run leaves in its folder, and what it says while it goes.

    steps.csv        step, learning rate and loss of every step, to the last bit
    log.csv          one row for every validation
    samples/         pictures of validation pairs: truth and prediction
    curve.png        losses and figures over the steps
    status.json      how it stands or ended, its time, its best figure
    tensorboard/     the same for TensorBoard: tensorboard --logdir runs

Beside them `training.train` puts the recipe, the commit, the split and the checkpoints. With
`mlflow = true` in the recipe the run is in a database, too (`training.runs.database`), and with
`GEODAMAGE_NOTIFY` in the environment its end is told (`training.runs.notification`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from geodamage.errors import GeodamageError
from training.extras import optional
from training.recipe import Recipe, as_values
from training.runs.database import Database, DatabaseError
from training.runs.display import Display, duration
from training.runs.notification import NotificationError, Notifier
from training.runs.pictures import Answer, draw_curve, sample_sheet, write_png
from training.runs.records import Status, StepTable, ValidationLog


def summary_writer(folder: Path, *, resumed_at: int) -> Any:
    """Return what writes for TensorBoard; what earlier starts wrote beyond that step is void."""
    optional("tensorboard", "train")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=resumed_at + 1)


class Tracker:
    """Records one start of a run, from `with` on; the way out says how it ended.

    Parameters
    ----------
    run
        Folder of the run; it is there.
    recipe
        What is trained.
    resumed_at
        Steps that the checkpoint had done; records of later steps are removed.
    total
        Steps of the whole training.

    Raises
    ------
    MissingExtraError
        If a package is missing that the recipe or the environment asks for.
    """

    def __init__(self, run: Path, recipe: Recipe, *, resumed_at: int, total: int) -> None:
        # First what may be missing: better now than at the first validation.
        self._notifier = Notifier.from_environment()
        optional("matplotlib", "train")
        self.run, self.recipe = run, recipe
        self._began = time.monotonic()
        self.status = self._resumed_status(resumed_at, total)
        self._database = self._open_database() if recipe.mlflow else None
        self._tensorboard = summary_writer(run / "tensorboard", resumed_at=resumed_at)
        self._steps = StepTable(run / "steps.csv", resumed_at=resumed_at)
        self._log = ValidationLog(run / "log.csv", resumed_at=resumed_at)
        self._earlier = self.status.seconds
        self._display = Display(recipe.run_name, total, done=resumed_at, batch=recipe.batch)

    def __enter__(self) -> "Tracker":
        (self.run / "samples").mkdir(exist_ok=True)
        self._write_status()
        return self

    def say(self, text: str) -> None:
        """Print a line."""
        self._display.say(text)

    def add_step(self, step: int, loss: float, lr: float) -> None:
        """Record a step; call it before the checkpoint of that step is written."""
        self.status.steps = step
        self._steps.add(step, loss, lr)
        self._tensorboard.add_scalar("train/loss", loss, step)
        self._tensorboard.add_scalar("train/lr", lr, step)
        self._display.add_step(step, loss, lr)

    def add_validation(self, step: int, row: Mapping[str, float], *, better: bool) -> None:
        """Record a validation, and draw the curves again."""
        self._log.add(step, row, better=better)
        for name, value in row.items():
            if name != "lr":
                self._tensorboard.add_scalar(f"validation/{name}", value, step)
        self._tensorboard.flush()
        figures = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self.say(f"step {step:,}  {figures}{'  (best)' if better else ''}")
        self._write_status()
        self._draw_curve()
        self._in_database(lambda database: database.add(step, row))
        self._display.pause()

    def add_pictures(self, step: int, items: Iterable[Answer]) -> None:
        """Write a picture of validation pairs and what the network says of them."""
        sheet = sample_sheet(items)
        if sheet is not None:
            write_png(self.run / "samples" / f"step_{step:07d}.png", sheet)
            self._tensorboard.add_image("validation/samples", sheet, step, dataformats="HWC")
        self._display.pause()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.status.status = _ended(error)
        self.status.error = _one_line(error) if self.status.status == "failed" else ""
        self.status.ended = _now()
        self._write_status()
        self._steps.close()
        self._tensorboard.close()
        self._draw_curve()
        files = [self.run / name for name in ("curve.png", "recipe.toml", "log.csv", "status.json")]
        self._in_database(lambda database: database.add_files(files))
        self._in_database(lambda database: database.end(self.status.status))
        self._notify()
        self._display.close()

    def _resumed_status(self, resumed_at: int, total: int) -> Status:
        commit = self.run / "commit.txt"
        status = Status(
            self.recipe.run_name,
            started=_now(),
            steps=resumed_at,
            total=total,
            metric=self.recipe.metric,
            commit=commit.read_text(encoding="utf-8").strip() if commit.exists() else "",
        )
        path = self.run / "status.json"
        if resumed_at and path.exists():
            before = Status.read(path)
            status.started, status.seconds = before.started, before.seconds
        return status

    def _open_database(self) -> Database:
        return Database(
            self.run,
            self.recipe.run_name,
            group=self.recipe.group or self.recipe.name,
            parameters=as_values(self.recipe),
            commit=self.status.commit,
        )

    def _in_database(self, work: Callable[[Database], None]) -> None:
        if self._database is None:
            return
        try:
            work(self._database)
        except DatabaseError as error:
            # Days of training are worth more than a row in a database.
            self.say(f"warning: {error}")

    def _write_status(self) -> None:
        self.status.seconds = round(self._earlier + time.monotonic() - self._began, 1)
        best = self._log.best(self.recipe.metric)
        self.status.best_step, self.status.best = best or (None, None)
        self.status.write(self.run / "status.json")

    def _draw_curve(self) -> None:
        status = self.status
        best = None
        if status.best is not None and status.best_step is not None:
            best = (status.metric, status.best_step, status.best)
        draw_curve(
            self.run / "curve.png",
            self._steps.steps,
            self._steps.losses,
            self._log.series(),
            title=f"{status.name}: {self.recipe.network}, {self.recipe.task}",
            best=best,
        )

    def _notify(self) -> None:
        status = self.status
        lines = [
            f"{self.recipe.network}, {self.recipe.task}",
            f"step {status.steps:,} of {status.total:,}, {duration(status.seconds)}",
        ]
        if status.best is not None:
            lines.append(f"best {status.metric} {status.best:.4f}, step {status.best_step:,}")
        if status.error:
            lines.append(status.error)
        try:
            self._notifier.send(f"geodamage: {status.name} {status.status}", "\n".join(lines))
        except NotificationError as error:
            self.say(f"warning: {error}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _ended(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _one_line(error: BaseException | None) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    # Our own errors say all there is to say.
    return text if isinstance(error, GeodamageError) else f"{type(error).__name__}: {text}"
