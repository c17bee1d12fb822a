"""Compare what two checkouts make of the same inputs, file by file.

    git worktree add ../before COMMIT
    python -m benchmarks.same_results ../before . --data ../shared/data

Both assess the sample pair (of the first checkout), grade its footprints, find the buildings of one
image, run a batch of two scenes and score masks. With `--data` they also assess a real pair. Files
are equal by their bytes, GeoPackages by their rows. Of JSON files versions and times do not count.
Exit code 1 if any file differs or is there once only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geodamage.batch.fingerprints import output_fingerprint

#: Facts that differ between two runs with one result. `fingerprints` are hashes of others of them,
#: `result_sha256` is that of a file which is compared itself: a GeoPackage tells when it was made.
VOLATILE = frozenset({"created", "seconds", "software", "fingerprints", "result_sha256"})
#: Real images below the data folder.
REAL = "xbd_geotiff/hurricane-michael_00000031_{}_disaster.tif"
#: Working files of a batch.
NOT_RESULTS = ("ledger",)


def main() -> int:
    """Run both checkouts and print a line for each file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument("--data", type=Path, help="folder of real data")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = Inputs(options.before.absolute(), options.data, folder / "inputs")
        for side in ("before", "after"):
            # Both write into a folder of one name: results say where they lie.
            run_all(getattr(options, side).absolute(), inputs, folder / "run")
            (folder / "run").rename(folder / side)
        verdicts = compare(folder / "before", folder / "after")
    for path, verdict in verdicts.items():
        print(f"{verdict:<10}{path}")
    differing = sum(verdict != "equal" for verdict in verdicts.values())
    print(f"{len(verdicts) - differing} files equal, {differing} not")
    return 1 if differing or not verdicts else 0


class Inputs:
    """What both checkouts read.

    Parameters
    ----------
    checkout
        Its sample data are taken.
    data
        Folder of real data, or None.
    folder
        For what is made here.
    """

    def __init__(self, checkout: Path, data: Path | None, folder: Path) -> None:
        sample = checkout / "sample_data"
        self.pair = sample / "pre.tif", sample / "post.tif"
        self.footprints = sample / "footprints.geojson"
        self.real: tuple[Path, ...] = ()
        if data is not None:
            real = tuple(data.absolute() / REAL.format(date) for date in ("pre", "post"))
            self.real = real if all(path.exists() for path in real) else ()
        folder.mkdir()
        self.list = folder / "list.csv"
        self.list.write_text(self._rows(), encoding="utf-8")
        self.masks = folder / "predictions", folder / "targets"
        write_masks(*self.masks)

    def _rows(self) -> str:
        other = self.real or self.pair
        return (
            "name,pre,post,vote\n"
            f"first,{self.pair[0]},{self.pair[1]},probabilities\n"
            f"second,{other[0]},{other[1]},pixels\n"
        )


def write_masks(predictions: Path, targets: Path) -> None:
    """Write two images of masks in the official layout, half of the pixels wrong."""
    draw = np.random.default_rng(0)
    for folder, ending in ((predictions, "prediction"), (targets, "target")):
        folder.mkdir()
        for number in range(2):
            grades = np.kron(draw.integers(0, 5, (32, 32)), np.ones((32, 32))).astype(np.uint8)
            for kind, mask in (("damage", grades), ("localization", np.minimum(grades, 1))):
                cv2.imwrite(str(folder / f"hold_{kind}_{number:05d}_{ending}.png"), mask)


def commands(inputs: Inputs) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of a run and its arguments; files are written into the current folder."""
    rasters = ["--raster", "grades.tif", "--probabilities", "probabilities.tif"]
    pair = [str(path) for path in inputs.pair]
    for extension in ("geojson", "gpkg", "fgb"):
        yield f"sample {extension}", ["assess", *pair, "-o", f"sample.{extension}"]
    yield "sample rasters", ["assess", *pair, "-o", "all.gpkg", *rasters]
    yield "votes", ["assess", *pair, "-o", "votes.geojson", "--vote", "pixels", "--tta", "flips"]
    given = ["--footprints", str(inputs.footprints)]
    yield "footprints", ["assess", *pair, "-o", "given.geojson", *given]
    found = ["buildings", pair[0], "-o", "found.geojson", "--regularise"]
    yield "buildings", [*found, "--raster", "mask.tif", "--probabilities", "p.tif"]
    if inputs.real:
        real = [str(path) for path in inputs.real]
        yield "real pair", ["assess", *real, "-o", "real.geojson"]
        yield "real image", ["buildings", real[1], "-o", "real-found.geojson"]
    yield "batch", ["batch", str(inputs.list), "-o", "batch", "--workers", "1", "--raster"]
    yield "score", ["score", *map(str, inputs.masks), "--json"]


def run_all(checkout: Path, inputs: Inputs, folder: Path) -> None:
    """Run every command of a checkout; what it writes and says lies in a folder for each."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    for name, arguments in commands(inputs):
        place = folder / name
        place.mkdir(parents=True)
        check_checkout(checkout, place, environment)
        print(f"{checkout.name}: {name}", file=sys.stderr)
        command = [sys.executable, "-m", "geodamage", *arguments]
        run = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            sys.exit(f"{checkout}: {name} failed with code {run.returncode}: {run.stderr.strip()}")
        (place / "stdout.json").write_text(run.stdout or "{}", encoding="utf-8")


def check_checkout(checkout: Path, place: Path, environment: Mapping[str, str]) -> None:
    """Check that the package of a checkout is run, and not one that is installed."""
    command = [sys.executable, "-c", "import geodamage; print(geodamage.__file__)"]
    found = subprocess.check_output(command, cwd=place, env=environment, text=True).strip()
    if not Path(found).is_relative_to(checkout):
        sys.exit(f"{checkout}: {found} is run in its place; give the root of a checkout")


def compare(before: Path, after: Path) -> dict[str, str]:
    """Return what becomes of each file below two folders.

    Returns
    -------
    `equal`, `DIFFERENT`, `ONLY FIRST` or `ONLY SECOND`, by path.
    """
    names = sorted(results(before) | results(after))
    return {name: verdict(before / name, after / name) for name in names}


def results(folder: Path) -> set[str]:
    """Return the paths of all results below a folder."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(NOT_RESULTS)
    }


def verdict(before: Path, after: Path) -> str:
    """Say whether two files hold the same."""
    if not after.exists():
        return "ONLY FIRST"
    if not before.exists():
        return "ONLY SECOND"
    return "equal" if content(before) == content(after) else "DIFFERENT"


def content(path: Path) -> Any:
    """Return what a file says, not when and by which version it was said."""
    if path.suffix == ".json":
        return lasting(json.loads(path.read_text(encoding="utf-8")))
    return output_fingerprint(path)


def lasting(facts: Any) -> Any:
    """Return facts without versions and times."""
    if isinstance(facts, dict):
        # The order of the keys is part of the file.
        return [(key, lasting(value)) for key, value in facts.items() if key not in VOLATILE]
    return [lasting(fact) for fact in facts] if isinstance(facts, list) else facts


if __name__ == "__main__":
    sys.exit(main())
