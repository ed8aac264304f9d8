"""How a command line ends: its exit code, and one line on standard error for whatever is wrong."""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from .exit_codes import INTERRUPTED, USAGE

HELP_WIDTH_MAX: Final = 120
"""Columns of the help, on a terminal that has them. Longer lines are hard to read."""


class Refused(click.ClickException):
    """The program cannot start, and trying again does not help."""

    exit_code = USAGE


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `command` as the program `name`, and exit. `arguments` are by default those of the process."""
    try:
        code = command.main(
            arguments,
            prog_name=name,
            standalone_mode=False,
            help_option_names=["-h", "--help"],
            max_content_width=HELP_WIDTH_MAX,
        )
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else name
        click.echo(f"error: {error.format_message()} (try: {path} --help)", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    sys.exit(code)
