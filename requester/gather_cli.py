"""`taskferry gather` and `taskferry broadcast`: their options, and their errors.

What sends and prints (gather_program.py) is imported only when it is needed, so that `--help` is quick.
"""

from typing import Any, Final

import click

from ..program.options import program_options
from ..program.plain_options import option
from . import exit_codes
from .command_line import client_of, epilog, run
from .options import LOG_LEVEL_DEFAULT, REQUESTER

MEANINGS: Final = {
    **exit_codes.MEANINGS,
    0: "what was expected has come, and with --expect all everywhere a success",
    1: "the command failed somewhere",
    3: "timeout: some have no answer",
}
MEANINGS.pop(exit_codes.KEPT)

KIND_DEFAULT: Final = "message"
"""The kind of a message that names none."""


def _count(text: str | None, name: str) -> int | float | str | None:
    """What `--expect` or `--batch` says: a number, a share such as 50% or 0.5, or `all`."""
    if text is None or text == "all":
        return text
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text) if text.isdigit() else float(text)
    except ValueError:
        raise click.UsageError(
            f"{name}: {text!r} is no number, no share such as 50% or 0.5, and not all"
        ) from None


target_option = option("--target", metavar="WORKER", variables=REQUESTER.variables, help="Only this worker.")
label_option = option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    variables=REQUESTER.variables,
    help="Only workers with this label. May be repeated; for the same K, any of its values will do. "
    "--target K=V means the same.",
)


@click.command(
    "gather", short_help="Send a request to every worker and print their results.", epilog=epilog(MEANINGS)
)
@click.argument("command")
@click.argument("words", metavar="[DATA]...", nargs=-1)
@target_option
@label_option
@option(
    "--expect",
    metavar="all|N|SHARE",
    default_text="all",
    variables=REQUESTER.variables,
    help="When it is complete: all have ended, or so many (3), or this share of them (50% or 0.5), have succeeded.",
)
@option(
    "--batch",
    metavar="N|SHARE",
    default_text="all at once",
    variables=REQUESTER.variables,
    help="How many workers run it at once.",
)
@option(
    "--idempotent",
    is_flag=True,
    variables=REQUESTER.variables,
    help="The command may run more than once, if a connection is lost.",
)
@click.pass_context
def gather(
    context: click.Context,
    /,
    *,
    command: str,
    words: tuple[str, ...],
    target: str | None,
    labels: tuple[str, ...],
    expect: str | None,
    batch: str | None,
    idempotent: bool,
    **_: Any,
) -> None:
    """Send COMMAND with DATA to every worker that serves it, and print what each of them answers.

    DATA is as of `taskferry request`. On a terminal a table shows the workers as they answer; else, and with --json,
    each answer is a line of JSON: {"worker_id": ..., "success": true, "data": ...}.
    """
    from .arguments import DataError, data_from  # noqa: PLC0415  # as the module's docstring says
    from .gather_program import GatherOrder, run_gather  # noqa: PLC0415

    routing = _routing(target, labels)
    counts = {"expect": _count(expect or "all", "--expect"), "batch": _count(batch, "--batch")}
    try:
        data = data_from(words)
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    client = client_of(context)
    settings = client.settings
    options = {"timeout": settings.timeout_s, "idempotent": idempotent, **routing, **counts}
    order = GatherOrder(command, data, options, settings.as_json)
    run(context, client, lambda requester: run_gather(requester, order))


@click.command(
    "broadcast", short_help="Send a message to every worker.", epilog=epilog(exit_codes.JOB_MEANINGS)
)
@click.argument("message", nargs=-1, required=True)
@option(
    "--kind",
    default_text=KIND_DEFAULT,
    variables=REQUESTER.variables,
    help="What kind of message it is. Workers that do not handle it ignore it.",
)
@target_option
@label_option
@click.pass_context
def broadcast(
    context: click.Context,
    /,
    *,
    message: tuple[str, ...],
    kind: str | None,
    target: str | None,
    labels: tuple[str, ...],
    **_: Any,
) -> None:
    """Send MESSAGE to every worker that is connected. No worker answers.

    MESSAGE is JSON, or pairs (key=value ...), or a text. Workers handle it by @worker.message(KIND).
    """
    from .arguments import DataError, data_from  # noqa: PLC0415  # as above
    from .gather_program import run_broadcast  # noqa: PLC0415

    routing = _routing(target, labels)
    try:
        data = data_from(message) if _is_data(message) else " ".join(message)
    except DataError as error:
        raise click.UsageError(f"MESSAGE: {error}") from None
    client = client_of(context)
    settings = client.settings
    options = {"timeout": settings.timeout_s, **routing}
    run(
        context,
        client,
        lambda requester: run_broadcast(
            requester, kind or KIND_DEFAULT, data, options, as_json=settings.as_json
        ),
    )


def _is_data(words: tuple[str, ...]) -> bool:
    """They are JSON, a file or pairs, and no plain text."""
    from .arguments import JSON_BEGINS  # noqa: PLC0415  # as above

    if len(words) == 1 and (words[0] == "-" or words[0].startswith(("@", *JSON_BEGINS))):
        return True
    return all("=" in word and not word.startswith("=") for word in words)


def _routing(target: str | None, labels: tuple[str, ...]) -> dict[str, Any]:
    from .routing_arguments import RoutingError, routing_from  # noqa: PLC0415  # as above

    worker_id = target
    if target is not None and "=" in target:
        worker_id, labels = None, (target, *labels)
    try:
        return {"target": routing_from(worker_id, labels, None, idempotent=False)["target"]}
    except RoutingError as error:
        raise click.UsageError(str(error)) from None


for command_ in (gather, broadcast):
    command_.params[2:2] = [
        option_
        for option_ in program_options(REQUESTER, log_level_default=LOG_LEVEL_DEFAULT)
        if option_.name not in {"wait", "raw"}
    ]
