r"""Learn from events which change is damage, as what `geodamage adapt` starts from.

    python -m benchmarks.adapt features --data ../shared/data/xbd -o runs/adapt.npz
    python -m training.transfer runs/adapt.npz -o geodamage/adaptation/bundled/transfer.json

A linear discriminant of damaged or not: least squares of plus and minus one, held back. Changes are
standardised among the buildings of their event, so that it holds where scenes differ in light,
season and sensor. Damaged and undamaged buildings count alike in an event. An event counts as the
root of its damaged buildings, up to `MOST`.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.head import Floats, standardised_changes
from geodamage.adaptation.network import bundled_network

#: Licence of the labels, and so of the weights.
LICENCE = "CC BY-NC-SA 4.0"
#: How much the weights are held back. 0.1, 1 and 5 are alike (training/EXPERIMENTS.md).
HELD = 1.0
#: Standard deviations from which on a change counts no more.
FARTHEST = 4.0
#: Fewest damaged buildings of an event that teaches, and those beyond which it counts no more.
LEAST, MOST = 15, 300


def learn_transfer(
    features: npt.NDArray[np.floating], grades: npt.NDArray[np.int64], event: npt.NDArray[np.str_]
) -> Floats:
    """Return what each standardised change weighs, float64 (d / 2,).

    Parameters
    ----------
    features
        (n, d): of the buildings of all events.
    grades
        int (n,): their grades, 1-4.
    event
        str (n,): their events.
    """
    changes = np.zeros((len(features), features.shape[1] // 2))
    counts = np.zeros(len(features))
    damaged = grades > 1
    for name in np.unique(event):
        own = event == name
        changes[own] = standardised_changes(features[own])[0]
        sides = own & damaged, own & ~damaged
        if sides[0].sum() < LEAST or not sides[1].any():
            continue
        for side in sides:
            counts[side] = np.sqrt(min(sides[0].sum(), MOST)) / side.sum()
    design = np.column_stack([np.ones(len(changes)), np.clip(changes, -FARTHEST, FARTHEST)])
    weighted = design * (counts / counts.sum())[:, None]
    normal = weighted.T @ design
    normal[1:, 1:] += HELD * np.eye(changes.shape[1])
    found: Floats = np.linalg.solve(normal, weighted.T @ np.where(damaged, 1.0, -1.0))[1:]
    return found


def facts_of(
    features: npt.NDArray[np.floating], grades: npt.NDArray[np.int64], event: npt.NDArray[np.str_]
) -> dict[str, Any]:
    """Return what the bundled file holds."""
    weights = learn_transfer(features, grades, event)
    return {
        "network_sha256": hashlib.sha256(bundled_network().read_bytes()).hexdigest(),
        "licence": LICENCE,
        "learnt_from": "labels of xBD (Gupta et al. 2019)",
        "damaged": {str(name): int(np.sum(grades[event == name] > 1)) for name in np.unique(event)},
        "weights": [float(f"{weight:.4g}") for weight in weights],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help=".npz of `benchmarks.adapt features`")
    parser.add_argument("-o", "--output", type=Path, required=True, help=".json")
    options = parser.parse_args(arguments)
    with np.load(options.table, allow_pickle=False) as table:
        facts = facts_of(table["features"], table["grades"], table["event"])
    options.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
