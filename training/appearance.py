r"""Print the low and high percentiles of the imagery that the models learn from.

    python -m training.appearance XBD training/recipes/compact.csv

`geodamage.scene.stretch` holds what this prints for the training places. Medians are of events that
weigh the same, whatever their number of pairs; bounds leave out 2 % of the images on either side.
Black pixels are left out.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geodamage.scene.stretch import Ends, ends_of
from training.obscured import names_of, read_pair

#: Percentiles of images that are the bounds.
BOUNDS = (2.0, 98.0)


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the lowest value that half of the weight is at or below."""
    order = np.argsort(values)
    sums = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(sums, sums[-1] / 2)])


def shares(ends: Ends, frame: tuple[float, float]) -> np.ndarray:
    """Return the ends of each channel in shares of the way of a frame, (2, channels)."""
    return (np.stack([ends.low, ends.high]) - frame[0]) / (frame[1] - frame[0])


def described(name: str, frames: Sequence[tuple[float, float]], weights: Sequence[float],
              placed: Sequence[np.ndarray]) -> str:  # fmt: skip
    """Return a reference in a line."""
    ends = [weighted_median([frame[side] for frame in frames], weights) for side in (0, 1)]
    bounds = np.percentile(np.stack(placed), BOUNDS, axis=0)  # (2 bounds, 2 ends, channels)
    low, high = (
        [
            tuple(round(float(bound), 3) for bound in bounds[:, side, channel])
            for channel in range(3)
        ]
        for side in (0, 1)
    )
    return f"{name}: ends {ends}\n  low {low}\n  high {high}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the reference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="holds images/")
    parser.add_argument("split", type=Path)
    parser.add_argument("--part", default="train")
    options = parser.parse_args(arguments)
    rows = list(names_of(options.split, options.part))
    events = Counter(name.rsplit("_", 1)[0] for name in rows)
    weights, pairs, dates = [], [], []
    for name in rows:
        images = [image.reshape(-1, 3).T for image in read_pair(options.data, name)]
        both = [ends_of(image[:, image.any(0)]) for image in images]
        weights.append(1 / events[name.rsplit("_", 1)[0]])
        pairs.append((min(one.shared[0] for one in both), max(one.shared[1] for one in both)))
        dates.append(both)
    frames = [one.shared for both in dates for one in both]
    print(described("alone", frames, np.repeat(weights, 2).tolist(),
                    [shares(one, one.shared) for both in dates for one in both]))  # fmt: skip
    framed = [(one, frame) for both, frame in zip(dates, pairs, strict=True) for one in both]
    print(described("pair", pairs, weights, [shares(one, frame) for one, frame in framed]))
    within = np.array(
        [[(end - low) / (high - low) for end in one.shared] for one, (low, high) in framed]
    )
    print(f"date: low {np.percentile(within[:, 0], BOUNDS[1]):.3f}, "
          f"high {np.percentile(within[:, 1], BOUNDS[0]):.3f}")  # fmt: skip
    print(f"least spread {np.percentile([high - low for low, high in frames], BOUNDS[0]):.0f}")


if __name__ == "__main__":
    main()
