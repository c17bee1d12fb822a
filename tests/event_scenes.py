"""Results of scenes that were never assessed, for the tests of events."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from geopandas.testing import assert_geodataframe_equal
from pyproj import CRS, Transformer

from geodamage.damage import GRADES, LABELS
from geodamage.event.looks import Look, SceneLooks, scene_looks
from geodamage.event.merging import EventSummary, merge_event
from geodamage.fields import NAMES, empty_frame
from geodamage.output.publication import Publication, sidecar_path
from geodamage.output.vectors import vector_writer

UTM = CRS.from_epsg(32616)
#: A multiple of 500 m, so that a cell begins here.
CORNER = 629_500.0, 3_330_500.0
#: Ground of a scene unless said, metres from the corner: left, bottom, right, top.
REGION = 0, 0, 400, 400


@dataclass(frozen=True)
class House:
    """A rectangle, metres from the corner, and what a scene says of it."""

    left: float
    bottom: float
    width: float = 10
    height: float = 10
    grade: int | None = 1
    status: str = "assessed"
    reason: str | None = None
    valid: float = 1.0
    source: str = "model"
    identity: str | None = None
    confidence: float = 0.7

    @property
    def shape(self) -> shapely.Polygon:
        """Return its polygon in metres."""
        left, bottom = CORNER[0] + self.left, CORNER[1] + self.bottom
        return shapely.box(left, bottom, left + self.width, bottom + self.height)

    def moved(self, east: float, north: float = 0) -> "House":
        """Return it somewhere else."""
        return replace(self, left=self.left + east, bottom=self.bottom + north)


def cut(house: House, region: tuple[float, float, float, float]) -> House:
    """Return the part of a house that a scene shows; partial where it is not all."""
    left, bottom = max(house.left, region[0]), max(house.bottom, region[1])
    right = min(house.left + house.width, region[2])
    top = min(house.bottom + house.height, region[3])
    part = replace(house, left=left, bottom=bottom, width=right - left, height=top - bottom)
    if part == house:
        return house
    return replace(part, status="partial", reason="cut_by_edge_or_nodata")


def hidden(house: House, reason: str = "nodata_post") -> House:
    """Return a house that was not assessed."""
    return replace(house, grade=None, status="not_assessed", reason=reason, valid=0.0)


def frame_of(houses: Iterable[House], crs: CRS = UTM) -> gpd.GeoDataFrame:
    """Return buildings with every field."""
    houses = list(houses)
    if not houses:
        return empty_frame(crs)
    to_lonlat = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
    rows = [_row(house, to_lonlat) for house in houses]
    shapes = gpd.GeoSeries([house.shape for house in houses], crs=UTM).to_crs(crs)
    return gpd.GeoDataFrame(rows, geometry=shapes, crs=crs)[[*NAMES, "geometry"]]


def _row(house: House, to_lonlat: Transformer) -> dict[str, object]:
    lon, lat = to_lonlat.transform(house.shape.centroid.x, house.shape.centroid.y)
    area = house.width * house.height
    p = [(1 - house.confidence) / 3] * 4 if house.grade else [np.nan] * 4
    if house.grade:
        p[house.grade - 1] = house.confidence
    graded = house.grade is not None
    return {
        "building_id": house.identity or f"{lon:.6f},{lat:.6f},{area:.1f}",
        "damage": LABELS[GRADES[house.grade - 1]] if graded else None,
        "damage_class": house.grade,
        **dict(zip(NAMES[3:7], p, strict=True)),
        "confidence": max(p),
        "damage_score": (house.grade - 1) / 3 if graded else np.nan,
        "damaged": house.grade > 1 if graded else None,
        "status": house.status,
        "status_reason": house.reason,
        "valid_fraction": house.valid,
        "area_m2": float(area),
        "lon": lon,
        "lat": lat,
        "source": house.source,
    }


def facts_of(frame: gpd.GeoDataFrame, region: tuple[float, float, float, float]) -> dict:
    """Return what the sidecar of a scene says."""
    x, y = CORNER
    return {
        "statement": "preliminary",
        "model": {"name": "bright", "version": "1", "sha256": "ab"},
        "scene": {
            "pre": {"files": [{"path": "pre.tif"}]},
            "post": {"files": [{"path": "post.tif"}]},
            "crs": "EPSG:32616",
            "gsd": 0.5,
            "region": [region[0] + x, region[1] + y, region[2] + x, region[3] + y],
        },
        "assessed_km2": (region[2] - region[0]) * (region[3] - region[1]) / 1e6,
        "buildings": len(frame),
    }


def scene_of(
    scene: str,
    houses: Iterable[House],
    date: str | None,
    region: tuple[float, float, float, float],
) -> SceneLooks:
    """Return the looks of a scene without writing a file."""
    frame = frame_of(houses)
    look = Look(scene, date, Path("buildings.gpkg"), Path("buildings.gpkg.json"))
    return scene_looks(look, frame, facts_of(frame, region), scene)


def write_scene(
    folder: Path,
    scene: str,
    houses: Iterable[House],
    *,
    date: str | None = "2018-10-13",
    region: tuple[float, float, float, float] = REGION,
    extension: str = ".gpkg",
    crs: CRS = UTM,
) -> Look:
    """Write the result of a scene, as `geodamage batch` would."""
    path = folder / "scenes" / scene / f"buildings{extension}"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = frame_of(houses, crs)
    facts = facts_of(frame, region)
    with Publication(overwrite=True) as publication:
        with vector_writer(publication.partial(path), frame.crs) as writer:
            writer.append(frame)
        publication.sidecar(path, facts)
    return Look(scene, date, path, sidecar_path(path))


def merge(looks: Iterable[Look], output: Path, **options: object) -> EventSummary:
    """Merge to the end."""
    return merge_event(list(looks), output, **options).result()


def layer(path: Path, name: str = "buildings") -> gpd.GeoDataFrame:
    """Return a layer of an event."""
    return pyogrio.read_dataframe(path, layer=name)


def layers(path: Path) -> dict[str, gpd.GeoDataFrame]:
    """Return every layer of an event."""
    names = [str(name) for name, _ in pyogrio.list_layers(path) if name != "layer_styles"]
    return {name: layer(path, name) for name in names}


HOUSE = House(100, 100)
BARN = House(200, 50, 30, 20)


def same_layers(first, second):
    """Check that two events have the same features, in every layer, in order."""
    assert first.keys() == second.keys()
    for name, frame in first.items():
        assert_geodataframe_equal(frame, second[name])
