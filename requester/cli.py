"""`taskferry request`: its options, and their errors. `python -m taskferry.requester` does the same.

What sends a request (program.py) is imported only when it is needed, so that `--help` is quick.
"""

from typing import Any

import click

from ..configuration.kinds import Whole
from ..program.exit_codes import INTERRUPTED
from ..program.options import program_options
from ..program.plain_options import option
from ..protocol import limits
from . import exit_codes
from .command_line import client_of, epilog
from .options import CONCURRENCY_DEFAULT, COUNT_MAX, LOG_LEVEL_DEFAULT, REQUESTER


@click.command(
    "request",
    short_help="Send a request and print its result.",
    epilog=epilog(exit_codes.MEANINGS),
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
@option(
    "--otherwise",
    type=click.Choice(["submit"]),
    variables=REQUESTER.variables,
    help="submit: what cannot be delivered (no worker, overload, the broker is stopping, no free slot in time) is kept "
    "as a job; its job_id is printed instead of a result, and the exit code is 8. It runs at most once unless "
    "--idempotent.",
)
@click.option(
    "--each",
    "source",
    metavar="FILE.jsonl",
    help="Send a request for each line of this file, whose DATA it is as JSON (-: of standard input), and print a line "
    "of JSON for each outcome.",
)
@click.option(
    "--as-they-come",
    is_flag=True,
    help="With --each: print outcomes as they come, not in the order of the lines.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Print what the command sends before its result: a line of JSON for each chunk as it comes; on a terminal "
    "also a bar for its progress.",
)
@option("--count", kind=Whole(1, COUNT_MAX), help="Send it this many times, and print a summary.")
@option(
    "--concurrency",
    kind=Whole(1, limits.IN_FLIGHT_COUNT_MAX),
    default_text=f"1, with --each {CONCURRENCY_DEFAULT}",
    help="With --count or --each: how many at once.",
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
    otherwise: str | None,
    source: str | None,
    as_they_come: bool,
    stream: bool,
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

    The result is printed as JSON: indented and coloured on a terminal, else on one line. With --each, a line for each
    says what became of it: {"line": 7, "success": true, "data": ...}, or why it failed. With --stream, chunks come
    first, on one line each.
    """
    from .arguments import DataError, data_from  # noqa: PLC0415  # as the module's docstring says
    from .program import Order, keep_on_at_hangup, send_many, send_one  # noqa: PLC0415
    from .routing_arguments import RoutingError, routing_from  # noqa: PLC0415

    _check_together(context.params)
    client = client_of(context)
    settings = client.settings
    try:
        routing = routing_from(target, labels, hedge, idempotent=idempotent)
        data = data_from(words)
    except RoutingError as error:
        raise click.UsageError(str(error)) from None
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    options = {"data": data, "timeout": settings.timeout_s, "idempotent": idempotent, "priority": priority}
    options |= {"affinity": affinity, "otherwise": otherwise, **routing}
    order = Order(client.requester, command, options, settings.wait, settings.as_json, settings.raw)
    client.warn()
    keep_on_at_hangup()
    try:
        if source is not None:
            from .each import Lot, send_each  # noqa: PLC0415

            code = send_each(order, Lot(source, concurrency or CONCURRENCY_DEFAULT, not as_they_come))
        elif stream:
            from .streaming import stream_one  # noqa: PLC0415

            code = stream_one(order)
        else:
            code = send_one(order) if count is None else send_many(order, count, concurrency or 1)
    except KeyboardInterrupt:
        code = INTERRUPTED
    context.exit(code)


def _check_together(options: dict[str, Any]) -> None:
    """Raise UsageError for options that make no sense together."""
    source, count = options["source"], options["count"]
    if options["concurrency"] is not None and count is None and source is None:
        raise click.UsageError("--concurrency needs --count or --each")
    if source is not None and (options["words"] or count is not None):
        raise click.UsageError("--each takes its DATA from the file, once: leave out DATA and --count")
    if options["as_they_come"] and source is None:
        raise click.UsageError("--as-they-come needs --each")
    if options["stream"] and (source is not None or count is not None or options["otherwise"] is not None):
        raise click.UsageError("--stream is of one request: leave out --count, --each and --otherwise")


request.params[2:2] = program_options(REQUESTER, log_level_default=LOG_LEVEL_DEFAULT)
