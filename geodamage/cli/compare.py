"""`geodamage compare`."""

import click
from geodamage.cli.arguments import takes


@click.command(name="compare")
@takes("compare")
def command(**options):
    """Later."""
