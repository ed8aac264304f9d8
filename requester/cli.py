"""`taskferry request`: its options, and their errors. `python -m taskferry.requester` does the same.

What sends a request (program.py) is imported only when it is needed, so that `--help` is quick.
"""

from dataclasses import replace
from typing import Any

import click

from ..configuration.kinds import Whole
from ..configuration.sources import DEFAULT, ConfigurationError
from ..credentials.settings import login_from, unprotected, unverified
from ..log.settings import LOG, LogSettings
from ..program.command_line import Refused
from ..program.exit_codes import INTERRUPTED
from ..program.options import program_options, sources_of
from ..program.plain_options import option
from ..protocol import limits
from . import exit_codes
from .options import COUNT_MAX, LOG_LEVEL_DEFAULT, REQUESTER, RequesterOptions

_EXIT_CODE_TABLE = "\n".join(f"  {code:<4} {meaning}" for code, meaning in exit_codes.MEANINGS.items())


@click.command(
    "request",
    short_help="Send a request and print its result.",
    epilog=f"\b\nExit codes:\n{_EXIT_CODE_TABLE}",
)
@click.argument("command")
@click.argument("words", metavar="[DATA]...", nargs=-1)
@option(
    "--idempotent",
    is_flag=True,
    variables=REQUESTER.variables,
    help="The command may run more than once, if a worker or a connection is lost.",
)
@option(
    "--priority",
    kind=Whole(0, limits.PRIORITY_MAX),
    default_text=str(limits.PRIORITY_DEFAULT),
    variables=REQUESTER.variables,
    help="Requests of a higher priority are served earlier.",
)
@option(
    "--affinity",
    metavar="KEY",
    variables=REQUESTER.variables,
    help="Send requests with the same key to the same worker, if the broker's strategy supports it.",
)
@option(
    "--target",
    metavar="WORKER",
    variables=REQUESTER.variables,
    help="Send it to this worker only.",
)
@option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    variables=REQUESTER.variables,
    help="Send it to a worker with this label. May be repeated; for the same K, any of its values will do.",
)
@option(
    "--hedge",
    metavar="SECONDS|p95",
    variables=REQUESTER.variables,
    help="Send a hedge to another worker after SECONDS, or at a percentile of recent durations; the first result "
    "is used.",
)
@option("--count", kind=Whole(1, COUNT_MAX), help="Send it this many times, and print a summary.")
@option(
    "--concurrency",
    kind=Whole(1, limits.IN_FLIGHT_COUNT_MAX),
    default_text="1",
    help="With --count: how many at once.",
)
@click.pass_context
def request(
    context: click.Context,
    /,
    *,
    command: str,
    words: tuple[str, ...],
    idempotent: bool,
    priority: int | None,
    affinity: str | None,
    target: str | None,
    labels: tuple[str, ...],
    hedge: str | None,
    count: int | None,
    concurrency: int | None,
    **_: Any,
) -> None:
    """Send COMMAND with DATA to a broker and print the result.

    \b
    DATA is one of
      '{"message": "Hello"}'  JSON
      message=Hello n=3       pairs, whose values are JSON if they can be, else text
      @FILE                   a file of JSON, or of MessagePack if named .msgpack
      -                       JSON from standard input
    and {} if left out.

    The result is printed as JSON: indented and coloured on a terminal, else on one line.
    """
    from .arguments import DataError, data_from  # noqa: PLC0415  # as the module's docstring says
    from .client import Requester  # noqa: PLC0415
    from .program import Order, keep_on_at_hangup, send_many, send_one  # noqa: PLC0415
    from .routing_arguments import RoutingError, routing_from  # noqa: PLC0415

    settings, log = _settings(context)
    if concurrency is not None and count is None:
        raise click.UsageError("--concurrency needs --count")
    try:
        login = login_from(settings)
    except ValueError as error:
        raise Refused(str(error)) from None
    try:
        routing = routing_from(target, labels, hedge, idempotent=idempotent)
        data = data_from(words)
        requester = Requester(settings.broker, encoding=settings.encoding, token=login.token, tls=login.tls)
    except RoutingError as error:
        raise click.UsageError(str(error)) from None
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    except ValueError as error:
        raise click.UsageError(f"--broker: {error}") from None
    options = {"data": data, "timeout": settings.timeout_s, "idempotent": idempotent, "priority": priority}
    options |= {"affinity": affinity, **routing}
    order = Order(requester, command, options, settings.wait, settings.as_json, settings.raw)
    keep_on_at_hangup()
    _warn(settings, is_logged=log.level != LOG_LEVEL_DEFAULT, has_token=requester.has_token)
    try:
        code = send_one(order) if count is None else send_many(order, count, concurrency or 1)
    except KeyboardInterrupt:
        code = INTERRUPTED
    context.exit(code)


def _warn(settings: RequesterOptions, *, is_logged: bool, has_token: bool) -> None:
    """Print what is unsafe about the connection, unless the requester's warnings are logged."""
    warnings = unverified(settings, settings.broker)
    if has_token and not is_logged:
        warnings += unprotected(settings.broker)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _settings(context: click.Context) -> tuple[RequesterOptions, LogSettings]:
    """The settings of the tables [requester] and [log]. Sets up logging, too."""
    from ..log.setup import set_up_logging  # noqa: PLC0415  # likewise

    try:
        configuration = sources_of(context, REQUESTER).read()
    except ConfigurationError as error:
        raise Refused(str(error)) from None
    log = configuration.settings(LOG)
    if configuration.values[LOG.name]["level"].source == DEFAULT:
        log = replace(log, level=LOG_LEVEL_DEFAULT)
    set_up_logging(log)
    return configuration.settings(REQUESTER), log


request.params[2:2] = program_options(REQUESTER, log_level_default=LOG_LEVEL_DEFAULT)
