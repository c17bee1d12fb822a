"""Read mutated files, and say what was neither read nor refused in one line.

python -m tests.fuzz --count 5000 --seed 1
python -m tests.fuzz --count 500 --only geojson sidecar
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from geodamage.errors import GeodamageError
from tests.fuzz.targets import Target, targets

#: Seconds that reading one small file may take.
PATIENCE = 60


def attempt(target: Target, path: Path) -> str:
    """Read a file; return `read`, `refused`, or what went wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.read(path)
        except GeodamageError as error:
            if error.exit_code in (2, 4, 5, 6, 7) and "\n" not in str(error):
                return "refused"
            return f"exit {error.exit_code}: {error}"
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "geodamage" in f.filename] or frames
            return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
    return "read"


def attempt_apart(target: Target, path: Path) -> str:
    """Do the same in a process of its own, which may die or hang."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        os.write(writer, attempt(target, path).encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return said if status == 0 else f"signal {os.WTERMSIG(status)}"


def run(folder: Path, count: int, seed: int, only: list[str]) -> dict[str, Counter[str]]:
    """Mutate each kind of file so many times; return what came of it, by kind."""
    found: dict[str, Counter[str]] = {}
    for name, target in targets(folder).items():
        if only and name not in only:
            continue
        counts = found[name] = Counter()
        for number in range(count):
            content = target.change(random.Random(f"{seed} {name} {number}"))
            path = folder / target.name
            path.write_bytes(content)
            started = time.monotonic()
            what = (attempt_apart if target.is_native else attempt)(target, path)
            if time.monotonic() - started > PATIENCE:
                what = "slow"
            counts[what] += 1
            if what not in ("read", "refused") and counts[what] == 1:
                sys.stderr.write(f"{name}: {what} (seed {seed}, number {number})\n")
    return found


def main() -> int:
    """Run as the command line says; return 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), given.count, given.seed, given.only)
    wrong = 0
    for name, counts in found.items():
        odd = {what: n for what, n in counts.items() if what not in ("read", "refused")}
        wrong += sum(odd.values())
        told = f"{name:10} read {counts['read']}, refused {counts['refused']}"
        sys.stdout.write(f"{told} {odd or ''}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
