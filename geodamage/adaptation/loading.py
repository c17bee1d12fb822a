"""Loading an event model, and the model that it starts from."""

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from geodamage.adaptation.event_model import EventModel, is_event_model, read_event_model
from geodamage.errors import ChecksumError
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import bundled_models, find_model, load_model
from geodamage.model.onnx import Model


def find_event_model(source: str | PathLike[str]) -> EventModel | None:
    """Return the event model of a name or path; None where it is a model of another kind.

    Raises
    ------
    ModelError
        If it is an event model that makes no sense.
    """
    if str(source) in bundled_models() or not is_event_model(Path(source)):
        return None
    return read_event_model(Path(source))


def load_base(
    event: EventModel,
    *,
    device: str = "auto",
    threads: int = 0,
    engine: str = "auto",
    precision: str = "stored",
    tta: str = "none",
) -> Model | Ensemble:
    """Load the model that an event model starts from.

    Raises
    ------
    ModelNotFoundError
        If it is not there any more.
    ChecksumError
        If it is another by now.
    """
    model = load_model(
        event.base.model,
        device=device,
        threads=threads,
        engine=engine,
        precision=precision,
        tta=tta,
    )
    if model.card.sha256 != event.base.sha256:
        raise ChecksumError(
            f"{event.base.model}: is not the model that the event model starts from"
            f" ({event.base.name} {event.base.version}, {event.base.sha256[:12]}…); get that one,"
            " or adapt again"
        )
    return model


def model_source(source: str | PathLike[str], event: EventModel | None) -> str:
    """Return the name of a bundled model, or the path of another from the root."""
    if event is not None:
        return event.base.model
    name = os.fspath(source)
    return name if name in bundled_models() else str(find_model(name).absolute())


def adapted_facts(facts: Mapping[str, Any], event: EventModel) -> dict[str, Any]:
    """Return what a sidecar says of a model that an event model was put on."""
    base = {name: facts.get(name) for name in ("name", "version", "sha256")}
    learnt = {name: event.card.get(name) for name in ("created", "answers", "helps")}
    return {
        **facts,
        "name": f"{facts.get('name')}, adapted",
        "sha256": event.sha256,
        "base": base,
        "adapted": {"damaged_threshold": event.damaged_threshold, **learnt},
    }
