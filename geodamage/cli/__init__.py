"""The command line: each command is a thin file that maps options to one library call.

Nothing heavy is imported before a command runs, so `--help` is instant.
"""

import gc
import re
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from geodamage._version import __version__
from geodamage.cli.progress import catch_signals
from geodamage.errors import GeodamageError, one_line

COMMANDS = {
    "assess": "Grade the damage of every building between two images.",
    "buildings": "Find the buildings of one image.",
    "batch": "Assess many scenes unattended, and resume after interruptions.",
    "footprints": "Collect building footprints from a file or published data.",
    "adapt": "Learn from reviewed buildings what damage looks like.",
    "regrade": "Grade results again with an event model, without the imagery.",
    "event": "Merge the results of many scenes into one layer of the event.",
    "sample": "Draw a sample of buildings for a person to review.",
    "estimate": "Estimate totals with intervals from a reviewed sample.",
    "export": "Write a result in the format and the schema that others use.",
    "compare": "Compare a result with an official layer of damage.",
    "report": "Write a result as a page that opens offline.",
    "evaluate": "Score a model over a folder of labelled pairs.",
    "score": "Score predictions against targets by the official xView2 metric.",
    "masks": "Draw xBD labels as masks, exactly like the official targets.",
    "georeference": "Make GeoTIFFs of xBD images from their labels.",
    "models": "List, show, import, optimise and time models.",
    "options": "List the options of all commands.",
}

INTERNAL_ERROR, RESOURCE_LIMIT, INTERRUPTED = 1, 7, 130


class Program(click.Group):
    """The group of all commands: imports them on demand and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands without importing them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"geodamage.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, again without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; what is wrong there is one line, too."""
        try:
            return super().parse_args(ctx, args)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            _fail(ctx, _said(error, ctx.command_path), error.exit_code)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes one line on stderr and an exit code."""
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            where = "geodamage" if error.ctx is None else error.ctx.command_path
            _fail(ctx, _said(error, where), error.exit_code)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            raise  # the reader of stdout, such as `head`, has seen enough; click ends quietly
        except (KeyboardInterrupt, click.Abort):
            _fail(ctx, f"interrupted; {_published()}", INTERRUPTED)
        except GeodamageError as error:
            if debug:
                raise
            _fail(ctx, one_line(error), error.exit_code)
        except MemoryError as error:
            if debug:
                raise
            _fail(ctx, f"out of memory ({error}); lower --memory or --batch-size", RESOURCE_LIMIT)
        except Exception as error:
            # The outermost boundary: whatever is left is our mistake, and the user gets one line.
            if debug:
                raise
            text = one_line(error) or "no message"
            _fail(
                ctx,
                f"internal error, {type(error).__name__}: {text}; run again as "
                "`geodamage --debug ...` and report the traceback",
                INTERNAL_ERROR,
            )


def _said(error: click.UsageError, where: str) -> str:
    """Return what is wrong with a command line, what may have been meant, and where help is."""
    message = error.format_message().rstrip(".").replace("\n", " ")
    # click says "'--x'. Did you mean '--y'?" and "'--x'. (Did you mean one of: '--y', '--z'?)".
    message = re.sub(r"\. \(?Did you mean (?:one of: )?(.*?)\?\)?$", r"; did you mean \1?", message)
    unknown = re.search(r"No such command '(.+?)'", message)
    near = get_close_matches(unknown[1], COMMANDS, 1) if unknown else []
    if near and "did you mean" not in message:
        message = f"{message}; did you mean '{near[0]}'?"
    if "unexpected extra argument" in message:
        message = re.sub(r"\((.*)\)$", lambda listed: f"({_few(listed[1].split(' '))})", message)
        message += "; quote a pattern, as in 'tiles/*.tif', so that it is one argument"
    return f"{message}{' See' if message.endswith('?') else '; see'} {where} --help"


def _few(names: list[str], most: int = 3) -> str:
    """Return the first of many names, and how many there are besides."""
    more = [] if len(names) <= most else [f"and {len(names) - most:,} more"]
    return " ".join([*names[:most], *more])


def _published() -> str:
    """Say what happened to the results; who has not written any has not imported the writer."""
    writer = sys.modules.get("geodamage.output.publication")
    paths = [] if writer is None else writer.PUBLISHED
    if not paths:
        return "no result was written"
    return f"{', '.join(str(path) for path in paths[-4:])} had been written completely"


def _fail(ctx: click.Context, message: str, code: int) -> None:
    report = ctx.meta.get("geodamage.error")
    if report is None:
        click.echo(f"geodamage: error: {message}", err=True)
    else:
        report(message, code)
    ctx.exit(code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geodamage")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """From a pre- and a post-disaster GeoTIFF to one polygon per building with its damage grade.

    Exit codes: 0 done; 1 internal error; 2 usage; 3 some scenes of a batch failed; 4 input
    refused; 5 model refused; 6 output failed; 7 resource limit; 130 interrupted.
    """
    catch_signals()
    if "geodamage.output.publication" in sys.modules:  # of an earlier command in this process
        sys.modules["geodamage.output.publication"].PUBLISHED.clear()


def run() -> None:
    """Run the program in a process of its own, which ends with it."""
    try:
        main()
    finally:
        # Else the interpreter looks through all modules for garbage before it ends: 0.2 s.
        gc.freeze()
