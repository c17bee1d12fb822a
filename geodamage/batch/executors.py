"""Executors: where the scenes of a batch run. Tasks in, what became of them out.

An executor knows nothing of the ledger: it is given a task when a place is free, and tells what
came of it. A task that fails, or whose process dies, harms no other.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import psutil

from geodamage.assessment import Job, assess
from geodamage.batch.owner import is_alive
from geodamage.errors import GeodamageError, GeodamageWarning, OptionError, ResourceError, one_line
from geodamage.job import Progress, Result
from geodamage.model.loading import share_models
from geodamage.model.session import default_threads
from geodamage.output.locks import clear_locks
from geodamage.output.publication import PARTIAL_NAME
from geodamage.summary import Summary
from geodamage.work import Work, long_work

#: Seconds that a worker has to clean up when it is asked to stop, before it is killed.
GRACE = 10.0
#: Share of the memory that is free now which a batch takes unless told.
MEMORY_SHARE = 0.8
#: Deaths of a worker in a row, before any scene was finished, after which there is no point in
#: another one.
HOPELESS = 5


@dataclass(frozen=True)
class Task:
    """A scene to assess.

    Attributes
    ----------
    name
        Scene name.
    job
        What to do; it may overwrite.
    """

    name: str
    job: Job


@dataclass(frozen=True)
class Update:
    """How far a task is.

    Attributes
    ----------
    name
        Scene name.
    share
        Share of its pixels that are finished, 0-1.
    message
        A line for the user, or None; `warning` says that it is one.
    """

    name: str
    share: float = 0.0
    message: str | None = None
    warning: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    name
        Scene name.
    facts
        Figures of the result, None if there is none.
    error, error_code
        One line and the exit code that `geodamage assess` would have had; None if all is well.
    """

    name: str
    facts: dict[str, Any] | None = None
    error: str | None = None
    error_code: int | None = None


Event = Update | Outcome


class Executor(Protocol):
    """Somewhere to run tasks."""

    @property
    def slots(self) -> int:
        """How many tasks it takes at a time."""
        ...

    def submit(self, task: Task) -> None:
        """Begin a task; there must be a free slot."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened, after waiting for it so many seconds at most."""
        ...

    def close(self) -> None:
        """Stop what runs; no half file stays."""
        ...


def run_task(task: Task) -> Outcome:
    """Assess a scene to its end; what goes wrong becomes a part of the outcome."""
    return follow_task(task).result()


@long_work
def follow_task(
    task: Task, work: Callable[[Job], Work[Progress, Result[Summary]]] = assess
) -> Generator[Update, None, Outcome]:
    """Assess a scene step by step, as `Work`; its result says what came of it.

    Parameters
    ----------
    task
        What to do.
    work
        What does it; `assess` unless a cluster predicts.
    """
    try:
        clear_partials(task.job.output.parent)
        with warnings.catch_warnings():
            # They come as messages of the job, too.
            warnings.simplefilter("ignore", GeodamageWarning)
            with work(task.job) as steps:
                for step in steps:
                    share = step.done / max(step.total, 1)
                    yield Update(task.name, share, step.message, step.warning)
            summary = steps.result().summary
    except GeodamageError as error:
        return Outcome(task.name, error=one_line(error), error_code=error.exit_code)
    except MemoryError as error:
        text = f"out of memory ({one_line(error)}); lower --scene-memory or --batch-size"
        return Outcome(task.name, error=text, error_code=ResourceError.exit_code)
    except Exception as error:
        # The border of a scene: whatever is left is our mistake, and the others go on.
        text = f"internal error, {type(error).__name__}: {one_line(error) or 'no message'}"
        return Outcome(task.name, error=text, error_code=GeodamageError.exit_code)
    return Outcome(task.name, facts={**summary.facts(), "seconds": round(summary.seconds, 2)})


def clear_partials(folder: Path, *, dead_only: bool = False) -> None:
    """Remove what a run that was killed has left half written in the folder of a scene.

    Only who holds the claim on the scene may do so.

    Parameters
    ----------
    folder
        Need not be there.
    dead_only
        Leave what a process of this machine that is alive may still write.
    """
    if not folder.is_dir():
        return
    clear_locks(folder)
    for path in list(folder.iterdir()):
        # Working files of the drivers are named after the partial file.
        name = path.name.partition(".partial")[0] + ".partial"
        match = PARTIAL_NAME.fullmatch(name)
        if match is not None and not (dead_only and is_alive(_writer(name))):
            with contextlib.suppress(OSError):
                path.unlink()


def _writer(partial_name: str) -> int:
    """Return the number of the process that writes a partial file."""
    return int(partial_name.split(".")[-2].partition("-")[0])


