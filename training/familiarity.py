r"""Describe the training imagery of models, and measure how far other imagery lies from it.

    geodamage georeference XBD -o geotiffs
    python -m training.familiarity geotiffs training/recipes/release.csv \
        -o geodamage/model/bundled/familiarity.npz

A minute of one core. It serves every model in that folder whose card names the same list of pairs.
Make it again for a model that was trained on another list. Scenes are read as `assess` reads them.
`--split` separates them into places. Each place is compared with the others, which shows how far
unseen places of known events lie (nine in ten are `like`). Each event is compared with the other
events. The farthest of the latter is the end of what is known.
"""

import argparse
import csv
import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geodamage.adaptation.extraction import colours
from geodamage.adaptation.network import FeatureNetwork
from geodamage.errors import GeodamageError, GeodamageWarning
from geodamage.familiarity.looking import FEWEST, features_of
from geodamage.familiarity.reference import Floats, Reference, learn
from geodamage.model.loading import load_model
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene

#: Share of the unseen places of known events that are `like`.
LIKE = 0.9
#: Folds that places are parted into.
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Table:
    """Blocks of many scenes.

    Attributes
    ----------
    features
        float32 (blocks, features).
    scene
        Number of the scene of each block.
    names, events, places
        Name, event and place of each scene.
    """

    features: Floats
    scene: np.ndarray
    names: tuple[str, ...]
    events: tuple[str, ...]
    places: tuple[str, ...]

    def medians(self, groups: Sequence[object]) -> np.ndarray:
        """Return how far each scene lies from those of other groups; NaN of too few blocks."""
        own = np.array([str(group) for group in groups])
        result = np.full(len(own), np.nan)
        for group in np.unique(own):
            others = learn(self.features[own[self.scene] != group])
            for number in np.flatnonzero(own == group):
                blocks = self.features[self.scene == number]
                if len(blocks) >= FEWEST:
                    result[number] = np.median(others.distances(blocks))
        return result

    def unseen_places(self) -> np.ndarray:
        """Return how far each scene lies from the other places, those of its event among them."""
        order = sorted(set(self.places))
        return self.medians([order.index(place) % FOLDS for place in self.places])

    def unseen_events(self) -> np.ndarray:
        """Return how far each scene lies from the other events."""
        return self.medians(self.events)


def read_table(folder: Path, split: Path, places: Path, network: FeatureNetwork,
               model: str) -> Table:  # fmt: skip
    """Read the scenes of the training part of a split, as far as there are GeoTIFFs of them."""
    loaded, names = load_model(model), list[str]()
    features, scenes = list[Floats](), list[int]()
    rows = {row["pair"]: row for row in split_rows(places)}
    orders = [colours(loaded.card, date) for date in ("pre", "post")]
    for row in split_rows(split):
        paths = [folder / f"{row['pair']}_{date}_disaster.tif" for date in ("pre", "post")]
        if row["part"] != "train" or not all(path.is_file() for path in paths):
            continue
        options = SceneOptions(registration="off", obscured="off")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeodamageWarning)
            with Scene.open(*paths, model=loaded, options=options) as scene:
                found = features_of(scene.take_blocks(), network, orders)
        features.append(found)
        scenes += [len(names)] * len(found)
        names.append(row["pair"])
        print(row["pair"], len(found), file=sys.stderr, flush=True)
    return Table(
        np.concatenate(features),
        np.array(scenes),
        tuple(names),
        tuple(rows[name]["event"] for name in names),
        tuple(f"{rows[name]['event']} {rows[name]['place']}" for name in names),
    )


def split_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a split: pair, event, place, part."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def made_of(table: Table) -> tuple[Reference, list[str]]:
    """Return the reference of a table with its limits, and what was measured, a line each."""
    places, events = table.unseen_places(), table.unseen_events()
    like, known = float(np.nanquantile(places, LIKE)), float(np.nanmax(events))
    lines = [
        "| event | scenes | unseen place, median | unlike | unseen event, median | unlike |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for event in (*sorted(set(table.events)), None):
        own = np.array([event in (None, one) for one in table.events])
        cells = [event or "all", int(own.sum())]
        for found in (places[own], events[own]):
            cells += [f"{np.nanmedian(found) / like:.2f}", f"{np.mean(found > like):.0%}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append(f"the farthest of an unseen event: {known / like:.2f}")
    facts = {"scenes": len(table.names), "blocks": len(table.features)}
    return replace(learn(table.features), like=like, known=known, facts=facts), lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the reference and print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("geotiffs", type=Path)
    parser.add_argument("pairs", type=Path, help="list of pairs that the models learnt from")
    parser.add_argument("--split", type=Path, help="names the places; the list of pairs by default")
    parser.add_argument("--model", default="fast", help="says how scenes are read")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    network = FeatureNetwork(device="cpu", threads=1)
    try:
        table = read_table(
            options.geotiffs, options.pairs, options.split or options.pairs, network, options.model
        )
    except GeodamageError as error:
        sys.exit(f"training.familiarity: {error}")
    reference, lines = made_of(table)
    digest = hashlib.sha256(options.pairs.read_bytes()).hexdigest()
    replace(reference, split_sha256=digest, network_sha256=network.sha256).save(options.output)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
