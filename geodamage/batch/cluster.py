"""Dask: the scenes of a batch, or the strips of one huge scene, as tasks of a cluster.

The workers compute and write results; the client alone keeps the ledger. A task of a worker that
dies is run again by another one.
"""

import contextlib
import importlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from geodamage._version import __version__
from geodamage.assessment import Job
from geodamage.batch.executors import Event, Outcome, Task, follow_task
from geodamage.errors import (
    InputError,
    MissingExtraError,
    OptionError,
    ResourceError,
    install,
    one_line,
)
from geodamage.grid import Grid
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.plan import Plan
from geodamage.prediction import Strip, run_plan
from geodamage.scene.exposure import Reading
from geodamage.scene.scene import Scene
from geodamage.windows import Window

#: Seconds to wait for a scheduler to answer.
ANSWER = 30.0
#: Tasks that wait at the scheduler when it has no workers yet: a cluster that grows with its work
#: must see some.
LEAST_IN_FLIGHT = 4


def connect(stack: ExitStack, *, address: str | None = None, workers: int | None = None) -> Any:
    """Return a client of a running scheduler, or of a cluster of this machine.

    Parameters
    ----------
    stack
        Closes the client, and a cluster that was begun here.
    address
        Address of a scheduler, `tcp://host:8786`, or the path of a scheduler file.
    workers
        Processes of this machine, where there is no address.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    OptionError
        If nobody answers at the address.
    """
    distributed = _distributed()
    if address is None:
        # No limit of Dask's on memory: each scene keeps to its own.
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=0,
            )
        )
        return stack.enter_context(distributed.Client(cluster))
    known = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        return stack.enter_context(distributed.Client(**known, timeout=ANSWER))
    except (OSError, ValueError) as error:
        reason = one_line(error)
        raise OptionError(
            f"--dask {address}: no scheduler answers there ({reason}); give the address that "
            "`dask scheduler` prints, tcp://HOST:PORT"
        ) from error


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise MissingExtraError(
            f"a cluster needs dask and distributed; run {install('cluster')}, or leave --dask and "
            "--dask-local out"
        ) from error


class DaskExecutor:
    """Scenes as tasks of a Dask cluster.

    Parameters
    ----------
    client
        A `distributed.Client`.
    threads
        CPU threads for inference of each task, where its job does not say; 0 takes all that the
        worker may use.
    """

    def __init__(self, client: Any, *, threads: int = 0) -> None:
        self._client = client
        self._threads = threads
        self._futures: dict[str, Any] = {}
        self._ready: queue.Queue[str] = queue.Queue()
        self._count = 0

    @property
    def slots(self) -> int:
        """How many tasks it takes: those that run, and one more so that no worker is idle."""
        return max(LEAST_IN_FLIGHT, 1 + _threads(self._client))

    def submit(self, task: Task) -> None:
        """Begin a task; there must be a free slot."""
        job = replace(task.job, threads=task.job.threads or self._threads)
        self._count += 1
        future = self._client.submit(
            run_on_worker,
            replace(task, job=job),
            __version__,
            key=f"scene {task.name} {self._client.id} {self._count}",
            pure=False,
        )
        self._futures[task.name] = future
        future.add_done_callback(lambda _: self._ready.put(task.name))

    def events(self, timeout: float) -> list[Event]:
        """Return what has happened, after waiting for it so many seconds at most."""
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._outcome(self._ready.get(timeout=timeout)))
            while True:
                found.append(self._outcome(self._ready.get_nowait()))
        return found

    def _outcome(self, name: str) -> Outcome:
        future = self._futures.pop(name)
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        error = future.exception() if future.status == "error" else None
        reason = future.status if error is None else f"{type(error).__name__}: {one_line(error)}"
        return Outcome(
            name,
            error=f"the cluster gave up the scene ({reason}); see the logs of its workers, and "
            f"try again "
            "with --retry-failed",
            error_code=ResourceError.exit_code,
        )

    def close(self) -> None:
        """Take back what is not finished; the workers stop at their next step."""
        if self._futures:
            self._client.cancel(list(self._futures.values()), force=True)
            self._futures.clear()


def _threads(client: Any) -> int:
    return sum(int(count) for count in client.nthreads().values())


