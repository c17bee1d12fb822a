"""Measure the engine: speed against bare ONNX Runtime, memory against the size of the scene.

    python -m benchmarks.engine speed
    python -m benchmarks.engine speed --against COMMIT
    python -m benchmarks.engine peer
    python -m benchmarks.engine share
    python -m benchmarks.engine memory

`speed` runs the whole `assess` command. In the same minute it runs the same windows through a bare
ONNX Runtime session with the same options. The figure is the ratio of core pixels per second. With
`--against` the command of another commit, checked out beside this one, takes turns with that of
this checkout. `--cases` names what both run on. `start` is the sample pair, and `whole` the pair.
`footprints` has footprints on a twentieth of it. In `fifth` a fifth of it is town, and `crowd` has
60,000 footprints in that town. The figures are
ratios of processor time and of the time on the clock, and the number of buildings that both wrote
alike. With `--precision` this checkout computes in it, and the other one as it does by itself.
`peer` lets a general tool, `benchmarks.peer`, and `assess` take turns with the same model.
`share` runs `assess` within this process. It prints the processor time of its sessions, and the
rest in shares of it. Both show a pair that is all town, and one of which a fifth is.
`memory` runs `assess` on pairs of 4k, 16k and 40k pixels square, made by repeating the sample pair,
and prints the peak of each. The largest is stopped after a few strips. That is enough to show
whether memory grows.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import onnx
import rasterio
import shapely
from affine import Affine

from geodamage.model.card import METADATA_KEY, with_metadata
from geodamage.model.loading import find_model, load_model
from geodamage.model.session import default_threads
from geodamage.plan import make_plan
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene
from geodamage.windows import Window

SAMPLE = Path(__file__).parents[1] / "sample_data"
MEMORY = 1.5e9


def make_pair(folder: Path, size: int, town: float = 1.0) -> tuple[Path, Path]:
    """Write a pair of `size` pixels square by repeating the sample pair.

    Parameters
    ----------
    town
        Share of the ground, a square in a corner, that shows the sample; on the rest lie fields.
    """
    model = load_model(device="cpu")
    with Scene.open(
        SAMPLE / "pre.tif", SAMPLE / "post.tif", gsd=model.card.gsd, options=SceneOptions()
    ) as scene:
        # A square with data in both dates everywhere.
        pixels = scene.read(Window(scene.extent.row, scene.extent.column + 8, 544, 544))
        crs = scene.grid.crs.to_wkt()
    name = f"{size}_{round(100 * town)}"
    paths = folder / f"pre_{name}.tif", folder / f"post_{name}.tif"
    for path, image in zip(paths, (pixels.pre, pixels.post), strict=True):
        _repeat(path, image, size, crs, round(size * town**0.5))
    return paths


def _fields(shape: tuple[int, ...]) -> np.ndarray:
    """Return grassland: uneven ground of one colour, without an edge."""
    draw = np.random.default_rng(22)
    coarse = draw.normal(0, 6, (shape[1] // 16 + 1, shape[2] // 16 + 1)).astype(np.float32)
    ground = cv2.resize(coarse, shape[:0:-1], interpolation=cv2.INTER_CUBIC)
    colour = np.array([92, 104, 70], np.float32).reshape(3, 1, 1)
    return np.clip(colour + ground + draw.normal(0, 3, shape), 0, 255).astype(np.uint8)


def _repeat(path: Path, image: np.ndarray, size: int, crs: str, town: int) -> None:
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8",
        "crs": crs, "transform": Affine(0.5, 0, 400_000, 0, -0.5, 3_400_000),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg",
        "photometric": "ycbcr", "jpeg_quality": 85, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    side = image.shape[1]
    wide = np.tile(image, (1, 1, -(-size // side)))[:, :, :size]
    fields = _fields((3, side, size)) if town < size else wide
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, size, side):
            rows = min(side, size - top)
            window = rasterio.windows.Window(0, top, size, rows)
            strip = wide[:, :rows]
            if town < size:
                strip = strip.copy()
                strip[:, max(town - top, 0) :] = fields[:, max(town - top, 0) : rows]
                strip[:, :, town:] = fields[:, :rows, town:]
            dataset.write(strip, window=window)


def assess_command(pair: tuple[Path, Path], output: Path, *more: str) -> list[str]:
    """Return the command line of a run."""
    command = [sys.executable, "-m", "geodamage", "assess", *map(str, pair), "-o", str(output)]
    return [*command, "--overwrite", "--device", "cpu", *more]


def bare_rate(pair: tuple[Path, Path]) -> float:
    """Return core pixels per second of a bare session over the windows that `assess` takes."""
    import onnxruntime

    model = load_model(device="cpu")
    with Scene.open(*pair, gsd=model.card.gsd) as scene:
        plan = make_plan(scene.region, model.card, memory=MEMORY)
        count = sum(1 for strip in plan.strips() for _ in plan.cores(strip))
        region = scene.region.size
        first = Window(plan.origin[0], plan.origin[1], *plan.window)
        pixels = scene.read(first)
    del model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = default_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        find_model("fast").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"pre": pixels.pre[None], "post": pixels.post[None]}
    session.run(None, feed)
    started = time.perf_counter()
    for _ in range(count):
        session.run(None, feed)
    return region / (time.perf_counter() - started)


def speed(size: int, repeats: int) -> None:
    """Print the ratio of the whole command to bare ONNX Runtime."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pair = make_pair(folder, size)
        command = assess_command(
            pair, folder / "out.geojson", "-q", "--threads", str(default_threads())
        )
        ratios = []
        for _ in range(repeats):
            bare = bare_rate(pair)
            started = time.perf_counter()
            subprocess.run(command, check=True)
            whole = size * size / (time.perf_counter() - started)
            ratios.append(whole / bare)
            print(
                f"{size} px: assess {whole / 1e6:.2f}, bare ONNX Runtime {bare / 1e6:.2f} MP/s, "
                f"ratio {ratios[-1]:.3f}",
                flush=True,
            )
        print(f"median ratio {statistics.median(ratios):.3f}")


