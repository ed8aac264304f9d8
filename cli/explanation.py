"""The output of `taskferry explain` for people: why a request waits, or which worker runs it."""

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from .tables import facts_table, rows_table, state_text


def explanation(answer: dict[str, Any]) -> Sequence[RenderableType]:
    """The answer of /api/requests/ID: for each request a sentence, its facts, and the workers that could run it.

    There may be several: an id is unique only per requester connection. Raises KeyError or TypeError for any other
    answer.
    """
    shown: list[RenderableType] = []
    for request in answer["requests"]:
        shown += [_headline(request), _facts(request)]
        if request["workers"]:
            shown.append(_workers(request))
    return shown


def waiting(answer: dict[str, Any]) -> Sequence[RenderableType]:
    """The answer of /api/requests: the requests that have waited longest. Raises KeyError or TypeError for others."""
    queued_count = answer["queued_count"]
    if not answer["requests"]:
        return [Text("No request waits for a free slot.")]
    table = rows_table("request", "command", numbers=("waiting", "time left", "priority"))
    table.add_column("waits for")
    for request in answer["requests"]:
        target = "" if request["target"] is None else f" ({_target(request['target'])})"
        table.add_row(
            Text(request["request_id"]),
            Text(request["command"]),
            f"{request['age_s']:.1f} s",
            f"{max(0.0, request['remaining_s']):.1f} s",
            str(request["priority"]),
            Text(request["waits_for"].removeprefix("for ") + target),
        )
    shown = len(answer["requests"])
    noun = "request waits" if queued_count == 1 else "requests wait"
    longest = f", the {shown} longest:" if queued_count > shown else ":"
    return [Text(f"{queued_count:,} {noun} for a free slot{longest}", style="bold"), table]


def _headline(request: dict[str, Any]) -> Text:
    what = "waits" if request["state"] == "waiting" else "is running and waits"
    sentence = f"Request {request['request_id']} ({request['command']}) {what} {request['waits_for']}"
    return Text(sentence.rstrip(".") + ".", style="bold")


def _facts(request: dict[str, Any]) -> RenderableType:
    facts = {
        "since": f"{request['age_s']:.1f} s",
        "time left": f"{max(0.0, request['remaining_s']):.1f} s",
        "priority": str(request["priority"]),
    }
    if request["position"] is not None:
        more = "" if request["position_is_exact"] else " or later"
        facts["place in line"] = f"{request['position']:,}{more}"
    if request["target"] is not None:
        facts["target"] = _target(request["target"])
    if request["is_overloaded"]:
        facts["overloaded"] = "yes: its workers cannot keep up, and the newest requests are served first"
    for assignment in request["assignments"]:
        name = "hedge at" if assignment["is_hedge"] else "at"
        facts[name] = f"{assignment['worker_id']}, for {assignment['assigned_s']:.1f} s"
    return facts_table(facts)


def _workers(request: dict[str, Any]) -> RenderableType:
    table = rows_table("worker", "state", numbers=("in flight",))
    table.add_column("can it take the request?")
    for worker in request["workers"]:
        table.add_row(
            Text(worker["worker_id"]),
            state_text(worker["state"]),
            f"{worker['in_flight']}/{worker['concurrency']}",
            Text(worker["reason"]),
        )
    more_count = request["workers_count"] - len(request["workers"])
    if more_count:
        table.add_row(f"and {more_count:,} more", style="dim")
    return table


def _target(target: str | dict[str, str | list[str]]) -> str:
    if isinstance(target, str):
        return target
    pairs = ((key, [value] if isinstance(value, str) else value) for key, value in target.items())
    return " ".join(f"{key}={'|'.join(values)}" for key, values in pairs)
