"""Results with their features: what `adapt` learns from, and `regrade` grades again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geodamage.adaptation.feature_file import Features, read_features
from geodamage.adaptation.fingerprints import base_of, fingerprint
from geodamage.errors import AdaptationError
from geodamage.fields import NAMES
from geodamage.output.layers import read_facts, read_layer
from geodamage.output.publication import VECTOR_EXTENSIONS


@dataclass(frozen=True)
class FeaturedResult:
    """A result of `geodamage assess --features`.

    Attributes
    ----------
    path
        File of the buildings.
    facts
        What its sidecar says.
    frame
        The buildings.
    said
        float64 (n, 4): what the model said of each before anybody adapted it; NaN where nothing.
    features
        float16 (n, d): of each.
    kept
        The feature file.
    """

    path: Path
    facts: Mapping[str, Any]
    frame: gpd.GeoDataFrame
    said: npt.NDArray[np.float64]
    features: npt.NDArray[np.float16]
    kept: Features

    @property
    def ids(self) -> list[str]:
        """Identity of each building."""
        return [str(name) for name in self.frame["building_id"]]


def find_results(sources: Sequence[Path]) -> list[Path]:
    """Return the files of results: a folder of a batch has one for each scene.

    Raises
    ------
    AdaptationError
        If a folder holds none, or a file is named twice.
    """
    files = [file for source in sources for file in _files(source)]
    if len({file.absolute() for file in files}) < len(files):
        raise AdaptationError("a result is named twice; name each once")
    return files


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    scenes = source / "scenes"
    folders = sorted(scenes.iterdir()) if scenes.is_dir() else [source]
    found = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("buildings.*"))
        if path.suffix in VECTOR_EXTENSIONS
    ]
    if not found:
        raise AdaptationError(
            f"{source}: no scenes/*/buildings.* in it; give a result of `geodamage assess`, or a"
            " folder of `geodamage batch`"
        )
    return found


def read_result(path: Path, features: Path | None = None) -> FeaturedResult:
    """Read a result with its features.

    Parameters
    ----------
    path
        File of the buildings; its sidecar stands beside it.
    features
        File of the features; that of the sidecar unless given.

    Raises
    ------
    AdaptationError
        If there are no features, or they are not those of the buildings as they are now.
    InputError
        If a file cannot be read.
    """
    if path.is_dir():
        raise AdaptationError(
            f"{path}: is a folder; give one of the results in it, scenes/NAME/buildings.*"
        )
    facts = read_facts(path)
    if facts.get("regraded") is not None:
        raise AdaptationError(
            f"{path}: was graded again; give the result of `geodamage assess` that it was made of"
        )
    place = _feature_path(path, facts) if features is None else features
    frame = read_layer(path)
    lacking = [name for name in NAMES if name not in frame.columns]
    if lacking:
        raise AdaptationError(f"{path}: has no {lacking[0]}; give a result of `geodamage assess`")
    frame = frame.astype({"building_id": str})
    kept = read_features(place)
    order = _order(frame, facts, kept, path)
    return FeaturedResult(path, facts, frame, kept.probabilities[order], kept.features[order], kept)


def _feature_path(path: Path, facts: Mapping[str, Any]) -> Path:
    named = facts.get("features")
    name = named.get("file") if isinstance(named, Mapping) else None
    if not isinstance(name, str) or Path(name).name != name or not name:
        raise AdaptationError(
            f"{path}: has no features; give results of `geodamage assess --features`, or the folder"
            " of a `geodamage batch --features`"
        )
    return path.with_name(name)


def _order(
    frame: gpd.GeoDataFrame, facts: Mapping[str, Any], kept: Features, path: Path
) -> npt.NDArray[np.int64]:
    """Return the row of the features of each building."""
    places = {name: row for row, name in enumerate(kept.building_id)}
    ids = frame["building_id"].to_list()
    if len(set(ids)) < len(ids):
        raise AdaptationError(f"{path}: two buildings have one building_id; give the result as is")
    changed = kept.about.get("result") != fingerprint(frame) or places.keys() != set(ids)
    if changed:
        raise AdaptationError(
            f"{path}: is not the result that {kept.path} was made with: buildings or grades were"
            " changed since; give it as it was, with answers in a file of their own"
        )
    if kept.about.get("model_sha256") != base_of(facts):
        raise AdaptationError(
            f"{path}: {kept.path} is of another model; give the features of this result"
        )
    return np.array([places[name] for name in ids], np.int64)
