"""Stops of a publication at every step, by signals of three kinds.

    python -m benchmarks.kills --stops 1000

A result of four files with their sidecars, one of which has companions, is published over an older
one. SIGKILL, SIGTERM or SIGINT stops the process at one of its calls to the file system. Whoever
reads the result then has to find the old one or the new one, whole. The exit code is 1 where it is
neither.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from geodamage.errors import OutputError
from geodamage.output.companions import companions
from geodamage.output.disk import hash_of
from geodamage.output.publication import Publication, check_output, read_sidecar

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
NAMES = ("b.geojson", "g.tif", "p.tif", "s.shp")
EXTENSIONS = (".geojson", ".tif", ".shp")
#: Calls that change what is on the disk.
CALLS = (
    (os, "fsync"),
    (os, "open"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "touch"),
    (Path, "write_text"),
)


def publish(folder: Path, text: str, *, overwrite: bool, names: tuple[str, ...] = NAMES) -> None:
    """Publish files of one text."""
    for name in names:
        check_output(folder / name, overwrite=overwrite, extensions=EXTENSIONS)
    with Publication(overwrite=overwrite) as publication:
        for name in names:
            partial = publication.partial(folder / name)
            partial.write_text(text)
            for ending in companions(folder / name):
                Path(f"{partial}{ending}").write_text(text)
            publication.sidecar(folder / name, {"text": text})


def found(folder: Path, names: tuple[str, ...] = NAMES) -> str:
    """Return what a reader finds in a folder: `old`, `new`, `incomplete` or `mixed`."""
    told = set()
    for name in names:
        try:
            facts = read_sidecar(folder / name)
            whole = facts["result_sha256"] == hash_of(folder / name)
            told.add(facts["text"] if whole else "mixed")
            told |= {file.read_text() for file in companions(folder / name).values()}
        except (OutputError, FileNotFoundError):
            told.add("incomplete")
    return told.pop() if len(told) == 1 else "incomplete" if "incomplete" in told else "mixed"


def stopped_at(step: int, number: int, work: Callable[[], None]) -> bool:
    """Do work in a process that is stopped at its n-th call; say whether it came that far."""
    child = os.fork()
    if child == 0:
        _stop(step, number)
        code = 0
        try:
            work()
        except BaseException:  # of the signal
            code = 3
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return status != 0


def _stop(step: int, number: int) -> None:
    count = 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), number)
            return call(*arguments, **options)

        return called

    for owner, name in CALLS:
        setattr(owner, name, counted(getattr(owner, name)))


def _nothing(descriptor: int) -> None:
    """Bring nothing to the disk."""


def run(stops: int) -> Counter[tuple[str, str]]:
    """Stop publications again and again; return what was found, by signal."""
    results: Counter[tuple[str, str]] = Counter()
    setattr(os, "fsync", _nothing)  # noqa: B010  signals are tried here, not power failures
    steps = dict.fromkeys(SIGNALS, 1)
    for _ in range(stops):
        number = SIGNALS[sum(results.values()) % len(SIGNALS)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            publish(folder, "old", overwrite=False)
            replaced = partial(publish, folder, "new", overwrite=True)
            was_stopped = stopped_at(steps[number], number, replaced)
            state = found(folder)
            results[number.name, state] += 1
            steps[number] = steps[number] + 1 if was_stopped else 1
            publish(folder, "again", overwrite=True)
            left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
            results[number.name, "replaced"] += found(folder) == "again" and not left
    return results


def main() -> int:
    """Print what was found; return 1 where a result was neither old nor new."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stops", type=int, default=1000)
    results = run(parser.parse_args().stops)
    for (name, state), count in sorted(results.items()):
        sys.stdout.write(f"{name:8} {state:18} {count}\n")
    return 1 if {state for _, state in results} - {"old", "new", "replaced"} else 0


if __name__ == "__main__":
    sys.exit(main())
