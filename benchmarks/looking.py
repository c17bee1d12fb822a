r"""Measure what it costs to look at a scene before and while it is graded.

    python -m benchmarks.looking PRE POST --model fast

A row per way to assess the pair, in seconds of the processor, all threads together, and beside the
way that looks at nothing. Ways take turns, and the least of each counts, so a busy machine harms
none of them more. `--times N` lays the pair N by N times side by side, for a larger scene. With
`--off METRES` post is moved east; far enough, and registration reads it a second time.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
from affine import Affine

from geodamage.assessment import Job, assess
from geodamage.errors import GeodamageWarning
from geodamage.grid import GsdRange
from geodamage.model.loading import load_model
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene

#: What is looked at, by the name of the way: registration, what hides the ground, familiarity.
WAYS = {
    "nothing": ("off", "off", False),
    "what hides the ground": ("off", "on", False),
    "registration": ("measure", "off", False),
    "familiarity": ("off", "off", True),
    "all, as by default": ("measure", "on", True),
    "all, and `--registration apply`": ("apply", "on", True),
}


@contextmanager
def unfamiliar(*, compared: bool) -> Iterator[None]:
    """Leave out the comparison with what the model learnt from, unless it is asked for."""
    if compared:
        yield
        return
    with mock.patch("geodamage.assessment.find_reference", return_value=None):
        yield


def laid(
    pre: Path, post: Path, times: int, folder: Path, *, gsd: GsdRange, off: float = 0.0
) -> tuple[Path, Path]:
    """Return a pair laid side by side on one grid, so that each copy of post lies as the first.

    Parameters
    ----------
    gsd
        What the model was made for.
    off
        Metres by which post is moved east, beside a third of a pixel: as most, it is warped.
    """
    options = SceneOptions(registration="off", obscured="off")
    with Scene.open(pre, post, gsd=gsd, options=options) as scene:
        pixels, grid = scene.read(scene.extent), scene.grid.crop(scene.extent)
    found = []
    for path, image, east in ((pre, pixels.pre, 0.0), (post, pixels.post, off + grid.gsd[0] / 3)):
        whole = np.tile(image, (1, times, times))
        found.append(folder / path.name)
        with rasterio.open(
            found[-1], "w", driver="GTiff", count=len(whole), dtype="uint8", tiled=True,
            height=whole.shape[1], width=whole.shape[2], crs=grid.crs.to_wkt(),
            transform=Affine.translation(east, 0) @ grid.transform,
        ) as dataset:  # fmt: skip
            dataset.write(whole)
    return found[0], found[1]


def seconds(job: Job, *, compared: bool) -> float:
    """Return what an assessment takes, seconds of the processor."""
    with warnings.catch_warnings(), unfamiliar(compared=compared):
        warnings.simplefilter("ignore", GeodamageWarning)
        begun = time.process_time()
        assess(job).result()
        return time.process_time() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pre", type=Path)
    parser.add_argument("post", type=Path)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--off", type=float, default=0.0)
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args(arguments)
    ways = list(dict.fromkeys(["nothing", *options.only]))
    least = dict.fromkeys(ways, np.inf)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gsd = load_model(options.model).card.gsd
        pre, post = laid(options.pre, options.post, options.times, folder,
                         gsd=gsd, off=options.off)  # fmt: skip
        for _ in range(options.repeats):
            for way in ways:
                registration, obscured, compared = WAYS[way]
                read = SceneOptions(registration=registration, obscured=obscured)
                job = Job(pre=pre, post=post, output=folder / "out.geojson", scene=read,
                          model=options.model, threads=1, overwrite=True)  # fmt: skip
                least[way] = min(least[way], seconds(job, compared=compared))
                print(way, f"{least[way]:.2f}", file=sys.stderr, flush=True)
        facts = json.loads((folder / "out.geojson.json").read_text())
    registration = facts["scene"]["registration"]["verdict"]
    print(
        f"{facts['scene']['overlap_km2']:.2f} km², {facts['buildings']} buildings, {registration}"
    )
    print("| looks at | processor, s | beside nothing |\n|---|--:|--:|")
    for way in ways:
        print(f"| {way} | {least[way]:.2f} | {least[way] / least['nothing'] - 1:+.1%} |")


if __name__ == "__main__":
    main()
