"""Regrading: results with the grades of an event model, without the imagery."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd

from geodamage._version import __version__
from geodamage.adaptation.event_model import EventModel, read_event_model
from geodamage.adaptation.fingerprints import base_of
from geodamage.adaptation.grading import regraded
from geodamage.adaptation.loading import adapted_facts
from geodamage.adaptation.results import FeaturedResult, find_results, read_result
from geodamage.damage import GRADES
from geodamage.errors import AdaptationError
from geodamage.fields import FIELDS, STATUSES, attribute_fields
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.output.vectors import vector_writer
from geodamage.output.writer import common_type

#: Facts of a result that are of its grades, and so are not true of the new ones.
_OF_THE_GRADES = ("features", "seconds")


def regrade(
    result: Path,
    model: Path,
    output: Path,
    *,
    features: Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a result with the grades of an event model.

    Parameters
    ----------
    result
        Result of `geodamage assess --features`.
    model
        Event model of `geodamage adapt`.
    output
        Vector file; the extension picks the format. The sidecar stands beside it.
    features
        Features of the result; those that its sidecar names unless given.
    overwrite
        Replace a file that is there.

    Returns
    -------
    dict
        What the sidecar says.

    Raises
    ------
    GeodamageError
        If something is refused or fails; `geodamage.errors` lists the kinds.
    """
    check_output(output, inputs=[result, model], overwrite=overwrite)
    event = read_event_model(model)
    with Publication(overwrite=overwrite) as publication:
        return _regraded(publication, result, output, event, model, features)


def regrade_scenes(
    results: Sequence[Path], model: Path, folder: Path, *, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Write several results with the grades of an event model, all of them or none.

    Parameters
    ----------
    results
        Results of `geodamage assess --features`, and folders of `geodamage batch --features`.
    model
        Event model of `geodamage adapt`.
    folder
        Made if it does not exist. Each result becomes `scenes/NAME/buildings.*` in it, in its own
        format, so that `geodamage event` and others read the folder as that of a batch.
    overwrite
        Replace files that are there.

    Returns
    -------
    list of dict
        What the sidecar of each says.

    Raises
    ------
    GeodamageError
        If something is refused or fails; which kind of it is raised, `geodamage.errors` says.
    """
    places = {path: _place(path, folder) for path in find_results(results)}
    _check_names(places)
    event = read_event_model(model)
    inputs = [*places, model]
    with _made([place.parent for place in places.values()]):
        for place in places.values():
            check_output(place, inputs=inputs, overwrite=overwrite)
        with Publication(overwrite=overwrite) as publication:
            return [
                _regraded(publication, path, place, event, model, None)
                for path, place in places.items()
            ]


@contextmanager
def _made(folders: Sequence[Path]) -> Iterator[None]:
    """Make folders; those that are empty when an error comes were made for nothing, and go."""
    made: list[Path] = []
    try:
        for folder in folders:
            lacking = [one for one in (folder, *folder.parents) if not one.exists()]
            with output_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            made += reversed(lacking)
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def _place(path: Path, folder: Path) -> Path:
    """Return where a regraded result goes; its scene is called after its folder, or itself."""
    whole = Path(os.path.normpath(path.absolute()))
    scene = whole.parent.name if whole.stem == "buildings" else whole.stem
    return folder / "scenes" / scene / f"buildings{path.suffix}"


def _check_names(places: Mapping[Path, Path]) -> None:
    first: dict[Path, Path] = {}
    for path, place in places.items():
        other = first.setdefault(place.parent, path)
        if other != path:
            raise AdaptationError(
                f"two scenes are called {place.parent.name}: {other} and {path}; rename a file"
            )


def _regraded(
    publication: Publication,
    result: Path,
    output: Path,
    event: EventModel,
    model: Path,
    features: Path | None,
) -> dict[str, Any]:
    """Write one result and its sidecar to be published; return what the sidecar says."""
    found = read_result(result, features)
    _check(found, event, model)
    frame = regraded(found.frame, found.said, found.features, event)
    facts = _facts(found, event, frame, model)
    partial = publication.partial(output)
    kind = common_type(frame.geometry)
    fields = (*FIELDS, *attribute_fields(frame))
    with vector_writer(partial, frame.crs, geometry_type=kind, fields=fields) as writer:
        writer.append(frame)
    publication.sidecar(output, facts)
    return facts


def _check(found: FeaturedResult, event: EventModel, model: Path) -> None:
    if base_of(found.facts) != event.base.sha256:
        raise AdaptationError(
            f"{found.path}: is a result of another model than {model} starts from"
            f" ({event.base.name} {event.base.version}); assess with that one, or adapt again"
        )
    about = found.kept.about
    width = len(event.weights[0])
    if about.get("network_sha256") != event.network.sha256 or found.features.shape[1] != width:
        raise AdaptationError(
            f"{found.kept.path}: features of {about.get('network')}, and {model} learnt from others"
            f" ({event.network.name}, {event.network.sha256[:12]}…); adapt again"
        )


def _facts(
    found: FeaturedResult, event: EventModel, frame: gpd.GeoDataFrame, model: Path
) -> dict[str, Any]:
    """Return what the sidecar says: all that stays true of the result, and what is new."""
    kept = {name: fact for name, fact in found.facts.items() if name not in _OF_THE_GRADES}
    before: Any = kept.get("model")
    base = before if isinstance(before, Mapping) else {}
    thresholds: Any = kept.get("thresholds")
    return {
        **kept,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {**_mapping(kept.get("software")), "geodamage": __version__},
        "model": adapted_facts(_original(base), event),
        "thresholds": {**_mapping(thresholds), "damaged": event.damaged_threshold},
        "regraded": {"result": found.path.name, "event_model": model.name, "card": event.card},
        **_counts(frame),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _original(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is said of the model that an adapted one starts from."""
    return {**model, **_mapping(model.get("base"))}


def _counts(frame: gpd.GeoDataFrame) -> dict[str, Any]:
    grades = frame["damage_class"].astype("float64")
    status = Counter(frame["status"])
    areas = frame["area_m2"].groupby(grades).sum()
    blank = frame[frame["status"] == "not_assessed"]
    return {
        "buildings": len(frame),
        "buildings_per_grade": {g.label: int((grades == int(g)).sum()) for g in GRADES},
        "area_m2_per_grade": {g.label: round(float(areas.get(int(g), 0.0)), 1) for g in GRADES},
        "buildings_per_status": {name: status[name] for name in STATUSES},
        "not_assessed_by_reason": dict(sorted(Counter(map(str, blank["status_reason"])).items())),
    }
