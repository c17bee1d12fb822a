from geodamage.model.loading import load_model
from geodamage.report.lists import model_rows


def rows_of(footprints=None):
    card = load_model("fast").card
    return dict(model_rows({"model": {"sha256": card.sha256}, "footprints": footprints}))


def test_a_bundled_model_says_how_new_events_were_graded_by_its_card():
    scores = load_model("fast").card.scores["events_not_learnt_from"]
    events = {name: facts for name, facts in scores.items() if isinstance(facts, dict)}
    assert len(events) == 6
    for rows in (rows_of(), rows_of({"file": "footprints.gpkg"})):
        told = rows["Quadratic kappa on a new event, small test networks"].split(", ")
        assert told == [
            f"{name} {facts['footprints_quadratic_kappa']:.2f}" for name, facts in events.items()
        ]


def test_a_model_without_such_scores_says_nothing_of_new_events():
    rows = model_rows({"model": {"name": "mine", "sha256": "0" * 64}})
    assert [name for name, _ in rows] == ["Name", "SHA-256"]
