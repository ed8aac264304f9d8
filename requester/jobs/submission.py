"""The options of a job, and the message that submits one.

Options are checked here against the bounds of the wire, so that an error names the option in the line that gave it.
"""

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

import msgspec
from msgspec import UNSET, Struct

from ...protocol.codec import describe
from ...protocol.encodings import Encoding
from ...protocol.errors import BadRequest
from ...protocol.job_messages import Receipt, Schedule, Submit
from ..question import IfLost, Question
from ..wire import Target, Wire
from .times import Duration, Time, seconds, since_1970


class UniqueTerms(TypedDict, total=False):
    """At most one open job of its command and `key`.

    `until`: its first attempt has `started`, or it has `ended` (the default). `seconds`: for so long from its
    submission, if that is longer. `conflict`: what a second submission gets: the `existing` job (the default), or it
    does `replace` that one, or is refused with NotUnique (`reject`).
    """

    key: str
    until: Literal["started", "ended"]
    seconds: Duration
    conflict: Literal["existing", "replace", "reject"]


class Terms(TypedDict, total=False):
    """Under which terms a job runs. What is left out is the worker's declared default, or else the broker's.

    `priority`: 0 (lowest) to 9. `attempts`: how often it is tried, 1 to 100. `backoff`: the wait after a failure, or
    one for each, of which the last repeats. `timeout`: for one attempt, at most a week. `target`: a worker_id, or
    labels, as in Requester.call. `affinity`, `trace`: likewise. `key`: at most `key_limit` jobs of one key run at once.
    `keep`: how long it is kept after its end, with its result. `at_most_once`: it never runs a second time, not even if
    its worker was lost. `unique`: a key, or UniqueTerms.
    """

    priority: int
    attempts: int
    backoff: Duration | Sequence[Duration]
    timeout: Duration
    target: Target
    affinity: str
    trace: str
    key: str
    key_limit: int
    keep: Duration
    at_most_once: bool
    unique: str | UniqueTerms


class SubmitOptions(Terms, total=False):
    """The options of one job: its terms, and when it runs.

    `job_id`: the name of this work, 1 to 128 characters: submitted again with the same content it is the same job.
    `delay` or `run_at`: not before. `expires_at`: not after. `after`: job_ids (or jobs) that must be done first, at
    most 100.
    """

    job_id: str
    delay: Duration
    run_at: Time
    expires_at: Time
    after: Sequence[Any]


class ScheduleOptions(Terms, total=False):
    """The options of a schedule: the terms of its jobs, and when they run: exactly one of `cron`, `every` and `at`.

    `cron`: five fields, in the `time_zone` (an IANA name, by default UTC). `every`: an interval, at least a second.
    `at`: once. `overlap`: a run that is due before the last one has ended is left out (`skip`, the default), or waits
    for it (`queue`). `catch_up`: one run makes up for those that were due while the broker was down (the default).
    """

    cron: str
    every: Duration
    at: Time
    time_zone: str
    overlap: Literal["skip", "queue"]
    catch_up: bool


def _id_of(job: object) -> object:
    return getattr(job, "job_id", job)


def _each(one: Callable[[str, object], object]) -> Callable[[str, object], object]:
    """The same for a sequence as for one."""
    return lambda name, given: (
        [one(name, item) for item in given]
        if isinstance(given, Sequence) and not isinstance(given, str)
        else one(name, given)
    )


def _unique(name: str, given: object) -> object:
    if isinstance(given, Mapping):
        return {key: seconds(f"{name}.{key}", value) for key, value in given.items()}
    return given


_CONVERTED: Final[dict[str, Callable[[str, object], object]]] = {
    "after": _each(lambda name, job: _id_of(job)),
    "at": since_1970,
    "backoff": _each(seconds),
    "delay": seconds,
    "every": seconds,
    "expires_at": since_1970,
    "keep": seconds,
    "run_at": since_1970,
    "since": since_1970,
    "timeout": seconds,
    "unique": _unique,
    "until": since_1970,
}
"""Options that users give as other types than the wire has."""


def checked(message: type[Struct], fields: Mapping[str, object]) -> Any:
    """The `message` with these fields, those that are None left out. Raises BadRequest, which names the field, and
    TypeError for one that it does not have."""
    unknown = fields.keys() - set(message.__struct_fields__)
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    given = {
        name: _CONVERTED[name](name, value) if name in _CONVERTED else value
        for name, value in fields.items()
        if value is not None
    }
    for name, value in given.items():
        if isinstance(value, float) and math.isnan(value):  # within any bounds, and null in JSON
            raise BadRequest(f"{name}: not a number")
    try:
        return msgspec.convert(given, message)
    except msgspec.ValidationError as error:
        raise BadRequest(describe(error, Encoding.JSON)) from None


def new_job_id() -> str:
    """A job_id that no other requester makes: milliseconds since 1970, then 64 random bits. As in UUIDs of version 7
    (RFC 9562), later ones sort after earlier ones, which keeps the journal's index compact."""
    return f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(8)}"


def submission(
    wire: Wire, command: str, data: object, options: Mapping[str, object], timeout_s: float
) -> Question:
    """The question that submits a job. Raises BadRequest, TooLarge and TypeError."""
    for name in ("command", "request_id", "data", "receipts"):
        if name in options:
            raise TypeError(f"unexpected keyword argument {name!r}")
    job_id = options.get("job_id") or new_job_id()
    message = checked(Submit, {**options, "command": command, "job_id": job_id})
    if message.delay is not None and message.run_at is not None:
        raise BadRequest("delay, run_at: give one of them")
    if data is not UNSET:
        message.data = wire.raw(data)
    fate = f"job {message.job_id} may have been accepted; submitted again with job_id={message.job_id!r} it runs once"
    return Question(message, timeout_s, IfLost.ASK_AGAIN, fate)


def schedule(
    wire: Wire, name: str, command: str, data: object, options: Mapping[str, object], *, timeout_s: float
) -> Question:
    """The question that adds a schedule, or replaces the one of this name. Raises BadRequest, TooLarge, TypeError."""
    message = checked(Schedule, {**options, "name": name, "command": command})
    if [message.cron, message.every, message.at].count(None) != 2:
        raise BadRequest("cron, every, at: give exactly one of them")
    if data is not UNSET:
        message.data = wire.raw(data)
    return Question(message, timeout_s, IfLost.ASK_AGAIN, f"the schedule {name} may have been added")


def is_duplicate(receipt: Receipt, job_id: str, options: Mapping[str, object]) -> bool:
    """The job was there before this submission. A receipt says so, too, of what was only sent twice: under an id that
    was made here it can be nothing else."""
    was_made_here = not options.get("job_id")
    return receipt.duplicate and not (was_made_here and receipt.job_id == job_id)