def run_on_worker(task: Task, version: str) -> Outcome:
    """Assess a scene on a worker; stop as soon as nobody wants the result any more."""
    if version != __version__:
        return Outcome(
            task.name,
            error=f"the worker has geodamage {__version__}, and the client {version}; install the "
            "same on both",
            error_code=OptionError.exit_code,
        )
    is_wanted = _watch()
    with follow_task(task) as steps:
        for _ in steps:
            if not is_wanted():
                return Outcome(task.name, error="taken back", error_code=ResourceError.exit_code)
    return steps.result()


def _watch() -> Callable[[], bool]:
    """Return a function that says whether the task of this thread is still wanted.

    A task that runs cannot be stopped from outside, and a client that was killed asks for nothing:
    but the worker knows then that the task was cancelled.
    """
    worker = _distributed().get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state not in ("cancelled", "released", "forgotten")

    return is_wanted


@dataclass(frozen=True)
class _View:
    """What a worker needs to see a scene as the client sees it, without looking at it again."""

    job: Job
    grid: Grid
    region: Window
    reading: Reading


def predict_on_cluster(
    client: Any,
    job: Job,
    scene: Scene,
    model: Model | Ensemble,
    plan: Plan,
    *,
    with_grades: bool = False,
) -> Iterator[Strip]:
    """Predict the strips of one scene on a cluster; they arrive in the order of the plan.

    So whoever joins buildings across strips does the same as with `run_plan`, and finds the same.
    No more strips are asked for than the workers compute at a time and one for each of them.

    Parameters
    ----------
    client
        A `distributed.Client`.
    job
        Says where the images are, and with what to predict.
    scene, model, plan
        Scene, model and plan that the client has opened, loaded and made.
    with_grades
        Grade each pixel by the rules of the model, too.

    Raises
    ------
    GeodamageError
        If a strip cannot be predicted.
    """
    view = _View(job, scene.grid, scene.region, scene.reading)
    waiting: deque[Any] = deque()
    parts = [strip_plan(plan, strip) for strip in plan.strips()]
    try:
        for part in parts:
            while len(waiting) >= 1 + _threads(client):
                yield _gathered(waiting)
            waiting.append(
                client.submit(predict_strip, view, part, with_grades, __version__, pure=False)
            )
        while waiting:
            yield _gathered(waiting)
    finally:
        client.cancel(list(waiting), force=True)


def _gathered(waiting: deque[Any]) -> Strip:
    from distributed.scheduler import KilledWorker

    future = waiting.popleft()
    try:
        strip: Strip = future.result()
    except KilledWorker as error:
        raise ResourceError(
            f"the workers that predicted a strip died ({one_line(error)}); give them more memory "
            "or lower --scene-memory"
        ) from error
    future.release()
    return strip


def strip_plan(plan: Plan, strip: Window) -> Plan:
    """Return the plan of one strip of a plan: the same windows, and no others."""
    return replace(plan, region=strip & plan.region, origin=(strip.row, strip.column))


def predict_strip(view: _View, plan: Plan, with_grades: bool, version: str) -> Strip:
    """Predict one strip on a worker.

    Raises
    ------
    OptionError
        If the worker has another geodamage than the client.
    InputError
        If the images are not here what they are there.
    """
    if version != __version__:
        raise OptionError(
            f"a worker has geodamage {__version__}, and the client {version}; install the same"
        )
    scene, model = _opened(view)
    (strip,) = run_plan(scene, model, plan, with_grades=with_grades)
    return strip


#: The last scene that this worker has seen; opening it costs more than a strip.
_last: list[tuple[_View, tuple[Scene, Model | Ensemble]]] = []
_opening = threading.Lock()


def _opened(view: _View) -> tuple[Scene, Model | Ensemble]:
    with _opening:
        if not _last or _last[0][0] != view:
            _last[:] = [(view, _open(view))]  # whoever still reads the other one keeps it open
        return _last[0][1]


def _open(view: _View) -> tuple[Scene, Model | Ensemble]:
    job = view.job
    model = load_model(
        job.model,
        device=job.device,
        threads=job.threads,
        engine=job.engine,
        precision=job.precision,
        tta=job.tta,
    )
    scene = Scene.open(job.pre, job.post, model=model, options=job.scene, reading=view.reading)
    if (scene.grid, scene.region) != (view.grid, view.region):
        scene.close()
        raise InputError(
            f"{job.pre}: a worker sees another grid than the client; see that both read the same "
            "files and have the same PROJ"
        )
    return scene, model
