import sys

import pytest

from benchmarks import links


def test_every_link_of_the_pages_leads_somewhere():
    assert [fault for page in links.pages() for fault in links.broken_links(page)] == []
    assert len(links.pages()) > 25


def test_every_address_is_well_formed():
    found = links.addresses(links.files())
    assert [where for where in found if links.bad(where)] == []
    assert "https://xview2.org/dataset" in found


def test_broken_links_are_named(tmp_path):
    (tmp_path / "b.md").write_text("# A new event, `x`\n\n## By size\n", encoding="utf-8")
    page = tmp_path / "a.md"
    page.write_text(
        "[a](b.md#by-size) [b](b.md#a-new-event-x) [c](b.md#gone) [d](gone.md) [e](#gone)\n"
        "[f](https://xview2.org) `[g](h.md)`\n```\n[i](j.md)\n```\n",
        encoding="utf-8",
    )
    assert [fault.partition(": ")[2] for fault in links.broken_links(page)] == [
        "no heading b.md#gone", "no file gone.md", "no heading #gone", "no file h.md",
    ]  # fmt: skip


def test_addresses_are_found_in_prose_and_code(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "See https://xview2.org/dataset. `github.com/vdurnov/x` <https://a.org> "
        '"https://example.org/no" f"https://{bucket}.s3.amazonaws.com"\n',
        encoding="utf-8",
    )
    found = ["https://a.org", "https://github.com/vdurnov/x", "https://xview2.org/dataset"]
    assert list(links.addresses([page])) == found


@pytest.mark.parametrize(
    ("where", "is_bad"),
    [
        ("https://xview2.org/dataset", False),
        ("http://xview2.org", True),
        ("https://xview2", True),
        ("https://xview2.org:8080", True),
        ("https://xview2.org:port", True),
    ],
)
def test_what_is_no_public_address_is_malformed(where, is_bad):
    assert links.bad(where) == is_bad


def test_only_what_is_gone_is_dead():
    answers = {
        "a": "200",
        "b": "404",
        "c": "403",
        "d": "no answer (x)",
        "e": "not asked",
        "f": "301",
    }
    assert links.dead(answers) == ["b", "d"]
    assert links.ask_all("ab", str.upper) == {"a": "A", "b": "B"}


def test_an_address_that_does_not_answer_is_a_fault(monkeypatch, capsys):
    monkeypatch.setattr(links, "ask_all", lambda found: dict.fromkeys(found, "404"))
    monkeypatch.setattr(sys, "argv", ["links", "--online"])
    assert links.main() == 1
    assert "dead https://xview2.org/dataset" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["links"])
    assert links.main() == 0
    assert "not asked: https://xview2.org/dataset" in capsys.readouterr().out
