"""Small batches for the tests: scenes side by side, one of them damaged where asked."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from affine import Affine

from geodamage.assessment import Job
from geodamage.batch.fingerprints import VOLATILE_FACTS, output_fingerprint
from geodamage.batch.manifest import BatchScene
from geodamage.batch.progress import BatchProgress, BatchSummary
from geodamage.batch.running import BatchJob, run_batch
from tests.conftest import CORNER, ROOFS, Pair, Roof, make_scene

#: Metres from one scene to the next; they do not overlap, and keep the grid of 64 pixels.
APART = 640


def make_scenes(
    folder: Path, count: int, *, shape: tuple[int, int] = (128, 160), damaged: Sequence[int] = ()
) -> list[BatchScene]:
    """Write scenes `s0`, `s1`, ... side by side."""
    scenes = []
    for number in range(count):
        transform = Affine(0.5, 0, CORNER[0] + number * APART, 0, -0.5, CORNER[1])
        pair = make_scene(folder / f"s{number}", shape, roofs(shape), transform=transform)
        if number in damaged:
            damage(pair)
        scenes.append(BatchScene(f"s{number}", (str(pair.pre),), (str(pair.post),), "2024-05-01"))
    return scenes


def roofs(shape: tuple[int, int]) -> list[Roof]:
    """Repeat `ROOFS` over a larger scene."""
    return [
        roof._replace(row=roof.row + row, column=roof.column + column)
        for row in range(0, shape[0] - 127, 128)
        for column in range(0, shape[1] - 159, 160)
        for roof in ROOFS
    ]


def damage(pair: Pair) -> None:
    """Cut the post image short: that shows only while it is read."""
    content = pair.post.read_bytes()
    pair.post.write_bytes(content[: len(content) // 2])


def write_list(path: Path, scenes: Sequence[BatchScene]) -> Path:
    """Write a manifest."""
    rows = [f"{scene.name},{scene.pre[0]},{scene.post[0]}" for scene in scenes]
    path.write_text("\n".join(["name,pre,post", *rows]) + "\n")
    return path


def batch_of(scenes: Sequence[BatchScene], output: Path, model: Path, **options) -> BatchJob:
    """Return a small batch of one worker, unless said otherwise."""
    defaults = options.pop("defaults", Job(pre=(), post=(), output=Path("b.gpkg"), model=model))
    return BatchJob(scenes=scenes, output=output, defaults=defaults, **{"workers": 1} | options)


def run(job: BatchJob) -> tuple[BatchSummary, list[BatchProgress]]:
    """Run a batch to its end."""
    work = run_batch(job)
    steps = list(work)
    return work.result(), steps


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of all results below a folder: bytes of rasters, rows of vectors."""
    found = {
        path.relative_to(folder).as_posix(): output_fingerprint(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("ledger")
    }
    if "event.gpkg.json" in found:
        # It tells the runs of a scene apart, and these say when they were.
        facts = json.loads((folder / "event.gpkg.json").read_text())
        volatile = {*VOLATILE_FACTS, "fingerprints"}
        found["event.gpkg.json"] = str({k: v for k, v in facts.items() if k not in volatile})
    return found


def begin_command(*arguments: object) -> subprocess.Popen[bytes]:
    """Start `geodamage` as the leader of a process group of its own."""
    command = [sys.executable, "-m", "geodamage", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        start_new_session=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def rows(ledger: Path, query: str) -> list[tuple]:
    """Ask a ledger."""
    with closing(sqlite3.connect(ledger)) as base:
        return base.execute(query).fetchall()


def layer_hash(path: Path, layer: str) -> str:
    """Return a hash of the rows of one layer."""
    with closing(sqlite3.connect(path)) as base:
        found = base.execute(f'SELECT * FROM "{layer}" ORDER BY 1').fetchall()
    return hashlib.sha256(repr(found).encode()).hexdigest()
