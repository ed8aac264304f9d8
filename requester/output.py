"""The lines that programs read: results, responses and summaries as JSON, and errors."""

from typing import Any

import msgspec

from ..log.printable import printable, printable_json
from ..protocol.errors import (
    CannotConnect,
    ConnectionLost,
    Forbidden,
    JobsOff,
    JournalFailed,
    NoAvailableWorkers,
)
from .bulk import Tally
from .response import Response

_HINTS = {
    CannotConnect.code: "Is a broker running there? Start one with: taskferry broker",
    ConnectionLost.code: "If it may run twice, --idempotent sends it again",
    Forbidden.code: "To see what an identity may do, on the broker's machine: taskferry can IDENTITY call COMMAND",
    JobsOff.code: "It runs with --journal none, or another broker has its journal: its first lines of log say which",
    JournalFailed.code: "Its disk is full, or failing: see its log, and taskferry status",
    NoAvailableWorkers.code: "To see which worker serves what: taskferry workers",
}


def json_line(value: Any) -> str:
    """A value as JSON on one line. What JSON cannot hold, such as a list as a key, becomes the text of its repr; what a
    terminal would obey is an escape."""
    try:
        line = msgspec.json.encode(value)
    except (TypeError, ValueError):
        line = msgspec.json.encode(repr(value))
    return printable_json(line.decode())


def data_line(data: Any, *, raw: bool) -> str:
    """A result as JSON on one line; with `raw`, a text as it is, without quotes."""
    return data if raw and isinstance(data, str) else json_line(data)


def response_line(response: Response) -> str:
    """The whole response as JSON."""
    return json_line(response_facts(response))


def response_facts(response: Response) -> dict[str, Any]:
    """The whole response, with the keys that it has on the wire."""
    keys = ("request_id", "success", "data", "error", "processed_by")
    members = {key: getattr(response, key) for key in keys}
    if not response.success:
        members["code"] = response.code
    if response.job_id is not None:
        members["job_id"] = response.job_id
    known = {
        "delivery": response.delivery,
        "queue_wait": response.queue_wait_s,
        "retry_after": response.retry_after_s,
    }
    return members | {key: value for key, value in known.items() if value is not None}


def error_line(failure: Response) -> str:
    """What went wrong, its code, which worker had the request, how far it got, and what to do about it. One printable
    line, whatever a handler wrote into its error."""
    text = failure.error or ""
    facts = [str(failure.code)]
    if failure.processed_by is not None:
        facts.append(failure.processed_by)
    if failure.delivery is not None and (delivery := failure.delivery.replace("_", " ")) not in text:
        facts.append(delivery)
    if failure.queue_wait_s:
        facts.append(f"waited {failure.queue_wait_s:.3g} s")
    if failure.retry_after_s is not None:
        facts.append(f"try again in {failure.retry_after_s:.3g} s")
    line = f"{text} [{', '.join(facts)}]"
    hint = _HINTS.get(failure.code or "")
    if failure.code == CannotConnect.code and "connection refused" not in text:
        hint = None  # something is there, and the text says what to do
    return printable(line if hint is None else f"{line}. {hint}")


def summary(tally: Tally) -> dict[str, Any]:
    """A tally for JSON: counts, requests per second, and durations in seconds."""
    ended_count = len(tally.durations_s)
    durations_s = zip(("p50", "p90", "p99", "max"), tally.percentiles_s(50, 90, 99, 100), strict=False)
    failed = sorted((code, count) for code, count in tally.counts.items() if code is not None)
    return {
        "requests": ended_count,
        "succeeded": tally.counts[None],
        "failed": dict(failed),
        **({"kept": tally.kept_count} if tally.kept_count else {}),
        "elapsed_s": round(tally.elapsed_s, 6),
        "requests_per_s": round(ended_count / tally.elapsed_s, 1) if ended_count else 0.0,
        "duration_s": {name: round(duration_s, 6) for name, duration_s in durations_s},
    }
