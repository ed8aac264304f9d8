"""The output of `taskferry explain` for people: why a request or a job waits, or which worker runs it."""

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ..program.fitted_table import Column, fitted
from .tables import duration, facts_table, numbers, state_text, texts


def explanation(answer: dict[str, Any]) -> Sequence[RenderableType]:
    """The answer of /api/explain/ID: for a job, and for each request, a sentence, its facts, and the workers that could
    run it.

    There may be several requests: an id is unique only per requester connection. The attempt of a job is a request,
    too. Raises KeyError or TypeError for any other answer.
    """
    shown: list[RenderableType] = []
    job = answer["job"]
    if job is not None:
        shown += [_job_headline(job), _job_facts(job)]
        if job["workers"] and job["state"] == "accepted" and not answer["requests"]:
            shown.append(_workers(job, "job"))
    for request in answer["requests"]:
        shown += [_headline(request), _facts(request)]
        if request["workers"]:
            shown.append(_workers(request, "job" if request.get("is_job") else "request"))
    return shown


def waiting(answer: dict[str, Any]) -> Sequence[RenderableType]:
    """The answer of /api/explain: the requests that wait and run longest, the jobs that have waited longest, and the
    last failures. Raises KeyError or TypeError for others."""
    jobs = [] if answer["jobs"] is None else _waiting_jobs(answer["jobs"])
    return [*_waiting_requests(answer), *_running_requests(answer), *jobs, *_failures(answer)]


def _running_requests(answer: dict[str, Any]) -> Sequence[RenderableType]:
    rows = answer.get("running")  # older brokers do not say
    if not rows:
        return []
    columns = (
        texts("request", map(_id, rows)),
        texts("command", (row["command"] for row in rows)),
        numbers("running", (f"{row['running_s']:.1f} s" for row in rows)),
        numbers("time left", map(_time_left, rows), rank=1),
        texts("worker", (row["worker_id"] for row in rows)),
    )
    table = fitted(columns, wraps=True, keeps_words=True)
    count, shown = answer["running_count"], len(rows)
    noun = "request runs" if count == 1 else "requests run"
    longest = f", the {shown} longest:" if count > shown else ":"
    return [Text(f"{count:,} {noun}{longest}", style="bold"), table]


def _failures(answer: dict[str, Any]) -> Sequence[RenderableType]:
    rows = answer.get("failures")
    if not rows:
        return []
    columns = (
        texts("command", (row["command"] for row in rows)),
        texts("code", (row["code"] for row in rows)),
        numbers("failed", (f"{row['count']:,}" for row in rows), rank=2),
        texts("last", (f"{duration(row['ago_s'])} ago" for row in rows), rank=1),
        texts("request", (row["request_id"] for row in rows), rank=4),
        texts("worker", (row["worker_id"] or "" for row in rows), rank=3),
        texts("error", (row["error"] or "see the log of its worker" for row in rows)),
    )
    table = fitted(columns, wraps=True, names_missing=True)
    return [Text("The last failures of each command:", style="bold"), table]


def _waiting_jobs(jobs: dict[str, Any]) -> Sequence[RenderableType]:
    ready_count = jobs["states"]["ready"]
    if not jobs["oldest"]:
        return [Text("No job waits for a worker.")]
    rows = jobs["oldest"]
    columns = (
        texts("job", (row["job_id"] for row in rows)),
        texts("command", (row["command"] for row in rows)),
        numbers("ready for", (duration(row["ready_s"]) for row in rows)),
        numbers("priority", (str(row["priority"]) for row in rows), rank=2),
        numbers("attempts", (str(row["attempt"]) for row in rows), rank=1),
    )
    table = fitted(columns, wraps=False)
    shown = len(jobs["oldest"])
    longest = f", the {shown} that have waited longest:" if ready_count > shown else ":"
    noun = "job is" if ready_count == 1 else "jobs are"
    return [Text(f"{ready_count:,} {noun} ready for a worker{longest}", style="bold"), table]


