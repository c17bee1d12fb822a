"""What a batch would do, measured before it begins."""

import time
from dataclasses import dataclass

import numpy as np

from geodamage.batch.executors import (
    find_devices,
    plan_workers,
)
from geodamage.batch.job import (
    BatchJob,
    check_names,
    check_shared,
)
from geodamage.batch.manifest import PlannedScene, plan_scenes
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.model.session import default_threads
from geodamage.scene.options import scene_options


@dataclass(frozen=True)
class BatchPlan:
    """What a batch will take.

    Attributes
    ----------
    scenes
        What each scene will take, in the order of the list.
    workers
        Scenes at a time.
    speed
        Megapixels a second of one of them, as measured.
    """

    scenes: tuple[PlannedScene, ...]
    workers: int
    speed: float

    @property
    def seconds(self) -> float:
        """Expected time of all, without the time in which the last workers wait for each other."""
        return sum(scene.seconds or 0.0 for scene in self.scenes) / self.workers


def plan_batch(job: BatchJob) -> BatchPlan:
    """Look at the headers of all images and say what the batch will take; nothing is written.

    Raises
    ------
    GeodamageError
        If the list or the default model cannot be used.
    """
    check_names(job.scenes)
    check_shared(job)
    defaults = job.defaults
    workers = job.dask_local or _workers(job, len(find_devices(defaults.device)))
    workers = min(workers, len(job.scenes))
    threads = defaults.threads or max(1, default_threads() // workers)
    model = load_model(
        defaults.model,
        device=defaults.device,
        threads=threads,
        engine=defaults.engine,
        precision=defaults.precision,
        tta=defaults.tta,
    )
    # Workers of one machine share its memory and its caches, so this is a bound, not a promise.
    speed = _measure(model)
    options = scene_options(defaults.scene, model.card)
    wanted = [scene for scene in job.scenes if job.shard is None or scene.name in job.shard]
    rows = plan_scenes(wanted, gsd=model.card.gsd, options=options, speed=speed)
    return BatchPlan(tuple(rows), workers, speed)


def _measure(model: Model | Ensemble) -> float:
    """Return how many megapixels a model gets through in a second, without its halo."""
    card = model.card
    size, core = card.tile, card.tile - 2 * card.margin
    pre, post = (
        np.zeros((1, len(channels), size, size), np.uint8)
        for channels in (card.pre_channels, card.post_channels)
    )
    model(pre, post)  # the first call prepares
    started = time.perf_counter()
    model(pre, post)
    return core * core / 1e6 / (time.perf_counter() - started)


def _workers(job: BatchJob, devices: int) -> int:
    return plan_workers(
        job.memory, scene_memory=float(job.defaults.memory), workers=job.workers, devices=devices
    )
