import pytest

from benchmarks.readability import (
    MOST_IN_ONE,
    MOST_WORDS,
    ROOMS,
    average,
    longest,
    main,
    name,
    paragraphs,
    read_all,
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


MODULE = '''\
"""A module has one idea. Its second line
goes on.

    code is no sentence
"""

class Scene:
    """A scene.

    name   columns are no prose
    """

    def read(self, window):
        """Read it.

        Parameters
        ----------
        window
            Where to read. One window `a b c` at a time.
        """

    def _hidden(self):
        """Nobody reads this at all."""

    def bare(self): ...
'''


def test_docstrings_of_what_is_public_are_prose(tmp_path):
    module = tmp_path / "scene.py"
    module.write_text(MODULE, encoding="utf-8")
    assert [sentence.text.replace("\N{NO-BREAK SPACE}", " ") for sentence in sentences(module)] == [
        "A module has one idea.",
        "Its second line goes on.",
        "A scene.",
        "Read it.",
        "Where to read.",
        "One window `a b c` at a time.",
    ]
    assert sentences(module)[-1].words == 6


@pytest.mark.parametrize("page", read_pages(), ids=name)
def test_sentences_are_short(page):
    found = sentences(page)
    worst = longest(found)
    told = "\n".join(f"{one.words}: {one.text}" for one in worst)
    assert average(found) <= MOST_WORDS, told
    assert worst[0].words <= MOST_IN_ONE, told


@pytest.mark.slow
def test_sentences_of_docstrings_are_short():
    found = read_all()
    assert {f"{room}/ (docstrings)" for room in ROOMS} < set(found)
    for page, each in found.items():
        worst = longest(each)
        told = "\n".join(f"{one.words}: {one.page}: {one.text}" for one in worst)
        assert average(each) <= MOST_WORDS, f"{page}\n{told}"
        assert worst[0].words <= MOST_IN_ONE, f"{page}\n{told}"


def test_a_long_sentence_is_found(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"{'word ' * MOST_IN_ONE}end.\n\n{'Short. ' * 9}\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["readability", str(page)])
    assert main() == 1
    assert "37 " in capsys.readouterr().out
    page.write_text("Short.\n", encoding="utf-8")
    assert main() == 0
