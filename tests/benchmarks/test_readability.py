import pytest

from benchmarks.readability import (
    MOST_WORDS,
    average,
    longest,
    name,
    paragraphs,
    read_pages,
    sentences,
)

PAGE = """\
# A heading is no sentence

One idea stands here. Another idea, with `a piece of code`, stands
in two lines.

- An item ends [a sentence](elsewhere.md)
- e.g. another

| a | table |
|---|---|

```
no prose. At all.
```

    nor this
"""


def test_prose_is_found_and_all_else_left_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    found = sentences(page)
    assert [sentence.words for sentence in found] == [4, 8, 5, 2]
    assert average(found) == 4.75
    assert longest(found, 1)[0].text.startswith("Another idea")


def test_of_a_page_without_prose_nothing_is_said():
    assert list(paragraphs("# Only\n\n| a | table |\n")) == []
    assert average([]) == 0


@pytest.mark.parametrize("page", read_pages(), ids=name)
def test_sentences_are_short_on_average(page):
    found = sentences(page)
    worst = "\n".join(f"{one.words}: {one.text}" for one in longest(found))
    assert average(found) <= MOST_WORDS, worst
