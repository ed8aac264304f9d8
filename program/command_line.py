"""How a command line ends: its exit code, and one line on standard error for whatever is wrong."""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from .exit_codes import FAILED, INTERRUPTED, SUCCESS, USAGE

HELP_WIDTH_MAX: Final = 120
"""Columns of the help, on a terminal that has them. Longer lines are hard to read."""


class Refused(click.ClickException):
    """The program cannot start, and trying again does not help."""

    exit_code = USAGE


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `command` as the program `name`, and exit. `arguments` are by default those of the process."""
    sys.exit(exit_code_of(command, name, arguments))


def exit_code_of(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run `command` as the program `name`, and return its exit code, with which it may have ended itself."""
    try:
        return _ended(command, name, arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED if end.code else SUCCESS


def _ended(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(
            arguments,
            prog_name=name,
            standalone_mode=False,
            help_option_names=["-h", "--help"],
            max_content_width=HELP_WIDTH_MAX,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return SUCCESS
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else name
        _print_error(f"{error.format_message()} (try: {path} --help)")
        return error.exit_code
    except click.ClickException as error:
        _print_error(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        _print_error(_describe(error))
        return FAILED
    return code if isinstance(code, int) else SUCCESS


def _print_error(text: str) -> None:
    """After the lines of the log that led to it, which a thread writes."""
    if "logging" in sys.modules:
        for handler in sys.modules["logging"].root.handlers:
            handler.flush()
    click.echo(f"error: {text}", err=True)


def _describe(error: OSError) -> str:
    if error.filename is None:
        is_of_cwd = isinstance(error, FileNotFoundError)  # any other file has a name
        return "the current directory has been removed: change to another one" if is_of_cwd else str(error)
    return f"{error.filename}: {(error.strerror or str(error)).lower()}"
