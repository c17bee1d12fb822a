"""The options of the commands are those of the table, and a new row is enough for a new one."""

import json
import runpy
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import geodamage
from geodamage.batch.entries import read_csv
from geodamage.cli import COMMANDS, main
from geodamage.errors import ManifestError, OptionError
from geodamage.options import lookup
from geodamage.options.kinds import Number
from geodamage.options.option import Option
from geodamage.options.table import TABLE

CLI = Path(geodamage.__file__).parent / "cli"


def commands_of(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Return all commands by the words that call them."""
    found = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = command
    return found


ALL = commands_of(main)


def test_every_command_of_the_table_is_there():
    assert {*lookup.commands()} <= ALL.keys()
    assert {name.split()[0] for name in ALL} == COMMANDS.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_command_has_the_options_of_the_table_in_their_order(name):
    taken = [param for param in ALL[name].params if isinstance(param, click.Option)]
    expected = list(lookup.options_of(name))
    assert [param.name for param in taken] == [option.key for option in expected]
    assert all(option.flag in param.opts for param, option in zip(taken, expected, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_a_command_says_all_of_the_table(name):
    result = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=300)
    text = " ".join(result.output.split())
    for option in lookup.options_of(name):
        assert option.flag in text
        assert option.help in text
        if option.says_default and option.default is not True:
            assert f"[default: {option.default}]" in text


def test_values_come_as_the_library_takes_them():
    words = ["a.tif", "b.tif", "-o", "c.gpkg", "--memory", "2GB", "--bands", "3,2,1", "--tile=64"]
    given = ALL["assess"].make_context("assess", words).params
    assert (given["memory"], given["bands"], given["tile"]) == (2e9, (3, 2, 1), 64)
    assert (given["output"], given["scale"], given["simplify"]) == (Path("c.gpkg"), None, 0.0)


def test_programs_are_told_of_options_that_make_no_sense():
    words = ["assess", "a.tif", "b.tif", "--tile", "0", "-o", "c.gpkg", "--progress", "json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert json.loads(result.stderr) == {
        "stage": "error", "message": "--tile 0: give a whole number, 1 or more", "code": 2,
    }  # fmt: skip
    result = CliRunner().invoke(main, ["assess", "a.tif", "-o", "c.gpkg", "--progress", "json"])
    assert "Missing argument 'POST'" in json.loads(result.stderr)["message"]


def test_a_shell_completes_words_and_files():
    options = {param.name: param for param in ALL["assess"].params}
    context = click.Context(ALL["assess"])
    found = options["tta"].type.shell_complete(context, options["tta"], "f")
    assert [item.value for item in found] == ["flips"]
    found = options["aoi"].type.shell_complete(context, options["aoi"], "a")
    assert [item.type for item in found] == ["file"]
    assert options["tile"].type.shell_complete(context, options["tile"], "") == []


def test_the_table_is_printed_for_people_and_for_programs():
    result = CliRunner().invoke(main, ["options"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(TABLE) + 1
    (line,) = (line for line in lines if line.startswith("--min-area "))
    assert line.split(maxsplit=3) == [
        "--min-area",
        "M2",
        "20.0",
        "assess, buildings, batch, evaluate",
    ]
    table = json.loads(CliRunner().invoke(main, ["options", "--json"]).stdout)
    assert table == {"version": geodamage.__version__, **lookup.as_dict()}


@dataclass(frozen=True)
class Sharpening:
    """What takes the option that is made up here."""

    sharpness: float = 0.5

    def __post_init__(self) -> None:
        lookup.check_fields(self)


def test_a_new_row_is_all_that_a_new_option_needs(monkeypatch, tmp_path):
    row = Option(
        name="sharpness", kind=Number(0, 1), default=0.5, metavar="S", column=True,
        takers=("Sharpening",), commands=("assess", "batch"), help="How sharp images are made.",
    )  # fmt: skip
    monkeypatch.setattr(lookup, "TABLE", (TABLE[0], row, *TABLE[1:]))
    monkeypatch.setitem(lookup.TAKERS, "Sharpening", "assess")
    # The commands have it, between the rows that it stands between, and say so.
    for name in row.where:
        command = runpy.run_path(str(CLI / f"{name}.py"))["command"]
        options = [param.name for param in command.params if isinstance(param, click.Option)]
        assert options[:2] == ["output", "sharpness"]
        text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
        assert "--sharpness S" in text
        assert "How sharp images are made.  [default: 0.5]" in text
    with pytest.raises(OptionError, match="--sharpness 2: give a number from 0 to 1"):
        command.make_context("batch", ["list.csv", "-o", "out", "--sharpness", "2"])
    # A list has it, with the same check.
    scenes = tmp_path / "list.csv"
    scenes.write_text("pre,post,sharpness\na.tif,b.tif,0.25\n")
    assert read_csv(scenes)[0].options == {"sharpness": 0.25}
    scenes.write_text("pre,post,sharpness\na.tif,b.tif,2\n")
    with pytest.raises(ManifestError, match="line 2: sharpness is '2'; give a number from 0 to 1"):
        read_csv(scenes)
    # What takes it is given it, and checks it.
    assert (
        Sharpening(**lookup.taken("Sharpening", "batch", {"sharpness": "0.75"})).sharpness == 0.75
    )
    with pytest.raises(OptionError, match="--sharpness -1: give a number from 0 to 1"):
        Sharpening(-1)
    # Programs are told of it.
    table = lookup.as_dict()
    assert "sharpness" in table["columns"]
    assert {"name": "sharpness", "maximum": 1}.items() <= table["commands"]["assess"][1].items()
