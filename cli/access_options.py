"""Where the commands that read an access file find it: `--access`, or what `--config` names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import click

from ..broker.identity.access_file import read_policy
from ..broker.identity.policy import Policy
from ..broker.settings import BROKER
from ..configuration.sources import ConfigurationError, Sources
from ..program.exit_codes import USAGE
from ..program.table_options import notes

ACCESS_VARIABLE = f"{BROKER.variables}ACCESS"
CONFIG_VARIABLE = f"{BROKER.variables}CONFIG"

Function = TypeVar("Function", bound=Callable[..., Any])


class AccessFile(NamedTuple):
    """An access file that has been read."""

    path: Path
    policy: Policy


def access_options(function: Function) -> Function:
    """The options `--access FILE` and `--config FILE`."""
    access = click.option(
        "--access",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar=ACCESS_VARIABLE,
        help="Access file of the broker." + notes("what --config names", None, ACCESS_VARIABLE),
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="Configuration file of the broker, which names its access file."
        + notes("", None, CONFIG_VARIABLE),
    )
    return access(config(function))


def read_access(context: click.Context, access: Path | None, config: Path | None) -> AccessFile:
    """The access file that these options name. Prints its errors and exits if it has any."""
    try:
        path = access or _named_by(config)
        if path is None:
            raise click.UsageError("there is no access file; name it with --access FILE", context)
        return AccessFile(path, read_policy(path))
    except ConfigurationError as error:
        fail(context, error)


def fail(context: click.Context, error: ConfigurationError) -> NoReturn:
    """Print each error on a line, and exit."""
    for line in error.lines:
        click.echo(f"error: {line}", err=True)
    context.exit(USAGE)


def _named_by(config: Path | None) -> Path | None:
    """The access file that a configuration file names. Raises ConfigurationError."""
    if config is None:
        return None
    found = Sources((BROKER,), config).read().values[BROKER.name]["access"]
    return None if found.value is None else Path(found.value)
