"""Adapting: answers about some buildings of an event become an event model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geodamage._version import __version__
from geodamage.adaptation.answers import read_reviewed
from geodamage.adaptation.event_model import (
    EXTENSIONS,
    NO_BUILDING,
    Base,
    EventModel,
    Network,
)
from geodamage.adaptation.fingerprints import base_of
from geodamage.adaptation.head import Floats
from geodamage.adaptation.learning import Learnt, learn
from geodamage.adaptation.results import FeaturedResult, find_results, read_result
from geodamage.adaptation.transfer import bundled_transfer
from geodamage.adaptation.validation import Compared
from geodamage.errors import AdaptationError, OptionError
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.reviews.agreement import resolve
from geodamage.reviews.answers import NO_BUILDING as ABSENT
from geodamage.words import counted

#: Fewest answers with a grade that anything is learnt from.
FEWEST = 10
#: Degrees within which two looks at one footprint lie; 1 m and less.
_SAME_PLACE = 1e-5


@dataclass(frozen=True)
class Adapted:
    """The outcome of adapting.

    Attributes
    ----------
    model
        The event model.
    compared
        What the model that it starts from is worth, and what it is worth itself.
    helps
        Whether the interval of the gain excludes a loss.
    notes
        What a user should know, a line each.
    """

    model: EventModel
    compared: Compared
    helps: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Event:
    """All results of an event as one table."""

    ids: list[str]
    said: Floats
    features: npt.NDArray[np.float16]
    place: Floats
    called: npt.NDArray[np.int64]
    threshold: float


def adapt(
    results: Sequence[Path],
    reviewed: Path,
    output: Path,
    *,
    answers: Sequence[Path] = (),
    features: Path | None = None,
    force: bool = False,
    overwrite: bool = False,
) -> Adapted:
    """Learn from answers, and write an event model if it helps.

    Parameters
    ----------
    results
        Results of `geodamage assess --features` with one model, or folders of a batch.
    reviewed
        Answers, in any form that `geodamage.reviews.answers` reads.
    output
        The event model, `.toml`.
    answers
        Files of answers; `reviewed` is the sample then, and says how each building was drawn.
    features
        Features of the result, where there is one; those that its sidecar names unless given.
    force
        Write the event model even if it is not shown to help.
    overwrite
        Replace a file that is there.

    Returns
    -------
    Adapted
        Where it does not help and `force` is not given, nothing was written.

    Raises
    ------
    GeodamageError
        If something is refused or fails; `geodamage.errors` lists the kinds.
    """
    files = find_results(results)
    if features is not None and len(files) != 1:
        raise OptionError(
            "--features: give it with one result; several results have their own files beside them"
        )
    inputs = [*files, reviewed, *answers]
    check_output(output, inputs=inputs, overwrite=overwrite, extensions=EXTENSIONS)
    found = [read_result(file, features) for file in files]
    base, network = _one_model(found), _one_network(found)
    event = _joined(found)
    said, notes = _answers(reviewed, answers, event)
    rows, grades, weights = _graded(said, event, reviewed)
    learnt = learn(
        event.said, event.features, event.place, event.called, event.threshold,
        rows, grades, weights, transfer=bundled_transfer(network.sha256, base.licence),
    )  # fmt: skip
    model = _event_model(learnt, base, network, said, files, reviewed)
    adapted = Adapted(model, learnt.compared, learnt.helps, notes)
    if learnt.helps or force:
        with Publication(overwrite=overwrite) as publication, output_errors(output):
            publication.partial(output).write_text(model.as_toml(), encoding="utf-8")
    return adapted


def _one_model(found: Sequence[FeaturedResult]) -> Base:
    """Return the model of all results.

    Raises
    ------
    AdaptationError
        If they are of several, or were adapted before.
    """
    hashes = {base_of(result.facts): result for result in found}
    if len(hashes) > 1:
        first, second = [*hashes.values()][:2]
        raise AdaptationError(
            f"{first.path} and {second.path} are results of two models; adapt them one by one"
        )
    facts: Any = found[0].facts.get("model")
    said = facts if isinstance(facts, Mapping) else {}
    base = said.get("base")
    own = {**said, **(base if isinstance(base, Mapping) else {})}
    return Base(
        model=str(found[0].kept.about.get("model")),
        **{name: str(own.get(name, "")) for name in ("name", "version", "licence", "sha256")},
    )


def _one_network(found: Sequence[FeaturedResult]) -> Network:
    names = {
        (str(r.kept.about.get("network")), str(r.kept.about.get("network_sha256")))
        for r in found
    }  # fmt: skip
    if len(names) > 1 or len({r.features.shape[1] for r in found}) > 1:
        raise AdaptationError(
            f"{found[0].kept.path}: features of another network than the others; assess again with"
            " one version of geodamage"
        )
    name, sha256 = names.pop()
    return Network(name=name, sha256=sha256)


def _joined(found: Sequence[FeaturedResult]) -> _Event:
    ids = np.array([name for result in found for name in result.ids], object)
    places = np.concatenate([_places(result) for result in found])
    kept = _once(ids, places, np.concatenate([_shown(result) for result in found]))
    called = [result.frame["damage_class"].to_numpy("float64", na_value=0.0) for result in found]
    return _Event(
        [str(name) for name in ids[kept]],
        np.concatenate([result.said for result in found])[kept],
        np.concatenate([result.features for result in found])[kept],
        places[kept],
        np.concatenate(called).astype(int)[kept],
        _threshold(found[0].facts),
    )


def _once(ids: npt.NDArray[np.object_], places: Floats, shown: Floats) -> npt.NDArray[np.int64]:
    """Return the rows of buildings, each once: a footprint in two scenes by the better look.

    Raises
    ------
    AdaptationError
        If two buildings in different places have one id.
    """
    best: dict[str, int] = {}
    for row, name in enumerate(ids):
        other = best.setdefault(name, row)
        if np.abs(places[row] - places[other]).max() > _SAME_PLACE:
            raise AdaptationError(
                f"building {name} is in two results, in different places; give footprints ids that"
                " are unique over all results"
            )
        if shown[row] > shown[other]:
            best[name] = row
    return np.array(sorted(best.values()), np.int64)


def _shown(result: FeaturedResult) -> Floats:
    """Return which part of each building its scene shows; nothing of one without a grade."""
    part = result.frame["valid_fraction"].to_numpy("float64", na_value=0.0)
    return np.where(np.isfinite(result.said).all(1), part, -1.0)


def _places(result: FeaturedResult) -> Floats:
    places: Floats = result.frame[["lon", "lat"]].to_numpy("float64", na_value=np.nan)
    return np.nan_to_num(places)


def _threshold(facts: Mapping[str, Any]) -> float:
    thresholds: Any = facts.get("thresholds")
    found = thresholds.get("damaged") if isinstance(thresholds, Mapping) else None
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else 0.5


def _answers(
    reviewed: Path, files: Sequence[Path], event: _Event
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return one answer for each building, and what is worth saying of them.

    Raises
    ------
    AdaptationError
        If a building is in no result.
    """
    resolved = resolve(read_reviewed(reviewed, files))
    answers = resolved.answers
    unknown = sorted(set(answers["building_id"]) - set(event.ids))
    if unknown:
        some = ", ".join(unknown[:3]) + (" and others" if len(unknown) > 3 else "")
        raise AdaptationError(
            f"{reviewed}: {len(unknown)} of {counted(len(answers), 'answer')} are of buildings that"
            f" are not in the result: {some}; give the result that was reviewed"
        )
    notes = []
    if resolved.conflicts:
        notes.append(
            f"reviewers differ on {counted(len(resolved.conflicts), 'building')}; the majority "
            "counts"
        )
    return answers, tuple(notes)


