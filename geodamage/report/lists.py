"""What is known of the model, the images and the run, as rows of a name and a text."""

from collections.abc import Mapping
from typing import Any

from geodamage.model.catalogue import list_models
from geodamage.report.texts import list_text, numbers_text, part, share_text, unit_text
from geodamage.report.view import Row, View, day, image_name, is_post_only
from geodamage.words import counted


def image_rows(view: View, role: str) -> list[Row]:
    """Return what is known of an image."""
    image = part(part(view.facts, "scene"), role)
    date = view.words.pre_date if role == "pre" else view.words.post_date
    rows = [
        ("Date", date or str(image.get("date") or "not recorded")),
        ("File", image_name(view.facts, role)),
    ]
    known = {
        "CRS": image.get("crs"),
        "Pixel on the ground": unit_text(image.get("gsd"), "m"),
        "Type": image.get("dtype"),
        "Channels": list_text(image.get("bands")),
        "Scaled from": _scaling(image.get("scaling")),
    }
    return rows + [(name, str(value)) for name, value in known.items() if value]


def model_rows(facts: Mapping[str, Any]) -> list[Row]:
    """Return what is known of the model."""
    model = part(facts, "model")
    names = {
        "Name": " ".join(str(model[key]) for key in ("name", "version") if model.get(key)),
        "Licence of the weights": model.get("licence"),
        "Training data": model.get("training_data"),
        "SHA-256": model.get("sha256"),
        "Ran on": model.get("provider"),
        "Test-time augmentation": model.get("tta"),
    }
    scores = (
        _own_score(part(facts, "mode_score"))
        if is_post_only(facts)
        else _scores(model, by_footprints=bool(facts.get("footprints")))
    )
    return [(name, str(value)) for name, value in names.items() if value] + scores


def _own_score(score: Mapping[str, Any]) -> list[Row]:
    """Return how good grades of the post image alone were, where that was measured."""
    if "kappa" not in score:
        return [("Tested on", str(score.get("published") or "nothing, without a pre image"))]
    kappas = [score.get(key) for key in ("kappa", "kappa_without", "kappa_pair")]
    told = [f"{value:.2f}" for value in kappas if isinstance(value, float)]
    if len(told) < len(kappas):
        return []
    return [
        ("Tested on", f"{score.get('buildings'):,} buildings held out ({score.get('data')})"),
        ("Quadratic kappa, post image alone", told[0]),
        (f"The same without the {score.get('without')}", told[1]),
        ("The same with both images", told[2]),
    ]


def _scores(model: Mapping[str, Any], *, by_footprints: bool) -> list[Row]:
    """Return how a bundled model scored, with footprints or without, by its card."""
    cards = (card for entry in list_models() for card in entry.cards)
    card = next((c for c in cards if c.sha256 and c.sha256 == model.get("sha256")), None)
    if card is None:
        return []
    rows = [("Made for pixels of", f"{card.gsd_min:g} to {card.gsd_max:g} m")]
    test = part(card.scores, "test")
    if not test:
        return rows
    where = f"{card.scores.get('data')}; {card.scores.get('date')}"
    tested = counted(test.get("buildings", 0), "building")
    rows.append(("Tested on", f"{tested} held out ({where})"))
    new = _new_events(card.scores)
    if by_footprints:
        grades = [f"{k} {v}" for k, v in part(test, "footprints_f1_per_grade").items()]
        own = [("F1 of each grade, of footprints", list_text(grades))] if grades else []
        return [*rows, *own, *new]
    figures = {
        "Buildings it finds": share_text(test.get("recall_iou50")),
        "Its buildings that are real": share_text(test.get("precision_iou50")),
        "xView2 score": test.get("xview2_score"),
        "F1 of each grade, of found buildings": list_text(
            [f"{k} {v}" for k, v in part(test, "building_f1_per_grade").items()]
        ),
    }
    return rows + [(name, str(value)) for name, value in figures.items() if value] + new


def _new_events(scores: Mapping[str, Any]) -> list[Row]:
    """Return how networks like a model graded events that they had not seen, by its card."""
    key = "footprints_quadratic_kappa"
    events = part(scores, "events_not_learnt_from")
    kappas = {event: part(events, event).get(key) for event in events}
    told = [f"{event} {value:.2f}" for event, value in kappas.items() if isinstance(value, float)]
    if not told:
        return []
    return [("Quadratic kappa on a new event, small test networks", list_text(told))]


def run_rows(facts: Mapping[str, Any]) -> list[Row]:
    """Return what is known of the run."""
    thresholds, footprints = part(facts, "thresholds"), part(facts, "footprints")
    software = part(facts, "software")
    names = {
        "Grades are of": "the post image alone (post-only)" if is_post_only(facts) else "",
        "Made": day(facts),
        "Software": ", ".join(f"{name} {version}" for name, version in software.items()),
        "Working grid": _grid(part(facts, "scene")),
        "Buildings from": footprints.get("file") or "the pre image, found by the model",
        "A pixel is building above": thresholds.get("localisation"),
        "A building is damaged from": thresholds.get("damaged"),
        "Smallest building": unit_text(thresholds.get("min_area"), "m²"),
        "Grade decided by": facts.get("vote"),
        "Hidden by cloud, smoke or fill": hidden_ground(facts),
        "Candidates": real_share(facts),
        "The scene is": part(facts, "familiarity").get("verdict"),
    }
    return [(name, str(value)) for name, value in names.items() if value]


def _grid(scene: Mapping[str, Any]) -> str | None:
    gsd = unit_text(scene.get("gsd"), "m")
    return f"{scene.get('crs')}, {gsd} a pixel" if gsd else None


def _scaling(value: Any) -> str | None:
    low, high = part(value, "").get("minimum"), part(value, "").get("maximum")
    guessed = ", a guess" if part(value, "").get("from") == "guess" else ""
    if not low or not high:
        return None
    return f"{numbers_text(low)} (black) to {numbers_text(high)} (white){guessed}"


def hidden_ground(facts: Mapping[str, Any]) -> str | None:
    """Return how much of the ground was hidden at each date; None if it was not examined."""
    shares = part(facts, "obscured")
    told = [share_text(shares.get(f"ground_{role}")) for role in ("pre", "post")]
    if is_post_only(facts):
        return f"{told[1]} of the ground after" if told[1] else None
    return f"{told[0]} of the ground before, {told[1]} after" if all(told) else None


def real_share(facts: Mapping[str, Any]) -> str | None:
    """Return which share of the candidates are buildings, by the tests of the model."""
    share = share_text(facts.get("candidates_real"))
    return f"{share} of such candidates were buildings in tests" if share else None