def share(size: int, model: str, precision: str) -> None:
    """Print the processor time of sessions, and of all else in shares of it."""
    from geodamage.assessment import Job, assess

    inside = _watched_sessions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for town in (1.0, 0.2):
            pre, post = make_pair(folder, size, town)
            job = Job(
                pre=pre,
                post=post,
                output=folder / f"{town}.geojson",
                model=model,
                device="cpu",
                threads=1,
                precision=precision,
            )
            before, inside[0] = time.process_time(), 0.0
            assess(job).result()
            spent = time.process_time() - before
            print(
                f"{size} px, {town:.0%} town: sessions {inside[0]:.1f} s, the rest "
                f"{(spent - inside[0]) / inside[0]:.3f} of it",
                flush=True,
            )


def _watched_sessions() -> list[float]:
    """Let both engines add to a number what processor time their calls take; of one thread."""
    import onnxruntime

    from geodamage.model.openvino import OpenVinoSession

    inside = [0.0]

    def watched(run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **more: Any) -> Any:
            # Of this thread: others read and draw meanwhile. OpenVINO, too, works in the caller's.
            started = time.thread_time()
            try:
                return run(*given, **more)
            finally:
                inside[0] += time.thread_time() - started

        return timed

    kinds: tuple[Any, ...] = onnxruntime.InferenceSession, OpenVinoSession
    for kind in kinds:
        kind.run = watched(kind.run)
    return inside


