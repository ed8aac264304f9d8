"""`taskferry request`: its options, and what is wrong with them. `python -m taskferry.requester` does the same.

Knows names, bounds and help of the options; what they set in motion (program.py) is loaded only once it is needed, so
that `--help` is quick.
"""

import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..protocol import limits
from ..protocol.encodings import Encoding
from . import exit_codes
from .limits import BROKER_URL_DEFAULT, COUNT_MAX

Function = TypeVar("Function", bound=Callable[..., Any])

_EXIT_CODE_TABLE = "\n".join(f"  {code:<4} {meaning}" for code, meaning in exit_codes.MEANINGS.items())


def _option(name: str, *aliases: str, **attributes: Any) -> Callable[[Function], Function]:
    """An option that may also be given by environment: `--broker` by TASKFERRY_REQUEST_BROKER, and so on."""
    variable = "TASKFERRY_REQUEST_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *aliases, envvar=variable, show_envvar=True, **attributes)


@click.command(
    "request",
    short_help="Send a request and print its result.",
    epilog=f"\b\nExit codes:\n{_EXIT_CODE_TABLE}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("command")
@click.argument("words", metavar="[DATA]...", nargs=-1)
@_option(
    "--broker",
    metavar="URL",
    default=BROKER_URL_DEFAULT,
    show_default=True,
    help="The broker's requester port.",
)
@_option(
    "--timeout",
    type=click.FloatRange(0, limits.TIMEOUT_S_MAX, min_open=True),
    default=limits.TIMEOUT_S_DEFAULT,
    show_default=True,
    help="Seconds for each request.",
)
@_option(
    "--wait", is_flag=True, help="Keep trying to connect, within the timeout, if there is no broker yet."
)
@_option(
    "--idempotent",
    is_flag=True,
    help="The command may run more than once, as when a worker or a connection is lost.",
)
@_option(
    "--priority",
    type=click.IntRange(0, limits.PRIORITY_MAX),
    help=f"0 (lowest) to {limits.PRIORITY_MAX}.  [default: {limits.PRIORITY_DEFAULT}]",
)
@_option(
    "--affinity",
    metavar="KEY",
    help="Requests with the same key go to the same worker, where the broker's strategy knows how.",
)
@_option("--target", metavar="WORKER", help="The only worker that may run it.")
@_option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    help="What its worker must have. May be repeated; the same K again: any one of the values.",
)
@_option(
    "--hedge",
    metavar="SECONDS|p95",
    help="Send a second copy to another worker after so long, or at this percentile; the first answer counts.",
)
@_option(
    "--encoding",
    type=click.Choice([encoding.value for encoding in Encoding]),
    default=Encoding.JSON.value,
    show_default=True,
    help="How messages are written.",
)
@_option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the whole response (with --count: the summary) as one line.",
)
@_option("--raw", is_flag=True, help="Print a text as it is, without the quotes of JSON.")
@click.option(
    "--count", type=click.IntRange(1, COUNT_MAX), help="Send it so many times, and print a summary."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, limits.IN_FLIGHT_COUNT_MAX),
    help="With --count: so many at once.  [default: 1]",
)
@click.pass_context
def request(  # noqa: PLR0917 - click hands them over by name
    context: click.Context,
    command: str,
    words: tuple[str, ...],
    broker: str,
    timeout: float,
    wait: bool,
    idempotent: bool,
    priority: int | None,
    affinity: str | None,
    target: str | None,
    labels: tuple[str, ...],
    hedge: str | None,
    encoding: str,
    as_json: bool,
    raw: bool,
    count: int | None,
    concurrency: int | None,
) -> None:
    """Send COMMAND with DATA to a broker and print the result.

    \b
    DATA is one of
      '{"message": "Hello"}'     a JSON text
      message=Hello n=3          pairs; a value is JSON where it can be, else text
      @FILE                      a JSON file, or MessagePack where its name ends in .msgpack
      -                          JSON from standard input
    and {} when left out.

    The result is printed as JSON: indented and coloured on a terminal, else on one line.
    """
    from .arguments import DataError, data_from  # noqa: PLC0415  # loaded when needed: see the module's docstring
    from .client import Requester  # noqa: PLC0415
    from .program import Order, send_many, send_one  # noqa: PLC0415
    from .routing_arguments import RoutingError, routing_from  # noqa: PLC0415

    logging.getLogger("taskferry").setLevel(logging.CRITICAL)  # what matters of it is in the error line
    if math.isnan(timeout):
        raise click.UsageError("--timeout: nan is not a number of seconds")
    if concurrency is not None and count is None:
        raise click.UsageError("--concurrency needs --count")
    try:
        routing = routing_from(target, labels, hedge, idempotent=idempotent)
        data = data_from(words)
        requester = Requester(broker, encoding=encoding)
    except RoutingError as error:
        raise click.UsageError(str(error)) from None
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    except ValueError as error:
        raise click.UsageError(f"--broker: {error}") from None
    options = {"data": data, "timeout": timeout, "idempotent": idempotent, "priority": priority}
    options |= {"affinity": affinity, **routing}
    order = Order(requester, command, options, wait, as_json, raw)
    try:
        code = send_one(order) if count is None else send_many(order, count, concurrency or 1)
    except KeyboardInterrupt:
        code = exit_codes.INTERRUPTED
    context.exit(code)
