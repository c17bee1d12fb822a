import dataclasses

import pytest

from benchmarks.scores import (
    PAGE,
    README,
    number,
    page,
    percent,
    read_cards,
    summary,
    with_summary,
)


@pytest.fixture(scope="module")
def cards():
    return read_cards()


def test_the_page_of_scores_is_what_the_cards_say(cards):
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(cards), "run python -m benchmarks.scores --write"


def test_the_figures_of_the_readme_are_what_the_cards_say(cards):
    text = README.read_text(encoding="utf-8")
    assert text == with_summary(text, summary(cards)), "run python -m benchmarks.scores --write"


def test_another_card_gives_other_figures(cards):
    card = cards["fast"]
    scores = dict(card.scores, test=dict(card.scores["test"], recall_iou50=0.125))
    changed = cards | {"fast": dataclasses.replace(card, scores=scores)}
    assert "| 12 % |" in summary(changed)
    assert "IoU, of 0.5) | 0.12 |" in page(changed)
    text = README.read_text(encoding="utf-8")
    assert with_summary(text, summary(changed)) != text


def test_what_a_card_does_not_have_is_told_as_not_measured(cards):
    bare = {name: dataclasses.replace(card, scores={}, parity={}) for name, card in cards.items()}
    assert "| n/a | n/a |" in summary(bare)
    assert "| xView2 score: 0.3 localization F1 + 0.7 damage F1 | n/a | n/a |" in page(bare)


def test_numbers_are_rounded_once():
    assert [number(-0.004), number(None), percent(0.4824), number(1766, "{:,.0f}")] == [
        "0.00", "n/a", "48 %", "1,766",
    ]  # fmt: skip
