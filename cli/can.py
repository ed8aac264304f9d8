"""`taskferry can`: whether an identity may do something, and which rule says so."""

from pathlib import Path
from typing import Final

import click

from ..broker.access.identity import ANONYMOUS
from ..broker.access.rights import Action
from ..program.exit_codes import FAILED
from .access_options import access_options, read_access

SUBJECTS: Final = {
    Action.CALL: "COMMAND",
    Action.SERVE: "COMMAND",
    Action.TARGET: "WORKER or KEY=VALUE",
    Action.MESSAGE: "KIND",
    Action.WATCH: "TOPIC",
    Action.PUBLISH: "TOPIC",
    Action.JOBS: "own or all",
    Action.OBSERVE: "",
    Action.OPERATE: "",
}
"""What each action is about; empty for nothing."""


@click.command()
@click.argument("identity")
@click.argument("action", type=click.Choice([action.value for action in Action]))
@click.argument("subject", required=False)
@access_options
@click.pass_context
def can(
    context: click.Context,
    *,
    identity: str,
    action: str,
    subject: str | None,
    access: Path | None,
    config: Path | None,
) -> None:
    """Say whether IDENTITY may do something, and which rule of the access file says so.

    \b
    taskferry can alice call resize-image     send requests for a command
    taskferry can alice serve resize-image    be a worker for a command
    taskferry can alice target gpu=yes        choose the worker: its id, or a label
    taskferry can alice watch task:list       subscribe to a topic
    taskferry can alice publish news          publish to a topic
    taskferry can alice jobs all              see and cancel jobs: own or all
    taskferry can alice observe               read metrics and /api
    taskferry can alice operate               drain workers
    taskferry can anonymous call resize-image a client that presents nothing

    The rights that a JWT brings are in the token, and not counted here.

    Exit codes: 0 yes; 1 no; 2 the access file has an error, or the identity is not in it.
    """
    chosen = Action(action)
    needed = SUBJECTS[chosen]
    if needed and subject is None:
        raise click.UsageError(f"{action} needs a subject: {needed}", context)
    if not needed and subject is not None:
        raise click.UsageError(f"{action} has no subject", context)
    if chosen is Action.JOBS and subject not in ("own", "all"):
        raise click.UsageError("jobs: expected own or all", context)
    found = read_access(context, access, config)
    if identity != ANONYMOUS and identity not in found.policy.identities:
        raise click.UsageError(
            f"{identity!r} is not in {found.path}; `taskferry token list` shows who is", context
        )
    decision = found.policy.rights_of(identity).decide(chosen, subject or "")
    click.echo(f"{'yes' if decision.is_allowed else 'no'}: {decision.rule}")
    context.exit(0 if decision.is_allowed else FAILED)
