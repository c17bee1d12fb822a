"""What an assessment came to: its buildings by grade and status, and what a user should know."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd

from geodamage.buildings.placement import placement_doubts, placement_remarks
from geodamage.damage import GRADES
from geodamage.job import Coverage


@dataclass
class Summary(Coverage):
    """What an assessment came to.

    Attributes
    ----------
    counts, areas
        Buildings and m² by grade (1-4); only buildings with a grade.
    are_candidates
        Whether a model found the buildings; given footprints are not in doubt.
    real_share
        Share of such candidates that matched a building where the model was tested, 0-1; or None.
    placement
        How far footprints lie off, as the sidecar says it; of found buildings None.
    """

    counts: Counter[int] = field(default_factory=Counter)
    areas: dict[int, float] = field(default_factory=lambda: dict.fromkeys(GRADES, 0.0))
    are_candidates: bool = False
    real_share: float | None = None
    placement: dict[str, Any] | None = None

    def doubts(self) -> list[str]:
        """Return what a user should know of what was found, a line each."""
        placed = [] if self.placement is None else placement_doubts(self.placement)
        return placed + super().doubts()

    def remarks(self) -> list[str]:
        """Return what is worth a line, and is no doubt: how footprints lie."""
        return [] if self.placement is None else placement_remarks(self.placement)

    @property
    def outside(self) -> int:
        """Buildings that lie outside the images or the area of interest."""
        return sum(n for reason, n in self.reasons.items() if str(reason).startswith("outside_"))

    def add(self, frame: gpd.GeoDataFrame) -> None:
        """Count some buildings."""
        statuses = frame["status"].to_numpy()
        self.statuses.update(statuses.tolist())
        self.reasons.update(frame["status_reason"].to_numpy()[statuses == "not_assessed"].tolist())
        known = frame["damage_class"].notna().to_numpy()
        grades, areas = (frame[name].to_numpy()[known] for name in ("damage_class", "area_m2"))
        for grade, area in zip(grades.tolist(), areas.tolist(), strict=True):
            self.counts[int(grade)] += 1
            self.areas[int(grade)] += float(area)

    def facts(self) -> dict[str, Any]:
        """Return the figures for the sidecar."""
        return {
            "assessed_km2": round(self.assessed_km2, 6),
            "buildings": self.buildings,
            "buildings_per_grade": {grade.label: self.counts[grade] for grade in GRADES},
            "area_m2_per_grade": {grade.label: round(self.areas[grade], 1) for grade in GRADES},
            "buildings_per_status": {
                status: self.statuses[status] for status in ("assessed", "partial", "not_assessed")
            },
            "candidates": self.are_candidates,
            "candidates_real": self.real_share,
            "not_assessed_by_reason": dict(sorted(self.reasons.items())),
            "obscured": self.obscured(),
        }
