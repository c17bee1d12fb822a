"""Looks at a scene: how far its blocks lie from what a model learnt from, and what that means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.extraction import colours
from geodamage.adaptation.network import STRIDE, FeatureNetwork
from geodamage.errors import ModelError
from geodamage.familiarity.reference import NAME, Floats, Reference, read_reference
from geodamage.model.card import Card
from geodamage.scene.survey import Block

#: Blocks of a scene that are asked, at most, and fewest that say something.
MOST, FEWEST = 9, 3
#: Share of the blocks of a small scene that is asked: it costs as much as a part of the grading.
SHARE = 1 / 3
#: Share of a block that both images must show.
LEAST_VALID = 0.9


#: What an event that is not known costs. Source: `python -m benchmarks.events table` (2026-11-30),
#: footprints given, and the scores of `fast` on places of known events. Within an event that is
#: not known, the distance does not tell where grades are worse (docs/trust.md).
MEANING = (
    "in events that it had not seen, a model like this one had a kappa of 0.51 instead of 0.78"
)


@dataclass(frozen=True)
class Familiarity:
    """How a scene lies to what a model learnt from.

    Attributes
    ----------
    distance
        Median over its blocks; 1 is the limit under which nine in ten unseen places of known
        events lie. None where nobody knows.
    blocks
        Blocks that were asked.
    known
        Distance beyond which no scene lay that anything was measured on.
    reason
        Why it is not known, or None.
    """

    distance: float | None = None
    blocks: int = 0
    known: float = np.inf
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """`like training`, `unlike training`, or `unknown`."""
        if self.distance is None:
            return "unknown"
        return "like training" if self.distance <= 1 else "unlike training"

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar says."""
        if self.distance is None:
            return {"verdict": self.verdict, "why": self.reason, "blocks": self.blocks}
        facts = {
            "verdict": self.verdict,
            "distance": round(self.distance, 3),
            "known_to": round(self.known, 3),
            "blocks": self.blocks,
        }
        return facts if self.distance <= 1 else facts | {"expect": self._expected}

    @property
    def _expected(self) -> str:
        """What a distance above 1 means for the grades."""
        if self._is_strange:
            return "unknown: no scene was measured that is so unlike the training imagery"
        return f"worse grades: {MEANING}"

    def remarks(self) -> list[str]:
        """Return how the scene lies, in a line; or nothing where nobody knows."""
        if self.distance is None or self._is_strange:
            return []
        said = f"(distance {self.distance:.2f}; 9 of 10 unseen places of known events are below 1)"
        if self.distance <= 1:
            return [f"the scene looks like the training imagery {said}"]
        return [f"the scene looks unlike the training imagery {said}; expect {self._expected}"]

    def doubts(self) -> list[str]:
        """Return what a user should know, a line each."""
        if not self._is_strange:
            return []
        return [
            f"the scene looks unlike everything that the model was measured on (distance "
            f"{self.distance:.2f}; the farthest was {self.known:.2f}): how good its "
            "grades are here is unknown; check bands and scaling, and a sample of buildings"
        ]

    @property
    def _is_strange(self) -> bool:
        return self.distance is not None and self.distance > self.known


def find_reference(model: Path, card: Card) -> Reference | None:
    """Return the reference of what a model learnt from, beside its file; None where none is.

    Raises
    ------
    ModelError
        If the file beside it cannot be read.
    """
    path = model.parent / NAME
    training = card.scores.get("training")
    split = training.get("split_sha256") if isinstance(training, dict) else None
    if not split or not path.is_file():
        return None
    reference = read_reference(path)
    return reference if reference.split_sha256 == split else None


def familiarity_of(
    blocks: Sequence[Block],
    reference: Reference | None,
    network: FeatureNetwork | None,
    card: Card,
) -> Familiarity:
    """Return how a scene lies to what a model learnt from.

    Parameters
    ----------
    blocks
        Blocks of both images.
    reference
        What the imagery looked like; None where nobody kept it.
    network
        What makes features; not needed without a reference.
    card
        Card of the model that the blocks were read for.
    """
    if reference is None or network is None or reference.network_sha256 != network.sha256:
        return Familiarity(reason="the model has no record of its training imagery")
    if card.post_sensor != "optical":
        return Familiarity(reason="the model uses another sensor")
    try:
        orders = [colours(card, date) for date in ("pre", "post")]
    except ModelError:
        return Familiarity(reason="the model does not take colour images")
    features = features_of(blocks, network, orders, share=SHARE)
    if len(features) < FEWEST:
        return Familiarity(
            blocks=len(features), reason="too little ground is fully visible in both images"
        )
    distance = float(np.median(reference.distances(features)))
    return Familiarity(distance / reference.like, len(features), reference.known / reference.like)


def features_of(
    blocks: Sequence[Block],
    network: FeatureNetwork,
    orders: Sequence[Sequence[int]],
    *,
    share: float = 1.0,
) -> Floats:
    """Return the features of the blocks of a scene that are whole: at most `MOST`, well spread.

    Parameters
    ----------
    orders
        Where red, green and blue are among the channels of each date.
    share
        Share of the blocks that is asked, 0-1, though never fewer than `FEWEST` of them.

    Returns
    -------
    float32 (blocks, 4 * channels of the network)
        Mean and spread of the network's map of pre, then of post.
    """
    whole = [block for block in blocks if block.both.mean() >= LEAST_VALID]
    asked = min(len(whole), MOST, max(FEWEST, math.ceil(share * len(whole))))
    places = np.unique(np.linspace(0, len(whole) - 1, asked).round().astype(int))
    found = [
        np.concatenate([
            _described(network, image[order])
            for image, order in zip((whole[place].pre, whole[place].post), orders, strict=True)
        ])
        for place in places
    ]  # fmt: skip
    width = 4 * network.channels
    return np.array(found, np.float32).reshape(-1, width)


def _described(network: FeatureNetwork, image: npt.NDArray[np.uint8]) -> Floats:
    rows, columns = (side // STRIDE * STRIDE for side in image.shape[1:])
    layer = network(np.ascontiguousarray(image[:, :rows, :columns]))
    return np.concatenate([layer.mean((1, 2)), layer.std((1, 2))])