def peer(size: int, repeats: int, model: str, precision: str) -> None:
    """Print how many times as fast `assess` is as a general tool with the same model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = ["-q", "--threads", str(default_threads()), "--model", model]
        more += ["--precision", precision]
        for town in (1.0, 0.2):
            pair = make_pair(folder, size, town)
            theirs = [sys.executable, "-m", "benchmarks.peer", *map(str, pair)]
            theirs += [str(folder / "peer.geojson"), "--model", model]
            ratios = []
            for _ in range(repeats):
                spent = [
                    _processor_seconds(words)
                    for words in (theirs, assess_command(pair, folder / "own.geojson", *more))
                ]
                ratios.append(spent[0] / spent[1])
            print(
                f"{size} px, {town:.0%} town: {np.median(ratios):.2f} times as fast "
                f"({min(ratios):.2f} to {max(ratios):.2f}), in processor time",
                flush=True,
            )


def _processor_seconds(command: list[str], **how: Any) -> float:
    """Run a command; return the processor time that it took."""
    before = os.times()
    subprocess.run(command, check=True, **how)
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system


#: What two commits can be compared on.
CASES = ("start", "whole", "footprints", "fifth", "crowd")
#: Footprints of the case `crowd`.
CROWD = 60_000


def against(
    commit: str, size: int, repeats: int, model: str, own: list[str], cases: Sequence[str]
) -> None:
    """Print how many times as fast this checkout, with options of its own, is as another commit."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = folder / "other"
        subprocess.run(
            ["git", "-C", root, "worktree", "add", "-q", "-d", other, commit], check=True
        )
        try:
            more = ["-q", "--threads", str(default_threads())]
            more += ["--model", str(_readable_by(other, find_model(model), folder / "m.onnx"))]
            own += ["--model", model]
            for case in cases:
                pair, given = _case(case, folder, size)
                _turns((other, root), pair, folder / case, repeats, [*more, *given], own)
        finally:
            subprocess.run(["git", "-C", root, "worktree", "remove", "-f", other], check=True)


def _case(case: str, folder: Path, size: int) -> tuple[tuple[Path, Path], list[str]]:
    """Return the pair of a case, and the options that belong to it."""
    if case == "start":
        return (SAMPLE / "pre.tif", SAMPLE / "post.tif"), []
    town = 0.2 if case in ("fifth", "crowd") else 1.0
    pair = make_pair(folder, size, town)
    target = folder / f"{case}.given.geojson"
    if case == "crowd":
        return pair, ["--footprints", str(crowd(pair[0], CROWD, town, target))]
    if case != "footprints":
        return pair, []
    found = folder / "found.geojson"
    subprocess.run(assess_command(pair, found, "-q"), check=True)
    return pair, ["--footprints", str(_some_of(found, target))]


def crowd(image: Path, count: int, town: float, target: Path) -> Path:
    """Write so many square footprints, side by side on the town in the corner of an image."""
    with rasterio.open(image) as dataset:
        crs, left, top = dataset.crs, dataset.transform.c, dataset.transform.f
        metres = dataset.res[0] * dataset.width * town**0.5
    across = math.ceil(count**0.5)
    row, column = np.divmod(np.arange(count), across)
    step = metres / across
    west, north = left + column * step, top - row * step
    boxes = shapely.box(west, north - 0.8 * step, west + 0.8 * step, north)
    names = [f"{number}" for number in range(count)]
    gpd.GeoDataFrame({"building_id": names}, geometry=boxes, crs=crs).to_file(target)
    return target


def _readable_by(checkout: Path, model: Path, target: Path) -> Path:
    """Return a model with a card that another commit reads: without the fields that it has not."""
    blob = model.read_bytes()
    target.write_bytes(blob)
    command = [sys.executable, "-m", "geodamage", "models", "show", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, env=environment, cwd=checkout, capture_output=True, text=True, check=False
    )
    unknown = re.search(r"unknown keys \[(.*?)\]", done.stderr)
    if unknown is None:
        return target
    known = {entry.key: entry.value for entry in onnx.load_from_string(blob).metadata_props}
    card = json.loads(known[METADATA_KEY])
    for key in re.findall(r"'(\w+)'", unknown[1]):
        del card[key]
    target.write_bytes(with_metadata(blob, json.dumps(card)))
    return target


def _some_of(result: Path, target: Path) -> Path:
    """Write the buildings of a corner with a twentieth of the ground."""
    frame = gpd.read_file(result)
    west, south, east, north = frame.total_bounds
    side = 0.05**0.5
    corner = frame.cx[west : west + side * (east - west), south : south + side * (north - south)]
    corner[["building_id", "geometry"]].to_file(target)
    return target


