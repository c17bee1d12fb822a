import re
from pathlib import Path

import geopandas as gpd
import pytest
from click.testing import CliRunner

from geodamage.cli import main
from geodamage.options.lookup import columns, commands, options_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Lines of the docs that call other programs, and go on in the next line or not.
OTHERS = re.compile(
    r"DASK_WORKER|docker |#SBATCH|python (-m (training|benchmarks|tests)|sample_data|benchmarks)"
    r"|^ +--set "
)
#: Options of the repository's own scripts that the docs name apart from them.
OF_SCRIPTS = {
    "--cases", "--data", "--pairs", "--runs", "--seconds", "--set", "--sar", "--size",
    "--ungraded", "--xbd",
}  # fmt: skip


def commands_in(text: str) -> list[tuple[str, str]]:
    """Return the commands of ours that a text calls: each name, and what it is told."""
    joined = re.sub(r"\\\n\s*", " ", text)
    names = "|".join(sorted(commands(), key=len, reverse=True))
    return re.findall(rf"\bgeodamage ({names})\b([^`\n&|]*)", joined)


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--help"], terminal_width=200)
    assert result.exit_code == 0
    return result.output


def options_in(text: str) -> set[str]:
    """Return the long options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))


def known(*names: str) -> set[str]:
    """Return what commands may be told; of all commands where none is named."""
    rows = [option for name in names or commands() for option in options_of(name)]
    unsaid = {f"--no-{row.flag[2:]}" for row in rows if row.default is True}
    return {row.flag for row in rows} | unsaid | {"--help", "--debug", "--version"}


def test_the_pages_are_read():
    assert {"README.md", "batch.md"} <= {page.name for page in PAGES}
    assert options_in("`--min-area 20`, a---b, --tta=flips") == {"--min-area", "--tta"}
    assert len(commands_in((ROOT / "docs" / "batch.md").read_text(encoding="utf-8"))) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_the_docs_name_is_one_of_a_command(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    ours = "\n".join(line for line in lines if not OTHERS.search(line))
    assert options_in(ours) <= known() | OF_SCRIPTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_docs_has_the_options_that_it_is_given(page):
    for name, words in commands_in(page.read_text(encoding="utf-8")):
        assert options_in(words) <= known(name), f"{page.name}: geodamage {name}{words}"


def test_the_docs_name_every_column_of_a_list():
    text = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| (`model` .*?) \|", text, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", row)) == sorted(columns())


def test_both_commands_stand_on_one_line_each():
    lines = README.splitlines()
    assert sum(line.startswith('pip install ".[cpu]" && geodamage assess ') for line in lines) == 1
    assert sum(line.startswith('pip install ".[dev]" && pytest') for line in lines) == 1


def test_every_exit_code_of_the_readme_is_in_the_help():
    for meaning in ("input refused", "model refused", "output failed", "resource limit"):
        assert meaning in README
        assert meaning in " ".join(help_of().split())


def test_files_that_the_docs_link_to_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_six_lines_of_python_run(tmp_path, monkeypatch):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for name in ("pre.tif", "post.tif"):
        (tmp_path / name).symlink_to(ROOT / "sample_data" / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {})
    assert len(gpd.read_file("buildings.geojson")) > 20
