import importlib.util
import re
import shlex

import click
import geopandas as gpd
import pytest

from geodamage.cli import main
from geodamage.fields import FIELDS
from geodamage.options.lookup import commands
from tests.pages import DOCS, PAGES, ROOT, blocks


def calls(text: str) -> list[list[str]]:
    """Return the commands of ours that the blocks of a page call, in words."""
    found = []
    for _, block in blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r"&&|\|", line.removeprefix("$ ")):
                part = part.strip().removeprefix("srun ")
                if part.startswith("geodamage "):
                    found.append(shlex.split(part, comments=True)[1:])
    return found


def parse(words: list[str]) -> click.Context:
    """Read a call as the program does, without doing it; raise what it would say."""
    command: click.Command = main
    context = click.Context(main, info_name="geodamage")
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"geodamage has no command {name}"
        command = found
    return command.make_context(command.name, [*words], parent=context)


def test_the_pages_have_calls():
    assert calls("x\n\n    geodamage assess a \\\n        b -o c\n") == [
        ["assess", "a", "b", "-o", "c"]
    ]
    assert sum(len(calls(page.read_text(encoding="utf-8"))) for page in PAGES) > 30


def test_a_call_that_the_program_refuses_is_seen():
    with pytest.raises(click.UsageError):
        parse(["assess", "pre.tif", "-o", "buildings.gpkg"])
    with pytest.raises(click.UsageError):
        parse(["assess", "pre.tif", "post.tif", "-o", "buildings.gpkg", "--no-such"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_of_the_docs_is_one_that_the_program_takes(page):
    for words in calls(page.read_text(encoding="utf-8")):
        if "--help" not in words and "--version" not in words:
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_scripts_that_the_docs_run_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m ((?:training|benchmarks|sample_data)[\w.]*)", text):
        assert importlib.util.find_spec(name.rstrip(".")), f"{page.name}: no module {name}"
    for path in re.findall(r"python (\w+/[\w/]+\.py)", text):
        assert (ROOT / path).exists(), f"{page.name}: no file {path}"
    for path in re.findall(r"pytest (?:-\S+ )*((?:tests/[\w/.]+ ?)+)", text):
        for part in path.split():
            assert (ROOT / part.rstrip(".")).exists(), f"{page.name}: no tests {part}"


def test_every_command_is_shown_on_a_page():
    shown = {" ".join(words) for page in PAGES for words in calls(page.read_text(encoding="utf-8"))}
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in commands():
        called = any(f"{words} ".startswith(f"{name} ") for words in shown)
        assert called or f"`geodamage {name}" in text, f"no page shows geodamage {name}"


def test_the_page_of_outputs_has_every_field():
    text = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert {field.name for field in FIELDS} <= told


def test_a_release_has_ten_lines_of_changes_at_most():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, *lines = [line for line in release.splitlines() if line.strip()]
        assert len(lines) <= 10, title


def test_the_site_has_every_page_of_the_docs():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = set(re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE))
    assert {page.name for page in DOCS} <= shown


@pytest.mark.slow
def test_the_python_of_the_docs_runs(tmp_path, monkeypatch):
    for name in ("pre.tif", "post.tif", "footprints.geojson"):
        (tmp_path / name).symlink_to(ROOT / "sample_data" / name)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for language, block in blocks(text):
        assert language == "python"
        exec(compile(block, "docs/python.md", "exec"), {})
    assert len(gpd.read_file("buildings.gpkg", layer=0)) > 20
