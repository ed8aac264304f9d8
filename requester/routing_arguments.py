"""`--target`, `--label` and `--hedge`: the words of a command line that say where a request may run, and their meaning.

How they are written and what goes together; their bounds are the wire's (wire.py).
"""

from collections.abc import Sequence
from typing import Any

from ..protocol.errors import BadRequest
from .wire import OutgoingRequest, check_routing


class RoutingError(Exception):
    """Words that are not valid: one line that says which and why."""


def routing_from(
    target: str | None, labels: Sequence[str], hedge: str | None, *, idempotent: bool
) -> dict[str, Any]:
    """The options `target` and `hedge` of a request. Raises RoutingError.

    `target` is a worker_id. `labels` are of the form K=V; if a K is given twice, any one of its values matches.
    `hedge` is a number of seconds or a percentile, such as p95.
    """
    if target is not None and labels:
        raise RoutingError("--target names one worker, and --label any worker that has it: give one of them")
    if hedge is not None and not idempotent:
        raise RoutingError("--hedge needs --idempotent: the command may run twice")
    message = OutgoingRequest(
        None,
        "",
        idempotent=idempotent,
        target=target if target is not None else _labels(labels) or None,
        hedge=None if hedge is None else _seconds_or_text(hedge),
    )
    try:
        check_routing(message)
    except BadRequest as error:
        option = (
            "--label" if labels and error.text.startswith("target") else "--" + error.text.partition(":")[0]
        )
        raise RoutingError(f"{option}: {error.text.partition(': ')[2]}") from None
    return {"target": message.target, "hedge": message.hedge}


def _labels(words: Sequence[str]) -> dict[str, str | list[str]]:
    values: dict[str, list[str]] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise RoutingError(f"--label: {word!r} is not of the form K=V")
        values.setdefault(key, []).append(value)
    return {key: found if len(found) > 1 else found[0] for key, found in values.items()}


def _seconds_or_text(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word
