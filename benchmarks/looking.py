r"""Measure what it costs to look at a scene before and while it is graded.

    python -m benchmarks.looking PRE POST --model fast --repeats 3

A row per way to assess the pair, in seconds of the processor, all threads together, and beside the
way that looks at nothing. Ways take turns, and the least of each counts, so a busy machine harms
none of them more. `--times N` lays the pair N by N times side by side, for a larger scene.
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

from geodamage.assessment import Job, assess
from geodamage.errors import GeodamageWarning
from geodamage.scene.options import SceneOptions

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


def laid(path: Path, times: int, folder: Path) -> Path:
    """Return an image laid side by side, every other one mirrored, so that it has no seams."""
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    row = np.concatenate([pixels[..., :: 1 - 2 * (n % 2)] for n in range(times)], axis=2)
    whole = np.concatenate([row[:, :: 1 - 2 * (n % 2)] for n in range(times)], axis=1)
    kept = {key: profile[key] for key in ("crs", "transform", "dtype", "count")}
    target = folder / path.name
    with rasterio.open(target, "w", driver="GTiff", tiled=True, height=whole.shape[1],
                       width=whole.shape[2], **kept) as dataset:  # fmt: skip
        dataset.write(whole)
    return target


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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args(arguments)
    ways = list(dict.fromkeys(["nothing", *options.only]))
    least = dict.fromkeys(ways, np.inf)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pre, post = (laid(path, options.times, folder) for path in (options.pre, options.post))
        for _ in range(options.repeats):
            for way in ways:
                registration, obscured, compared = WAYS[way]
                read = SceneOptions(registration=registration, obscured=obscured)
                job = Job(pre=pre, post=post, output=folder / "out.geojson", scene=read,
                          model=options.model, threads=1, overwrite=True)  # fmt: skip
                least[way] = min(least[way], seconds(job, compared=compared))
                print(way, f"{least[way]:.2f}", file=sys.stderr, flush=True)
        facts = json.loads((folder / "out.geojson.json").read_text())
    print(f"{facts['scene']['overlap_km2']:.2f} km², {facts['buildings']} buildings")
    print("| looks at | processor, s | beside nothing |\n|---|--:|--:|")
    for way in ways:
        print(f"| {way} | {least[way]:.2f} | {least[way] / least['nothing'] - 1:+.1%} |")


if __name__ == "__main__":
    main()