def _waiting_requests(answer: dict[str, Any]) -> Sequence[RenderableType]:
    queued_count = answer["queued_count"]
    if not answer["requests"]:
        return [Text("No request waits for a free slot.")]
    rows = answer["requests"]
    columns = (
        texts("request", map(_id, rows)),
        texts("command", (row["command"] for row in rows)),
        numbers("waiting", (f"{row['age_s']:.1f} s" for row in rows)),
        numbers("time left", map(_time_left, rows), rank=2),
        numbers("priority", (str(row["priority"]) for row in rows), rank=1),
        texts("waits for", map(_reason, rows)),
    )
    table = fitted(columns, wraps=True)
    rules = dict.fromkeys(row["waits_for"].partition("; ")[2] for row in rows)
    notes = [Text(f"{rule[:1].upper()}{rule[1:]}.", style="dim") for rule in rules if rule]
    shown = len(rows)
    noun = "request waits" if queued_count == 1 else "requests wait"
    longest = f", the {shown} longest:" if queued_count > shown else ":"
    return [Text(f"{queued_count:,} {noun} for a free slot{longest}", style="bold"), table, *notes]


def _id(request: dict[str, Any]) -> str:
    return f"job {request['request_id']}" if request.get("is_job") else str(request["request_id"])


def _reason(request: dict[str, Any]) -> str:
    """What it waits for, without the rule behind that, which is the same for all."""
    target = "" if request["target"] is None else f" ({_target(request['target'])})"
    return str(request["waits_for"].partition("; ")[0].removeprefix("for ")) + target


def _job_headline(job: dict[str, Any]) -> Text:
    return Text(f"Job {job['job_id']} ({job['command']}) {job['summary']}.", style="bold")


def _job_facts(job: dict[str, Any]) -> RenderableType:
    facts = {
        "submitted": f"{duration(job['age_s'])} ago, by {job['owner']}",
        "attempts": f"{job['attempt']} of {job['attempts']}",
        "priority": str(job["priority"]),
    }
    if job["losses"]:
        facts["workers lost"] = str(job["losses"])
    if job["jobs_before_count"] is not None:
        more = "" if job["jobs_before_count_is_exact"] else " or later"
        facts["place in line"] = f"{job['jobs_before_count'] + 1:,}{more}"
    if job["target"] is not None:
        facts["target"] = _target(job["target"])
    for name in ("key", "schedule"):
        if job[name] is not None:
            facts[name] = job[name]
    if job["waits_for"]:
        facts["waits for"] = "\n".join(f"{other['job_id']} ({other['state']})" for other in job["waits_for"])
    if job["journal_error"] is not None:
        facts["journal"] = f"failing, so nothing that happens now is kept yet: {job['journal_error']}"
    return facts_table(facts)


def _headline(request: dict[str, Any]) -> Text:
    what = "waits" if request["state"] == "waiting" else "is running and waits"
    name = (
        "Its attempt" if request.get("is_job") else f"Request {request['request_id']} ({request['command']})"
    )
    sentence = f"{name} {what} {request['waits_for']}"
    return Text(sentence.rstrip(".") + ".", style="bold")


def _time_left(request: dict[str, Any]) -> str:
    """A job waits for as long as it takes."""
    remaining_s = request["remaining_s"]
    return "any" if remaining_s is None else f"{max(0.0, remaining_s):.1f} s"


def _facts(request: dict[str, Any]) -> RenderableType:
    facts = {
        "since": f"{request['age_s']:.1f} s",
        "time left": _time_left(request),
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


def _workers(request: dict[str, Any], what: str) -> RenderableType:
    rows = request["workers"]
    columns = (
        texts("worker", (row["worker_id"] for row in rows)),
        Column("state", [state_text(row["state"]) for row in rows], rank=1),
        numbers("in flight", (f"{row['in_flight']}/{row['concurrency']}" for row in rows), rank=2),
        texts(f"can it take the {what}?", (row["reason"] for row in rows)),
    )
    table = fitted(columns, wraps=True)
    more_count = request["workers_count"] - len(request["workers"])
    if more_count:
        table.add_row(f"and {more_count:,} more", style="dim")
    return table


def _target(target: str | dict[str, str | list[str]]) -> str:
    if isinstance(target, str):
        return target
    pairs = ((key, [value] if isinstance(value, str) else value) for key, value in target.items())
    return " ".join(f"{key}={'|'.join(values)}" for key, values in pairs)
