# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk of a review through the buildings of a result: which is next, what was said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from geodamage_qgis.results.journal import Review
from geodamage_qgis.scale import PROBABILITIES


@dataclass(frozen=True)
class Building:
    """What a review shows of a building.

    Attributes
    ----------
    feature_id
        Of its feature in the layer.
    building_id
        Its own id, by which a correction finds it again.
    damage
        The model's grade, by xBD spelling.
    confidence
        Probability of that grade, 0-1.
    probabilities
        Of each grade, 0-1, by xBD spelling.
    status
        `assessed` or `partial`.
    status_reason
        Why it is partial; empty where it is not.
    area
        Square metres.
    order
        Place in a sample, from 1; 0 in a result.
    """

    feature_id: int
    building_id: str
    damage: str
    confidence: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    status: str = "assessed"
    status_reason: str = ""
    area: float = 0.0
    order: int = 0


def least_certain_first(buildings: Iterable[Building]) -> list[Building]:
    """Return buildings by confidence, the least first; equal ones by what is at stake.

    If the model is equally unsure of two buildings, the larger comes first. The id settles the
    rest, so the order is the same every time.
    """
    return sorted(buildings, key=lambda b: (b.confidence, -b.area, b.building_id))


def in_order(buildings: Iterable[Building]) -> list[Building]:
    """Return the buildings of a sample in the order in which to look: that of the sample, random.

    Then those who stop early have looked at a fair part of it.
    """
    return sorted(buildings, key=lambda b: (b.order, b.building_id))


@dataclass(frozen=True)
class Step:
    """One thing that was said, and what it replaced."""

    building: Building
    before: Review | None


class Walk:
    """Where a review is, and what has been said.

    Parameters
    ----------
    buildings
        In any order.
    reviews
        What holds already, by `building_id`.
    blind
        Whether this is a sample: then what the model said is hidden until a building is answered,
        for it would lead.
    """

    def __init__(
        self,
        buildings: Iterable[Building],
        reviews: Mapping[str, Review],
        *,
        blind: bool = False,
    ) -> None:
        self.blind = blind
        self.buildings = in_order(buildings) if blind else least_certain_first(buildings)
        self.reviews = dict(reviews)
        self.skip_reviewed = True
        self._steps: list[Step] = []
        self._index = 0
        self._go(index for index in range(len(self)) if self._wanted(index))

    def __len__(self) -> int:
        return len(self.buildings)

    @property
    def position(self) -> int:
        """Place in the walk, from 1."""
        return self._index + 1

    @property
    def reviewed(self) -> int:
        """Buildings of this walk that have been reviewed."""
        return sum(building.building_id in self.reviews for building in self.buildings)

    @property
    def current(self) -> Building | None:
        """The building that is shown; None where there is none."""
        return self.buildings[self._index] if self.buildings else None

    def review_of(self, building: Building) -> Review | None:
        """Return what holds for a building."""
        return self.reviews.get(building.building_id)

    def hides(self, building: Building) -> bool:
        """Return whether what the model said of a building is not to be shown yet."""
        return self.blind and building.building_id not in self.reviews

    @property
    def last(self) -> Building | None:
        """The building that was answered last in this walk."""
        return self._steps[-1].building if self._steps else None

    def can_undo(self) -> bool:
        """Return whether something has been said in this walk."""
        return bool(self._steps)

    def next(self) -> bool:
        """Go to the next building; return whether there was one.

        Where reviewed ones are skipped, those that were passed over come again after the last.
        """
        order = [*range(self._index + 1, len(self)), *range(self._index)]
        if not self.skip_reviewed:
            order = order[: len(self) - 1 - self._index]
        return self._go(index for index in order if self._wanted(index))

    def previous(self) -> bool:
        """Go back to the building before, reviewed or not; return whether there was one."""
        return self._go(range(self._index - 1, -1, -1))

    def go_to(self, building_id: str) -> bool:
        """Go to a building; return whether it is there."""
        places = range(len(self))
        return self._go(place for place in places if self._id(place) == building_id)

    def say(self, review: Review) -> None:
        """Note what was said about the current building.

        Raises
        ------
        ValueError
            If the review is of another building.
        """
        building = self.current
        if building is None or building.building_id != review.building_id:
            raise ValueError(f"not the current building: {review.building_id}")
        self._steps.append(Step(building, self.review_of(building)))
        self.reviews[review.building_id] = review

    def undo(self) -> Step | None:
        """Take back what was said last, and go there; return what it was."""
        if not self._steps:
            return None
        step = self._steps.pop()
        if step.before is None:
            self.reviews.pop(step.building.building_id, None)
        else:
            self.reviews[step.building.building_id] = step.before
        self._index = self.buildings.index(step.building)
        return step

    def _go(self, places: Iterable[int]) -> bool:
        """Go to the first of some places; return whether there is one."""
        for index in places:
            self._index = index
            return True
        return False

    def _wanted(self, index: int) -> bool:
        return not self.skip_reviewed or self._id(index) not in self.reviews

    def _id(self, index: int) -> str:
        return self.buildings[index].building_id


#: Attributes of a feature that a `Building` is made of.
ATTRIBUTES = (
    "building_id",
    "damage",
    "confidence",
    "status",
    "status_reason",
    "area_m2",
    "sample_order",
    *PROBABILITIES.values(),
)
