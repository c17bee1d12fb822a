"""Many scenes: what the list asks for and the ledger lacks is done, until nothing is left.

The ledger decides what is to be done, an executor does it, and what came of it goes back into the
ledger. The same command, run again after a kill, finishes what is missing and nothing else.
"""

import hashlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from geodamage._version import __version__
from geodamage.assessment import assess
from geodamage.batch.executors import (
    Executor,
    LocalExecutor,
    Outcome,
    Task,
    Update,
    clear_partials,
    find_devices,
    follow_task,
)
from geodamage.batch.fingerprints import (
    input_bytes,
    input_fingerprint,
    model_fingerprint,
    option_fingerprint,
    output_record,
    why_altered,
)
from geodamage.batch.job import (
    BUILDINGS,
    EVENT,
    IMAGES,
    REPORT,
    SCENES,
    BatchJob,
    check_names,
    check_shared,
    model_name,
    read_card_of,
    refuse_strangers,
    results_of,
    scene_job,
)
from geodamage.batch.ledger import Ledger
from geodamage.batch.manifest import Manifest, plan_scenes
from geodamage.batch.plan import _workers
from geodamage.batch.progress import BatchProgress, BatchSummary
from geodamage.batch.record import DONE, FAILED, RUNNING, SceneIdentity, SceneRecord
from geodamage.batch.shard import ledger_path
from geodamage.batch.story import other_ledgers, read_ledger, read_story
from geodamage.errors import (
    GeodamageError,
    LedgerError,
    OutputError,
)
from geodamage.event.looks import Look
from geodamage.event.merging import merge_event
from geodamage.model.session import default_threads
from geodamage.output.publication import output_errors, sidecar_path
from geodamage.scene.options import scene_options
from geodamage.words import counted
from geodamage.work import long_work

#: Seconds between two looks at what the executor has to say.
TICK = 0.5


@long_work
def run_batch(job: BatchJob) -> Generator[BatchProgress, None, BatchSummary]:
    """Assess all scenes that the ledger lacks, as `Work`; its result is the summary.

    Closing it stops the workers; the scenes that were running wait again, and no half file stays.

    Raises
    ------
    GeodamageError
        If the batch cannot go on: the list, the default model, the ledger, the cluster. What goes
        wrong with a scene is in the summary.
    """
    started = time.monotonic()
    with _Batch(job) as batch:
        yield from batch.enter()
        yield from batch.work()
        yield batch.progress("merge")
        summary = batch.summary()
        yield from batch.merge(summary)
    summary.seconds = time.monotonic() - started
    yield BatchProgress(
        "done", len(summary.done), len(summary.failed), 0, batch.total, 1.0, summary.km2, 0.0
    )
    return summary