def _turns(
    checkouts: tuple[Path, Path],
    pair: tuple[Path, Path],
    output: Path,
    repeats: int,
    more: list[str],
    own: list[str],
) -> None:
    """Run both checkouts in turn, the second with `own`, and print the ratios of their runs."""
    ratios = []
    for _ in range(repeats):
        spent = []
        for number, checkout in enumerate(checkouts):
            target = output.with_name(f"{output.name}.{number}.geojson")
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            words = assess_command(pair, target, *more, *(own if number else ()))
            started = time.perf_counter()
            processor = _processor_seconds(words, env=environment, cwd=checkout)
            spent.append((processor, time.perf_counter() - started))
        ratios.append(np.divide(spent[0], spent[1]))
        print(f"{output.name}: {ratios[-1][0]:.2f} of processor, {ratios[-1][1]:.2f} of clock time")
    written = [_said(output.with_name(f"{output.name}.{n}.geojson")) for n in (0, 1)]
    of_processor, of_clock = (
        f"{np.median(column):.2f} ({min(column):.2f} to {max(column):.2f})"
        for column in np.transpose(ratios)
    )
    ours, theirs = written
    both = [said for place, said in ours.items() if theirs.get(place, ("", ""))[0] == said[0]]
    alike = sum(theirs.get(place) == said for place, said in ours.items())
    print(
        f"{output.name}: median {of_processor} of processor, {of_clock} of clock time; of "
        f"{len(ours)} and {len(theirs)} buildings {alike} are alike, {len(both)} of one grade",
        flush=True,
    )


def _said(path: Path) -> dict[str, tuple[str, str]]:
    """Return grade and whole row of each building of a result, by its identity.

    The order of rows is that of the strips, which depends on how the work is cut.
    """
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return {
        str(feature["id"]): (str(feature["properties"]["damage"]), json.dumps(feature))
        for feature in features
    }


def memory(sizes: list[int], seconds: float) -> None:
    """Print the peak memory of `assess` for growing scenes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            pair = make_pair(folder, size)
            peak, share = _watch(assess_command(pair, folder / "out.geojson", "-v"), seconds)
            print(f"{size} px: peak {peak / 1e6:.0f} MB after {share} of the scene", flush=True)
            for path in pair:
                path.unlink()


def _watch(command: list[str], seconds: float) -> tuple[float, str]:
    """Run a command for at most some seconds; return its peak memory and how far it came."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, stderr=words)
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        status = Path(f"/proc/{process.pid}/status")
        if process.poll() is None:
            peak = 1024.0 * int(status.read_text().split("VmHWM:")[1].split()[0])
            process.terminate()
            process.wait()
        else:
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            return 1024 * _children_peak(), "all"
        words.seek(0)
        shares = [
            line.split("%")[0].strip() for line in words if "%" in line and "buildings" in line
        ]
        return peak, f"{shares[-1]} %" if shares else "none"


def _children_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "peer", "share", "memory"])
    parser.add_argument("--size", type=int, default=4096, help="of the speed pair")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", metavar="COMMIT", help="compare the speed with a commit")
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=["whole", "footprints"], help="with --against"
    )
    parser.add_argument("--model", default="fast", help="for all but memory")
    parser.add_argument("--precision", help="of this checkout")
    parser.add_argument("--seconds", type=float, default=240, help="longest memory run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 16384, 40960])
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, {default_threads()} usable")
    if options.what == "speed" and options.against:
        own = ["--precision", options.precision] if options.precision else []
        cases = options.cases
        against(options.against, options.size, options.repeats, options.model, own, cases)
    elif options.what == "peer":
        peer(options.size, options.repeats, options.model, options.precision or "auto")
    elif options.what == "share":
        share(options.size, options.model, options.precision or "auto")
    elif options.what == "speed":
        speed(options.size, options.repeats)
    else:
        memory(options.sizes, options.seconds)


if __name__ == "__main__":
    main()
