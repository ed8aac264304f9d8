"""`taskferry console`: its options, and the first look at the broker."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from ...broker.storage.location import state_folder
from ...configuration.url import without_secrets
from ...requester.options import BROKER_URL_DEFAULT
from ..http_port import HttpPort, HttpPortError, fail, http_options

BROKER_VARIABLE: Final = "TASKFERRY_REQUEST_BROKER"
LOGIN_VARIABLES: Final = ("TOKEN_FILE", "CA", "CERTIFICATE", "KEY", "INSECURE_SKIP_VERIFY")
"""Of the families TASKFERRY_HTTP and TASKFERRY_REQUEST: the console passes its own options on to what it runs."""

HISTORY_NAME: Final = "console-history"


@click.command()
@click.option(
    "--broker",
    "broker_url",
    metavar="URL",
    default=BROKER_URL_DEFAULT,
    envvar=BROKER_VARIABLE,
    help=f"Requester port of the broker.  [default: {BROKER_URL_DEFAULT}; env: {BROKER_VARIABLE}]",
)
@click.option("--no-history", is_flag=True, help="Neither read nor keep what is typed.")
@http_options
@click.pass_context
def console(context: click.Context, /, *, broker_url: str, no_history: bool, port: HttpPort) -> None:
    """Operate a running broker from a prompt: see who is connected, send requests and messages, watch, drain, explain.

    Type help for what there is. Tab completes commands, workers, topics and keys; Ctrl-C ends what runs, Ctrl-D or quit
    the console. From a pipe it reads lines, and its exit code is that of the last one that failed.

    Exit codes: 0 left as asked; 1, 2 and others: see above; 5 cannot connect; 6 not authenticated, or not allowed.
    """
    try:
        version = str(port.ask("/api/status")["version"])
    except HttpPortError as error:
        fail(context, error)
    except (LookupError, TypeError):
        version = "?"
    os.environ |= passed_on(context, broker_url, port.url)
    greeting = f"taskferry broker {version} at {without_secrets(broker_url)}"
    context.exit(serve(port, greeting, history=None if no_history else history_path()))


console.params = [parameter for parameter in console.params if parameter.name != "as_json"]


def serve(
    port: HttpPort, greeting: str, *, history: Path | None, is_over: Callable[[], bool] = lambda: False
) -> int:
    """Run the console against the broker that the environment names; see Shell. Returns the exit code."""
    from ..main import taskferry  # noqa: PLC0415  which imports this module by name
    from .shell import Shell  # noqa: PLC0415  prompt_toolkit is slow to import, and --help needs none

    return Shell(taskferry, port, is_over).run(history, greeting)


def passed_on(context: click.Context, broker_url: str, http_url: str) -> dict[str, str]:
    """The environment in which every command reaches this broker, with the login options of this one."""
    variables = {BROKER_VARIABLE: broker_url, "TASKFERRY_HTTP": http_url}
    for name in LOGIN_VARIABLES:
        value = context.params.get(name.lower())
        if value:
            variables |= {f"TASKFERRY_{family}_{name}": str(value) for family in ("HTTP", "REQUEST")}
    return variables


def history_path() -> Path | None:
    """Where the lines typed are kept; None if this user has no home directory."""
    try:
        return state_folder(os.environ, Path.home(), sys.platform) / "taskferry" / HISTORY_NAME
    except RuntimeError:
        return None
