"""`geodamage options`."""

import json

import click

from geodamage._version import __version__
from geodamage.cli.arguments import metavar_of, takes
from geodamage.cli.tables import align
from geodamage.options.lookup import as_dict
from geodamage.options.table import TABLE


@click.command(name="options")
@takes("options")
def command(as_json: bool) -> None:
    """List the options of all commands.

    With --json, each command has its options in the order of its help, with type, bounds or
    choices, default, unit and help. `columns` names the options that a list of scenes may have.

    \u0008
    Example:
      geodamage options --json
    """
    if as_json:
        table = {"version": __version__, **as_dict()}
        click.echo(json.dumps(table, ensure_ascii=False, indent=2))
        return
    rows = [("option", "takes", "default", "commands")]
    for row in TABLE:
        default = f"{row.default}" if row.says_default else ""
        rows.append((row.flag, metavar_of(row), default, ", ".join(row.where)))
    click.echo("\n".join(align(rows, right=set())))
