"""The options of `taskferry submit` and `taskferry schedule add` that say under which terms a job runs."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from ...configuration.kinds import Whole
from ...program.plain_options import option
from ...protocol import limits
from .words import Duration, Durations

Function = TypeVar("Function", bound=Callable[..., Any])

DURATION: Final[dict[str, Any]] = {"type": Duration(), "metavar": "DURATION"}

_OPTIONS: Final = (
    option(
        "--priority",
        kind=Whole(0, limits.PRIORITY_MAX),
        default_text=str(limits.PRIORITY_DEFAULT),
        help="Jobs of a higher priority run earlier.",
    ),
    option(
        "--attempts",
        kind=Whole(1, limits.ATTEMPTS_COUNT_MAX),
        default_text=f"the worker's, or {limits.ATTEMPTS_COUNT_DEFAULT}",
        help="How often it is tried.",
    ),
    click.option(
        "--backoff",
        type=Durations(),
        metavar="DURATION[,DURATION...]",
        help="The wait after each failure; the last one repeats.  [default: the worker's, or 1s, 16s, 81s, ...]",
    ),
    click.option(
        "--timeout",
        "attempt_timeout",
        **DURATION,
        help="The time for one attempt.  [default: the worker's, or 1h]",
    ),
    click.option("--target", metavar="WORKER", help="Run it on this worker only."),
    click.option(
        "--label",
        "labels",
        metavar="K=V",
        multiple=True,
        help="Run it on a worker with this label. May be repeated; for the same K, any of its values will do.",
    ),
    click.option(
        "--affinity",
        metavar="KEY",
        help="Run jobs with the same key on the same worker, if the broker's strategy supports it.",
    ),
    click.option("--job-key", metavar="KEY", help="At most --key-limit jobs of one KEY run at once."),
    option("--key-limit", kind=Whole(1, limits.KEY_LIMIT_MAX), default_text="1", help="With --job-key."),
    click.option(
        "--unique", metavar="KEY", help="At most one open job of this command and KEY; see --conflict."
    ),
    click.option(
        "--unique-until",
        type=click.Choice(["started", "ended"]),
        help="With --unique: a job is open until it has started, or ended.  [default: ended]",
    ),
    click.option(
        "--unique-for", **DURATION, help="With --unique: it counts as open for so long from its submission."
    ),
    click.option(
        "--conflict",
        type=click.Choice(["existing", "replace", "reject"]),
        help="With --unique: keep the existing job, replace it, or fail.  [default: existing]",
    ),
    click.option(
        "--keep",
        **DURATION,
        help="How long it is kept after its end, with its result.  [default: 1d; dead: 7d]",
    ),
    click.option(
        "--at-most-once", is_flag=True, help="Never run it a second time, not even if its worker was lost."
    ),
)


def term_options(function: Function) -> Function:
    """Give a command these options."""
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


def terms_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The terms, as the SDK takes them, that the options stand for. Raises UsageError if two contradict each other."""
    from ..routing_arguments import RoutingError, routing_from  # noqa: PLC0415  for a quick --help

    try:
        target = routing_from(given["target"], given["labels"], None, idempotent=False)["target"]
    except RoutingError as error:
        raise click.UsageError(str(error)) from None
    if given["key_limit"] is not None and given["job_key"] is None:
        raise click.UsageError("--key-limit needs --job-key")
    terms = {
        name: given[name] for name in ("priority", "attempts", "backoff", "affinity", "keep", "key_limit")
    }
    terms |= {"timeout": given["attempt_timeout"], "target": target, "key": given["job_key"]}
    terms |= {"at_most_once": given["at_most_once"] or None, "unique": _unique(given)}
    return {name: value for name, value in terms.items() if value is not None}


def _unique(given: Mapping[str, Any]) -> dict[str, Any] | None:
    terms = {
        "until": given["unique_until"],
        "seconds": given["unique_for"],
        "conflict": given["conflict"],
    }
    terms = {name: value for name, value in terms.items() if value is not None}
    if given["unique"] is None:
        if terms:
            raise click.UsageError("--unique-until, --unique-for and --conflict need --unique")
        return None
    return {"key": given["unique"], **terms}