class _Batch:
    """A batch at work: its ledger, its executor, and what is known of each scene."""

    def __init__(self, job: BatchJob) -> None:
        self.job = job
        check_names(job.scenes)
        check_shared(job)
        self.folder = job.output.absolute()
        self._make_folder()
        self.scenes = {
            scene.name: scene
            for scene in job.scenes
            if job.shard is None or scene.name in job.shard
        }
        self.jobs = {name: scene_job(scene, job) for name, scene in self.scenes.items()}
        self.total = len(self.jobs)
        self.states: dict[str, str] = {}
        self.km2: dict[str, float] = {}
        self.assessed = 0
        self._known: set[str] = set()  # begun by whoever keeps another ledger of this folder
        self._weights: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._work_done = 0.0
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._executor: Executor | None = None
        self._client: Any = None

    def __enter__(self) -> "_Batch":
        self.ledger = self._stack.enter_context(Ledger(ledger_path(self.folder, self.job.shard)))
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._executor is not None:
                self._executor.close()
            released = self.ledger.release("interrupted")
            for name in released:
                clear_partials(self.jobs[name].output.parent)

    def _make_folder(self) -> None:
        try:
            (self.folder / SCENES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {self.folder / SCENES}: {error.strerror}; choose another"
            ) from error
        if isinstance(self.job.scenes, Manifest) and self.job.scenes.images:
            self._record_images(self.job.scenes.images)

    def _record_images(self, images: Iterable[Mapping[str, Any]]) -> None:
        """Write what a catalogue says of the images; every process of a batch writes the same."""
        path = self.folder / IMAGES
        text = json.dumps({"images": list(images)}, ensure_ascii=False, indent=1)
        with output_errors(path):
            waiting = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
            waiting.write_text(text, encoding="utf-8")
            waiting.replace(path)

    # What is to be done.

    def enter(self) -> Iterator[BatchProgress]:
        """Bring the ledger up to date with the list, the inputs and the results."""
        entries = self._entries()
        again = self.ledger.enter(entries, retry_failed=self.job.retry_failed)
        for name, why in again.items():
            yield self.progress("open", name, f"again, {why}")
        self._adopt({entry.name: entry for entry in entries})
        for record in self._records():
            altered = why_altered(self.folder, record.outputs) if record.state == DONE else None
            if altered is not None:
                self.ledger.wait_again(record.name, altered)
                yield self.progress("open", record.name, f"again, {altered}", warning=True)
        self._learn()
        done = sum(state == DONE for state in self.states.values())
        message = counted(self.total, "scene") + (f", {done:,} of them done" if done else "")
        yield self.progress("open", message=message)

    def _entries(self) -> list[SceneIdentity]:
        positions = {scene.name: number for number, scene in enumerate(self.job.scenes)}
        models: dict[str, str] = {}
        entries = []
        for name, job in self.jobs.items():
            source = str(job.model)
            if source not in models:
                models[source] = self._model_hash(source)
            entries.append(
                SceneIdentity(
                    name,
                    positions[name],
                    input_fingerprint(job),
                    models[source],
                    option_fingerprint(job),
                )
            )
            self._weights[name] = float(input_bytes(job)) or 1.0
        return entries

    def _model_hash(self, source: str) -> str:
        try:
            return model_fingerprint(source)
        except GeodamageError as error:
            if source == model_name(self.job.defaults.model):
                raise
            return f"none: {error}"  # its scenes fail, and are tried again when it is there

    def _adopt(self, entries: dict[str, SceneIdentity]) -> None:
        """Believe the ledgers beside this one: other shards, or an earlier cut of the list."""
        for path in other_ledgers(self.ledger.path):
            for record in read_ledger(path):
                entry = entries.get(record.name)
                if record.attempts:
                    self._known.add(record.name)
                same = entry is not None and (entry.inputs, entry.model, entry.options) == (
                    record.inputs,
                    record.model,
                    record.options,
                )
                if same and record.state == DONE and not why_altered(self.folder, record.outputs):
                    self.ledger.adopt(record, path.name)

    def _records(self) -> list[SceneRecord]:
        return [record for record in self.ledger.records() if record.name in self.jobs]

    def _learn(self) -> None:
        """Take over what the ledger says, which other processes may have written."""
        for record in self._records():
            self.states[record.name] = record.state
            self.km2[record.name] = float(record.facts.get("assessed_km2", 0.0))
        self._began, self._work_done = time.monotonic(), 0.0

    # What is being done.

    def work(self) -> Iterator[BatchProgress]:
        """Claim, run and record, until nothing is left to claim."""
        running: dict[str, SceneRecord] = {}
        with _heartbeat(self.ledger):
            while True:
                yield from self._fill(running)
                if not running or self._executor is None:
                    break
                for event in self._executor.events(TICK):
                    if isinstance(event, Outcome):
                        running.pop(event.name, None)
                        yield self._record(event)
                    else:
                        yield from self._note(event)
                yield self.progress("assess")

    def _fill(self, running: dict[str, SceneRecord]) -> Iterator[BatchProgress]:
        while self._executor is None or len(running) < self._executor.slots:
            record = self.ledger.claim(self.jobs)
            if record is None:
                return
            self.states[record.name] = RUNNING
            refusal = self._refusal(record)
            if refusal is not None:
                yield self._record(refusal)
                continue
            if self._executor is None:
                self._executor = self._start()
                yield self.progress(
                    "assess", message=f"{counted(self._executor.slots, 'scene')} at a time"
                )
            task = Task(record.name, self.jobs[record.name])
            if self._is_huge(task.name):
                yield from self._run_split(task)
            else:
                running[record.name] = record
                self._executor.submit(task)

    def _refusal(self, record: SceneRecord) -> Outcome | None:
        """Return why a scene is not even begun; make its folder."""
        job = self.jobs[record.name]
        folder = job.output.parent
        try:
            folder.mkdir(exist_ok=True)
            # A scene that was begun before may have left results, and they are ours.
            is_first = record.attempts == 1 and record.name not in self._known
            if is_first and not self.job.overwrite:
                refuse_strangers(job)
        except OSError as error:
            reason = str(error) if isinstance(error, OutputError) else f"{folder}: {error.strerror}"
            return Outcome(record.name, error=reason, error_code=OutputError.exit_code)
        return None

    def _start(self) -> Executor:
        job = self.job
        if job.dask is None and job.dask_local is None:
            devices = find_devices(job.defaults.device)
            workers = min(_workers(job, len(devices)), self.total)
            return LocalExecutor(workers, devices=devices)
        from geodamage.batch.cluster import DaskExecutor, connect

        self._client = connect(self._stack, address=job.dask, workers=job.dask_local)
        # On a cluster of this machine the workers share its processors.
        threads = max(1, default_threads() // job.dask_local) if job.dask_local else 0
        return DaskExecutor(self._client, threads=threads)

    def _is_huge(self, name: str) -> bool:
        if self.job.split is None or self._client is None:
            return False
        job = self.jobs[name]
        try:
            card = read_card_of(str(job.model))
            options = scene_options(job.scene, card)
            (plan,) = plan_scenes([self.scenes[name]], gsd=card.gsd, options=options)
        except GeodamageError:
            return False  # it fails as a task, and says why
        return plan.megapixels is not None and plan.megapixels * 1e6 > self.job.split

    def _run_split(self, task: Task) -> Iterator[BatchProgress]:
        """Run a scene here, and let the cluster predict its strips."""
        from geodamage.batch.cluster import predict_on_cluster

        predict = partial(predict_on_cluster, self._client, task.job)
        work: Callable[..., Any] = partial(assess, predict=predict)
        yield self.progress("assess", task.name, "its strips are the tasks")
        with follow_task(task, work) as steps:
            for update in steps:
                yield from self._note(update)
        yield self._record(steps.result())

    def _note(self, update: Update) -> Iterator[BatchProgress]:
        self._shares[update.name] = update.share
        if update.message is not None and update.warning:
            yield self.progress("assess", update.name, update.message, warning=True)
        else:
            yield self.progress("assess")

    def _record(self, outcome: Outcome) -> BatchProgress:
        """Write what came of a scene into the ledger."""
        name = outcome.name
        self._work_done += self._weights[name]
        self._shares.pop(name, None)
        if outcome.error is None:
            outcome = self._checked(outcome)
        if outcome.error is not None:
            code = outcome.error_code or GeodamageError.exit_code
            self.ledger.fail(name, outcome.error, code, version=__version__)
            self.states[name] = FAILED
            return self.progress("assess", name, f"failed: {outcome.error}", warning=True)
        facts = outcome.facts or {}
        outputs = output_record(self.folder, results_of(self.jobs[name]))
        kept = self.ledger.finish(name, outputs=outputs, facts=facts, version=__version__)
        if not kept:
            return self.progress("assess", name, "another process has taken it over", warning=True)
        self.assessed += 1
        self.states[name], self.km2[name] = DONE, float(facts["assessed_km2"])
        return self.progress("assess", name, counted(facts["buildings"], "building"))

    def _checked(self, outcome: Outcome) -> Outcome:
        """Refuse a result whose inputs were changed meanwhile, or that is not there."""
        record = next(r for r in self._records() if r.name == outcome.name)
        job = self.jobs[outcome.name]
        if input_fingerprint(job) != record.inputs:
            text = "its inputs were changed while they were read; run again"
            return Outcome(outcome.name, error=text, error_code=OutputError.exit_code)
        missing = [path for path in results_of(job) if not path.is_file()]
        if missing:
            text = f"{missing[0]} is not there; see that all machines write to the same folder"
            return Outcome(outcome.name, error=text, error_code=OutputError.exit_code)
        return outcome

    def progress(
        self,
        stage: str,
        scene: str | None = None,
        message: str | None = None,
        *,
        warning: bool = False,
    ) -> BatchProgress:
        """Return how far everything is."""
        states = Counter(self.states.values())
        share, eta = self._forecast()
        return BatchProgress(
            stage,
            states[DONE],
            states[FAILED],
            states[RUNNING],
            self.total,
            share,
            sum(self.km2[name] for name, state in self.states.items() if state == DONE),
            eta,
            scene,
            message,
            warning,
        )

    def _forecast(self) -> tuple[float, float | None]:
        """Return the share of the work that is finished, and the seconds that are left."""
        total = sum(self._weights.values())
        left = sum(
            self._weights[name] * (1 - self._shares.get(name, 0.0))
            for name, state in self.states.items()
            if state not in (DONE, FAILED)
        )
        begun = sum(self._weights[name] * share for name, share in self._shares.items())
        now = self._work_done + begun
        spent = time.monotonic() - self._began
        return 1 - left / max(total, 1.0), left * spent / now if now > 0 else None

    # What comes of it.

    def summary(self) -> BatchSummary:
        """Return what the ledger says at the end."""
        summary = BatchSummary(assessed=self.assessed)
        for record in self._records():
            if record.state == DONE:
                summary.done.append(record.name)
                summary.km2 += float(record.facts.get("assessed_km2", 0.0))
                summary.counts.update(record.facts.get("buildings_per_grade", {}))
                summary.areas.update(record.facts.get("area_m2_per_grade", {}))
            elif record.state == FAILED:
                summary.failed[record.name] = record.error or "no reason"
            else:
                summary.elsewhere.append(record.name)
        return summary

    def merge(self, summary: BatchSummary) -> Iterator[BatchProgress]:
        """Write the layer of the event, where no scene of it is still to come."""
        story = {record.name: record for record in read_story(self.folder)}
        records = [story[scene.name] for scene in self.job.scenes if scene.name in story]
        over = sum(record.state in (DONE, FAILED) for record in records)
        done = [record for record in records if record.state == DONE]
        if not self.job.merge or not done:
            return
        if over < len(self.job.scenes):
            left = len(self.job.scenes) - over
            message = (
                f"{counted(left, 'scene is', 'scenes are')} left to other processes; the "
                f"last of them merges"
            )
            yield self.progress("merge", message=message)
            return
        event, report = self.folder / EVENT, self.folder / REPORT
        lines = [f"{record.name} {record.output_hash}" for record in done]
        job = self.job
        lines += [json.dumps([*map(str, (job.admin, job.population)), job.admin_name, job.report])]
        state = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        wanted = [event, sidecar_path(event), *([report] if self.job.report else [])]
        if self.ledger.note("merged") != state or not all(path.is_file() for path in wanted):
            yield from self._merge([record.name for record in done])
            self.ledger.set_note("merged", state)
        summary.event = event
        summary.report = report if self.job.report else None

    def _merge(self, names: Sequence[str]) -> Iterator[BatchProgress]:
        scenes = {scene.name: scene for scene in self.job.scenes}
        looks = []
        for name in names:
            buildings = self.folder / SCENES / name / BUILDINGS
            looks.append(Look(name, scenes[name].date, buildings, sidecar_path(buildings)))
        event = self.folder / EVENT
        if self.job.shard is None:
            clear_partials(self.folder, dead_only=True)
        # A file without its sidecar is what a kill has left: it is no event to go on with.
        is_whole = event.is_file() and sidecar_path(event).is_file()
        for step in merge_event(
            looks,
            event,
            admin=self.job.admin,
            admin_name=self.job.admin_name,
            population=self.job.population,
            existing="update" if is_whole else "replace",
        ):
            yield self.progress("merge", message=step.message, warning=step.warning)
        yield self.progress("merge", message=f"merged {counted(len(looks), 'scene')} into {event}")
        if self.job.report:
            # It brings its scripts with it, and is only wanted here.
            from geodamage.report.writing import write_event_report

            write_event_report(event, self.folder / REPORT, overwrite=True)


@contextmanager
def _heartbeat(ledger: Ledger) -> Iterator[None]:
    """Renew the claims of this process, in a thread with a connection of its own."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(ledger.lease / 4):
            # Where it fails, another try comes soon, and until then the claim stands.
            with (
                suppress(LedgerError),
                Ledger(ledger.path, ledger.token, ledger.lease, ledger.owner) as own,
            ):
                own.renew()

    thread = threading.Thread(target=beat, name="geodamage heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
