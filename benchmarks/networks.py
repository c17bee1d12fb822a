"""Measure the networks: size, cost, and time per tile in torch and in ONNX Runtime.

    python benchmarks/networks.py
    python benchmarks/networks.py --networks compact,res34_unet --tile 256 --repeat 5 --threads 1

Prints a Markdown table. Both engines run the same exported network (uint8 in, heads out) on the
same tile, in one process, with the same number of threads, in turns. A time is the median of the
repeats, after a warm-up. The weights are random, which does not change the time. GFLOP count a
multiplication and an addition as two, on one image (or pair) of one megapixel. A network that
brings every image to one size (segformer_b0) spends them on any tile.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch

from geodamage.errors import GeodamageError, OptionError
from geodamage.model.session import default_threads
from geodamage.networks import NetworkFacts, create_network
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.export import to_onnx
from geodamage.networks.registry import named_tasks, network_facts

MEGAPIXEL = 1e6
COUNTED = 1024 * 1024
"""Pixels of the image that `NetworkFacts.gflop` is counted on."""

COLUMNS = (
    "network", "task", "M parameters", "GFLOP/MP", "torch ms", "ONNX Runtime ms", "ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Milliseconds per tile.

    Parameters
    ----------
    torch, onnx
        Of each engine.
    """

    torch: float
    onnx: float

    @property
    def ratio(self) -> float:
        """How many times as long torch takes."""
        return self.torch / self.onnx


def choose(names: str | None) -> list[NetworkFacts]:
    """Return the networks of a comma-separated list, in the registry's order; None means all.

    Raises
    ------
    OptionError
        If there is no such network.
    """
    tasks = named_tasks()
    known = dict.fromkeys(name for name, _, _ in tasks)
    wanted = set(known) if names is None else {name.strip() for name in names.split(",")}
    unknown = sorted(wanted - set(known))
    if unknown:
        raise OptionError(f"no network {', '.join(unknown)}: choose of {', '.join(known)}")
    return [network_facts(name, task) for name, task, _ in tasks if name in wanted]


def build(facts: NetworkFacts) -> Exported:
    """Return a network with random weights as it is exported."""
    torch.manual_seed(0)
    network = create_network(facts.name, task=facts.task)
    return Exported(network, convention_of(facts.family, facts.name, facts.task)).eval()


def make_tiles(exported: Exported, tile: int) -> dict[str, np.ndarray]:
    """Return noise uint8 `(1, 3, tile, tile)` for each image that a network needs."""
    rng = np.random.default_rng(0)
    shape = 1, 3, tile, tile
    return {
        name: rng.integers(0, 256, shape, dtype=np.uint8) for name in exported.convention.inputs
    }


def torch_runner(exported: Exported, tiles: dict[str, np.ndarray]) -> Callable[[], object]:
    """Return a call that runs a tile in torch."""
    images = [torch.from_numpy(tile) for tile in tiles.values()]

    def run() -> object:
        with torch.inference_mode():
            return exported(*images)

    return run


def onnx_runner(
    exported: Exported, tiles: dict[str, np.ndarray], threads: int
) -> Callable[[], object]:
    """Return a call that runs a tile in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As the package runs it: idle threads must not take time from torch's turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        to_onnx(exported), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, tiles)


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def measure(exported: Exported, tile: int, *, repeat: int, threads: int) -> Timing:
    """Time a network in both engines, in turns.

    Parameters
    ----------
    exported
        The network.
    tile
        Rows and columns, pixels; a multiple of the network's stride.
    repeat
        Runs in each engine, after one that does not count.
    threads
        That each engine may use.
    """
    torch.set_num_threads(threads)
    tiles = make_tiles(exported, tile)
    runs = torch_runner(exported, tiles), onnx_runner(exported, tiles, threads)
    for run in runs:
        run()
    times = [[milliseconds(run) for run in runs] for _ in range(repeat)]
    in_torch, in_onnx = (statistics.median(engine) for engine in zip(*times, strict=True))
    return Timing(in_torch, in_onnx)


def row(facts: NetworkFacts, timing: Timing) -> str:
    """Return a line of the table."""
    cells = (
        facts.name,
        facts.task,
        f"{facts.parameters / 1e6:.2f}",
        f"{facts.gflop * MEGAPIXEL / COUNTED:.0f}",
        f"{timing.torch:.0f}",
        f"{timing.onnx:.0f}",
        f"{timing.ratio:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def table(chosen: list[NetworkFacts], options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table, each as soon as it is measured."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---|---|" + "---:|" * (len(COLUMNS) - 2)
    for facts in chosen:
        timing = measure(build(facts), options.tile, repeat=options.repeat, threads=options.threads)
        yield row(facts, timing)


def check_tile(chosen: list[NetworkFacts], tile: int) -> None:
    """Refuse a tile that a network cannot take.

    Raises
    ------
    OptionError
        If the tile is not a multiple of a stride.
    """
    for facts in chosen:
        if tile % facts.stride:
            raise OptionError(f"--tile {tile}: {facts.name} needs a multiple of {facts.stride}")


def positive(text: str) -> int:
    """Return a whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tile", type=positive, default=256, help="rows and columns, pixels")
    parser.add_argument("--networks", help="comma-separated names; all if left out")
    parser.add_argument("--repeat", type=positive, default=5, help="runs that count")
    parser.add_argument("--threads", type=positive, default=default_threads())
    options = parser.parse_args()
    try:
        chosen = choose(options.networks)
        check_tile(chosen, options.tile)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")
    print(
        f"CPU, one tile of {options.tile} x {options.tile} pixels, {options.threads} threads, "
        f"median of {options.repeat}; torch {torch.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}\n"
    )
    for line in table(chosen, options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
