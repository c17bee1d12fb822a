import re
from pathlib import Path

import geopandas as gpd
import pytest
from click.testing import CliRunner

from geodamage.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--help"], terminal_width=200)
    assert result.exit_code == 0
    return result.output


def test_every_option_in_the_readme_is_one_of_a_command():
    used = set(re.findall(r"`(--[a-z-]+)", README))
    helps = [help_of(name) for name in COMMANDS]
    known = set(re.findall(r"(--[a-z-]+)", "\n".join([*helps, help_of("models", "import")])))
    assert used
    assert used <= known


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
