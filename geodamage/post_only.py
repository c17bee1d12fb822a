"""Grading by the post image alone: what it cannot do, and how good it was where it was measured.

A network for pairs is shown even grey in place of the pre image.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geodamage.errors import ModelError, OptionError
from geodamage.model.card import Card
from geodamage.model.loading import bundled_models

if TYPE_CHECKING:
    from geodamage.assessment import Job

#: What a sidecar calls a run by its images.
PAIR, POST_ONLY = "pair", "post-only"


def check_images(job: "Job") -> None:
    """Check that a job has the images that its mode asks for, and nothing that needs others.

    Raises
    ------
    OptionError
        If not.
    """
    if not job.post_only:
        if not job.pre:
            raise OptionError("no pre image is given; name one, or give --post-only")
        return
    if job.pre:
        raise OptionError("--post-only takes only the post image; leave the other out")
    if job.footprints is None:
        raise OptionError(
            "--post-only needs --footprints, because buildings are found in the pre image"
        )
    for is_asked, option, why in (
        (job.probabilities is not None, "--probabilities", "holds buildings found in it"),
        (job.features is not None, "--features", "describes both images"),
        (job.scene.registration == "apply", "--registration apply", "compares both images"),
        (job.scene.pre_unusable is not None, "--pre-unusable", "belongs to it"),
        (job.scene.post_sensor != "optical", "--post-sensor sar", "was not measured without it"),
    ):
        if is_asked:
            raise OptionError(
                f"--post-only has no pre image, and {option} {why}; leave one of them out"
            )


def refuse_event_model(model: str | PathLike[str]) -> None:
    """Refuse a model that was adapted to an event: it learnt from both images.

    Raises
    ------
    ModelError
        Always.
    """
    raise ModelError(
        f"{model}: an event model has learnt from both images; give the model that it was made of "
        "with --post-only"
    )


@cache
def measured() -> dict[str, Any]:
    """Return what `benchmarks.post_only` measured of a bundled kind of network."""
    text = files("geodamage").joinpath("model", "bundled", "post_only.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def mode_facts(source: str | PathLike[str], card: Card) -> dict[str, Any]:
    """Return what a sidecar says of the mode, with its own score.

    Parameters
    ----------
    source
        The model, as it was named.
    card
        Its card.
    """
    if is_made_for_it(card):
        score: dict[str, Any] = {"published": card.scores.get("published")}
    elif str(source) in bundled_models() or Path(source) in bundled_models().values():
        score = measured()
    else:
        score = {}
    return {"mode": POST_ONLY, "mode_score": score}


def is_made_for_it(card: Card) -> bool:
    """Say whether a model looks at the post image alone by itself."""
    return card.scores.get("dates") == ["post"]


def doubts(facts: Mapping[str, Any], card: Card) -> list[str]:
    """Return what a user should know of the mode, a line each.

    Parameters
    ----------
    facts
        From `mode_facts`.
    card
        Card of the model.
    """
    score = facts["mode_score"]
    if is_made_for_it(card):
        worth = f", for which model {card.name} was made; nobody has measured it here"
    elif not score:
        worth = f"; nobody has measured model {card.name} without a pre image"
    else:
        worth = (
            f", which is worth less: on places that the network ({score['network']}) had not "
            f"seen, quadratic kappa was {score['kappa']:.2f}, or {score['kappa_without']:.2f} "
            f"without the {score['without']}, and {score['kappa_pair']:.2f} with both images"
        )
    return [
        f"graded by the post image alone{worth}",
        "cloud and smoke are not detected without a pre image; mark them with --post-unusable",
    ]