def _graded(
    answers: pd.DataFrame, event: _Event, reviewed: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return the rows of the buildings that teach, their grades, and how many each stands for.

    Raises
    ------
    AdaptationError
        If there are too few, or all say the same.
    """
    places = {name: row for row, name in enumerate(event.ids)}
    rows = np.array([places[name] for name in answers["building_id"]], np.int64)
    has_grade = answers["damage_class"].notna().to_numpy(dtype=bool)
    teaches = has_grade & np.isfinite(event.said[rows]).all(1) if len(rows) else has_grade
    grades = answers["damage_class"][teaches].to_numpy("int64")
    if len(grades) < FEWEST:
        raise AdaptationError(
            f"{reviewed}: {counted(len(grades), 'answer has', 'answers have')} a grade of a "
            f"building that the model graded, and {FEWEST} are needed at least; review more "
            "buildings"
        )
    if len(np.unique(grades)) == 1:
        raise AdaptationError(
            f"{reviewed}: all {len(grades)} answers are {answers['damage'][teaches].iloc[0]}, so"
            " that there is nothing to learn from; review more buildings"
        )
    chances = answers["inclusion_probability"][teaches].to_numpy("float64")
    # Those that were chosen to teach stand for themselves alone.
    weights = np.where(np.isfinite(chances), 1 / chances, 1.0)
    return rows[teaches], grades, weights


def _event_model(
    learnt: Learnt,
    base: Base,
    network: Network,
    answers: pd.DataFrame,
    files: Sequence[Path],
    reviewed: Path,
) -> EventModel:
    constants, weights = learnt.raw_weights()
    said = answers[answers["damage_class"].notna() | (answers["damage"] == ABSENT)]
    classes = said["damage_class"].fillna(NO_BUILDING).astype(int)
    return EventModel(
        base=base,
        network=network,
        scale=learnt.head.scale,
        offsets=tuple(map(float, learnt.head.offsets)),
        constants=constants,
        weights=weights,
        damaged_threshold=learnt.threshold,
        reviewed=dict(zip(said["building_id"], map(int, classes), strict=True)),
        card={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "geodamage": __version__,
            "results": [file.name for file in files],
            "reviewed": reviewed.name,
            "answers": len(answers),
            **learnt.facts(),
        },
    )