def plan_workers(
    memory: float | None, *, scene_memory: float, workers: int | None = None, devices: int = 0
) -> int:
    """Return how many scenes run at a time on this machine.

    Parameters
    ----------
    memory
        Bytes for all of them; None takes most of what is free now.
    scene_memory
        Bytes of one.
    workers
        The number that the user wants; None for as many as fit.
    devices
        GPUs to use; 0 computes on the processors.

    Raises
    ------
    OptionError
        If so many do not fit into the memory that the user gave.
    ResourceError
        If not even one fits.
    """
    total = MEMORY_SHARE * free_memory() if memory is None else memory
    fit = int(total // scene_memory)
    if workers is not None:
        if memory is not None and workers > fit:
            raise OptionError(
                f"--workers {workers}: they need {workers * scene_memory / 1e9:.1f} GB, and "
                f"--memory is {memory / 1e9:.1f} GB; lower one or raise the other"
            )
        return workers
    if fit < 1:
        raise ResourceError(
            f"{total / 1e9:.2f} GB of memory for the batch, and one scene is planned with "
            f"{scene_memory / 1e9:.2f} GB; raise --memory or lower --scene-memory"
        )
    return max(1, min(fit, devices or default_threads()))


def free_memory() -> float:
    """Return the bytes that programs can still have, no more than a container's limit."""
    free = float(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            most = float((group / limit).read_text())
            free = min(free, most - float((group / used).read_text()))
    return free


def find_devices(device: str) -> list[str]:
    """Return a name for each GPU that `--device` lets a batch use; none where it has none."""
    if device not in ("auto", "cuda") or not _has_gpu_runtime():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    else:
        count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return [f"cuda:{number}" for number in range(count)]


def _has_gpu_runtime() -> bool:
    try:
        metadata.distribution("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return False
    return True


class LocalExecutor:
    """Worker processes of this machine, one scene each at a time.

    They are started afresh, not forked: GDAL and its threads do not survive a fork. A worker that
    dies is replaced, and its scene has failed.

    Parameters
    ----------
    workers
        Number of processes.
    devices
        GPUs, dealt out in turn; none leaves the device of the job.
    """

    def __init__(self, workers: int, *, devices: Sequence[str] = ()) -> None:
        if workers < 1:
            raise OptionError(f"--workers {workers}: give 1 or more")
        self.slots = workers
        threads = max(1, default_threads() // workers)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._places = [
            _Place(threads, devices[n % len(devices)] if devices else None) for n in range(workers)
        ]
        self._deaths = 0

    def submit(self, task: Task) -> None:
        """Begin a task; there must be a free slot."""
        worker = self._idle_worker() or _Worker(self._places.pop())
        worker.begin(task)
        self._busy.append(worker)

    def _idle_worker(self) -> "_Worker | None":
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end(0.0)
            self._places.append(worker.place)
        return None

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened, after waiting for it so many seconds at most.

        Raises
        ------
        ResourceError
            If one worker after the other dies.
        """
        if not self._busy:
            return []
        channels: list[Any] = [worker.channel for worker in self._busy]
        ready = wait([*channels, *(worker.process.sentinel for worker in self._busy)], timeout)
        found: list[Event] = []
        for worker in list(self._busy):
            if worker.channel in ready or worker.process.sentinel in ready:
                found += self._collect(worker)
        return found

    def _collect(self, worker: "_Worker") -> Iterator[Event]:
        for event in worker.received():
            yield event
            if isinstance(event, Outcome):
                self._deaths = 0
                worker.task = None
                self._busy.remove(worker)
                self._idle.append(worker)
                return
        if worker.is_dead:
            self._busy.remove(worker)
            self._places.append(worker.place)
            yield worker.death()
            self._deaths += 1
            if self._deaths >= HOPELESS * self.slots:
                raise ResourceError(
                    f"{self._deaths} worker processes in a row have died; see that the machine has "
                    "memory for them, lower --workers, and run the same command again"
                )

    def close(self) -> None:
        """Stop what runs; no half file stays."""
        workers = [*self._busy, *self._idle]
        for worker in workers:
            worker.ask_to_stop()
        until = time.monotonic() + GRACE
        for worker in workers:
            worker.end(max(0.0, until - time.monotonic()))
        self._busy, self._idle = [], []


@dataclass(frozen=True)
class _Place:
    """What a worker computes with."""

    threads: int
    device: str | None

    def fitted(self, job: Job) -> Job:
        if self.device is not None:
            job = replace(job, device=self.device)
        return replace(job, threads=job.threads or self.threads)


class _Worker:
    """A process and the channel to it."""

    def __init__(self, place: _Place) -> None:
        self.place = place
        self.task: Task | None = None
        self.is_dead = False
        context = multiprocessing.get_context("spawn")
        self.channel, other = context.Pipe()
        # Not a daemon: those die before they can clean up.
        self.process: BaseProcess = context.Process(
            target=_serve, args=(other,), name="geodamage worker"
        )
        self.process.start()
        other.close()

    def begin(self, task: Task) -> None:
        self.task = replace(task, job=self.place.fitted(task.job))
        with contextlib.suppress(OSError):  # it has died; `events` will find out
            self.channel.send(self.task)

    def received(self) -> Iterator[Event]:
        try:
            while self.channel.poll():
                yield self.channel.recv()
        except (EOFError, OSError):  # the other end closes with its process
            self.is_dead = True

    def death(self) -> Outcome:
        """Return what becomes of the task of a worker that is dead."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        why = " (often for lack of memory: lower --workers)" if -code == _KILL else ""
        self.channel.close()
        name = "" if self.task is None else self.task.name
        if self.task is not None:
            clear_partials(self.task.job.output.parent)
        return Outcome(
            name,
            error=f"the process that assessed it ended {how}{why}; try again with --retry-failed",
            error_code=ResourceError.exit_code,
        )

    def ask_to_stop(self) -> None:
        with contextlib.suppress(OSError):
            self.channel.send(None)

    def end(self, seconds: float) -> None:
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.channel.close()
        if self.task is not None:
            clear_partials(self.task.job.output.parent)


_KILL = 9


def _serve(channel: Connection) -> None:
    """Run tasks until told to stop; die with the parent."""
    # Ctrl-C and SIGTERM reach the whole group: the parent decides what they mean.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    share_models()  # of the scenes that it is given one after the other
    with contextlib.suppress(EOFError, OSError):
        while (task := channel.recv()) is not None:
            if not _run(task, channel):
                return


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(task: Task, channel: Connection) -> bool:
    """Run a task; False if it was told to stop on the way."""
    with follow_task(task) as steps:
        for update in steps:
            channel.send(update)
            if channel.poll():  # nothing but an order to stop comes while a task runs
                return False
    channel.send(steps.result())
    return True
