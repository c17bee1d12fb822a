"""Footprints that a user gives: graded where they lie or, if asked, where the buildings lie."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd

from geodamage.buildings.footprint_files import Footprints
from geodamage.buildings.footprints import grade_footprints
from geodamage.buildings.placement import Placement, placement_facts
from geodamage.buildings.votes import count_pixels_within
from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.prediction import Strip
from geodamage.scene.scene import Scene
from geodamage.windows import Window

#: Pixels of a region that are kept until the placement of footprints is known; of a larger one
#: blocks are predicted first, and then all of it.
KEPT = 2_000_000


@dataclass(frozen=True, kw_only=True)
class GivenFootprints:
    """Grades the footprints of a scene.

    Attributes
    ----------
    scene
        The scene, open.
    footprints
        The footprints of the scene.
    card
        Card of the model that grades them.
    registration
        `measure`, `apply` or `off`.
    by_vote
        Whether each pixel is graded first.
    seen_share
        Share of a footprint that both images must show, 0-1.
    predict
        Predicts a window of the scene alone.
    said
        Gets what was measured of how the footprints lie.
    """

    scene: Scene
    footprints: Footprints
    card: Card
    registration: str
    by_vote: bool
    seen_share: float
    predict: Callable[[Window], Iterator[Strip]]
    said: dict[str, Any]

    def graded(self, strips: Iterator[Strip], none: gpd.GeoDataFrame) -> Iterator[gpd.GeoDataFrame]:
        """Yield the graded footprints, strip by strip; `none` where only a look was taken."""
        self.said.update(asked="off", verdict="off", applied=False)
        placement = Placement(self.scene, self.footprints.shapes)
        footprints = self.footprints
        if self.registration == "apply":
            strips = yield from self._looked_ahead(strips, placement, none)
            footprints = self._placed(placement)
        elif self.registration == "measure":
            strips = placement.watch(strips)
        voting = count_pixels_within(strips) if self.by_vote else strips
        yield from grade_footprints(
            voting, self.scene, footprints, self.card, seen_share=self.seen_share
        )
        if self.registration == "measure":
            self._placed(placement)

    def _looked_ahead(
        self, strips: Iterator[Strip], placement: Placement, none: gpd.GeoDataFrame
    ) -> Generator[gpd.GeoDataFrame, None, Iterator[Strip]]:
        """Show a placement what the model says, before any footprint is graded."""
        if self.scene.region.size <= KEPT:
            kept = []
            for strip in placement.watch(strips):
                kept.append(strip)
                yield none
            return iter(kept)
        for window in placement.windows:
            for strip in self.predict(window):
                placement.add(strip)
            yield none
        return strips

    def _placed(self, placement: Placement) -> Footprints:
        """Say how footprints lie; return them with what is to be done about it."""
        measured = placement.measured()
        applied = measured.is_known and self.registration == "apply"
        facts = placement_facts(measured, self.scene.grid.gsd)
        self.said.update(facts | {"asked": self.registration, "applied": applied})
        if not applied:
            return self.footprints
        shift, is_uneven = placement.field(measured)
        self.said["field"] = "linear" if is_uneven else "one shift"
        return replace(self.footprints, shift=shift)


def footprint_facts(
    footprints: Footprints | None, placement: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return what a sidecar says of given footprints; None where buildings were found."""
    if footprints is None:
        return None
    return {
        "file": footprints.source,
        "count": len(footprints.frame),
        "duplicate_ids": footprints.duplicates,
        "repaired": footprints.repaired,
        "broken": footprints.broken,
        "kept": [field.name for field in footprints.kept],
        "registration": placement,
    }


def require_outlines(card: Card, footprints: Path | None) -> None:
    """Refuse a model that finds no buildings where none are given.

    Raises
    ------
    ModelError
        If the model grades buildings alone, and there are no footprints.
    """
    if card.task == "damage" and footprints is None:
        raise ModelError(
            f"model {card.name!r} grades buildings and finds none; give --footprints, or an "
            "ensemble of it and a model of the task localisation"
        )
