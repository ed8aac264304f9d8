"""Explains why a job waits, or where it runs: what `Jobs`, its journal and the core know of it, as plain values.

Reads, and changes nothing.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from msgspec import Raw

from ..protocol.encodings import Encoding
from ..protocol.errors import UnknownJob
from ..protocol.job_messages import Job, JobAnswer, JobView
from .core.core import Core
from .core.explain import explain, explain_workers
from .core.failure import Failure
from .core.ports import Piece
from .job_desk import JobDesk
from .jobs.ports import Find, JournalError, PlaceInLane, Query
from .jobs.rows import StoredJob
from .jobs.states import JobState

Answer = TypeVar("Answer")

ANSWER_S_MAX: Final = 3.0
"""How long the journal may take to answer: less than those who ask over HTTP wait."""

PLACE_MAX: Final = 10_000
"""How many of the jobs that go before one are counted."""

LISTED_COUNT_MAX: Final = 20
"""Other jobs that a job waits for, which are listed one by one."""


class JournalSilent(Exception):
    """The journal did not answer, or could not be read: one line."""


class Inquirer:
    """Asks `Jobs` for the view of a job, of any owner. `answered`: with the view, or with None if there is no such
    job."""

    encoding = Encoding.JSON
    owner = ""
    sees_all = True
    has_left = False

    def __init__(self) -> None:
        self.answered: asyncio.Future[JobView | None] = asyncio.get_running_loop().create_future()

    def answer(self, message: object) -> None:
        assert isinstance(message, JobAnswer)
        self._settle(message.job)

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        raise AssertionError("it follows nothing")

    def succeed(self, request_id: str, result: Raw, encoding: Encoding, worker_id: str) -> None:
        raise AssertionError("it waits for no result")

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        if failure.code == UnknownJob.code:
            self._settle(None)
        elif not self.answered.done():
            self.answered.set_exception(JournalSilent(failure.text))

    def _settle(self, view: JobView | None) -> None:
        if not self.answered.done():
            self.answered.set_result(view)


class JobExplainer:
    """Explains the jobs of one broker."""

    def __init__(self, desk: JobDesk, core: Core) -> None:
        self._desk = desk
        self._core = core

    async def explain(self, job_id: str, core_now: float) -> dict[str, Any] | None:
        """The explanation of a job; None if there is no such job. Raises JournalSilent."""
        inquirer = Inquirer()
        self._desk.jobs.view(inquirer, Job(job_id=job_id), self._desk.now())
        view = await self._within(inquirer.answered)
        return None if view is None else await self._explain(view, core_now)

    async def _explain(self, view: JobView, core_now: float) -> dict[str, Any]:
        now = self._desk.now()
        found = explain(self._core, view.job_id, core_now)
        requests = [request for request in found if request["is_job"]]
        workers = explain_workers(self._core, view.command, view.target, core_now)
        waits_for = await self._others(view)
        before_count = None
        if view.state == "accepted" and not requests:
            before_count = await self._before_count(view.job_id, now)
        explanation: dict[str, Any] = {
            "job_id": view.job_id,
            "command": view.command,
            "state": view.state,
            "owner": view.owner,
            "target": view.target,
            "priority": view.priority,
            "attempt": view.attempt,
            "attempts": view.attempts,
            "losses": view.losses,
            "age_s": round(max(0.0, now - view.submitted_at), 3),
            "run_at": view.run_at,
            "key": view.key,
            "schedule": view.schedule,
            "code": view.code,
            "worker_id": view.worker_id,
            "jobs_before_count": before_count,
            "jobs_before_count_is_exact": before_count is not None and before_count < PLACE_MAX,
            "waits_for": waits_for,
            "journal_error": self._desk.watch.error,
            **workers,
        }
        is_connected = view.worker_id in self._core.roster.workers
        explanation["summary"] = summary(view, explanation, requests, now, is_connected=is_connected)
        return explanation

    async def _others(self, view: JobView) -> list[dict[str, str]]:
        """The jobs that it waits for, with their states."""
        if view.state != "held":
            return []
        if view.after:
            found: list[StoredJob] = await self._read(Find(view.after))
            states = {job.new.job_id: JobState(job.change.state) for job in found}
            open_ids = [job_id for job_id in view.after if states.get(job_id) is not JobState.DONE]
        else:
            return self._holders(view.key or "")
        return [
            {"job_id": job_id, "state": states[job_id].name.lower() if job_id in states else "removed"}
            for job_id in open_ids[:LISTED_COUNT_MAX]
        ]

    def _holders(self, key: str) -> list[dict[str, str]]:
        """The jobs that take the places of a key. One that is `stopping` has ended, but its worker has not said so."""
        keys = self._desk.jobs.keys
        rows = [{"job_id": job_id, "state": "assigned"} for job_id in keys.holders(key)]
        rows += [{"job_id": job_id, "state": "stopping"} for job_id in keys.stopping(key)]
        return rows[:LISTED_COUNT_MAX]

    async def _before_count(self, job_id: str, now: float) -> int | None:
        found: list[StoredJob] = await self._read(Find([job_id]))
        if not found:
            return None
        new, change, *_ = found[0]
        rank = (-new.priority, change.run_at, new.seq)
        # The journal has them as waiting: that they have begun is written a little later.
        unrecorded = self._desk.jobs.lives.unrecorded
        begun_count = sum(job.new.lane == new.lane and job.rank < rank for job in unrecorded)
        count: int | None = await self._read(PlaceInLane(new.seq, now, PLACE_MAX))
        return count if count is None or count >= PLACE_MAX else max(0, count - begun_count)

    async def _read(self, query: Query) -> Any:
        """Raises JournalSilent."""
        read: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def answered(answer: object) -> None:
            if not read.done():
                read.set_result(answer)

        self._desk.journal.read(query, answered)
        answer = await self._within(read)
        if isinstance(answer, JournalError):
            raise JournalSilent(str(answer))
        return answer

    async def _within(self, future: asyncio.Future[Answer]) -> Answer:
        try:
            return await asyncio.wait_for(future, ANSWER_S_MAX)
        except TimeoutError:
            raise JournalSilent(f"the journal has not answered within {ANSWER_S_MAX:g} s") from None


def summary(
    view: JobView,
    explanation: dict[str, Any],
    requests: Sequence[dict[str, Any]],
    now: float,
    *,
    is_connected: bool,
) -> str:
    """What the job does, to complete "Job ID (COMMAND) ...". `requests`: its attempt, if the core has one."""
    if view.ended_at is not None:
        return _ended(view, now)
    if view.state == "assigned":
        return _assigned(view, now, is_connected=is_connected)
    if view.state == "held":
        return _held(view, explanation["waits_for"])
    if view.run_at is not None and view.run_at > now:
        after = f", after attempt {view.attempt} ended with {view.code}" if view.attempt and view.code else ""
        return f"waits until {_time(view.run_at)}, in {_duration(view.run_at - now)}{after}"
    if not explanation["matching_count"]:
        if explanation["workers_count"]:
            return f"waits for a worker: none of those that serve {view.command} matches its target, or they drain"
        return f"waits for a worker: none that is connected serves {view.command}"
    if requests:
        return f"is next and waits {requests[0]['waits_for']}"
    if explanation["jobs_before_count"]:
        count = explanation["jobs_before_count"]
        more = "" if explanation["jobs_before_count_is_exact"] else "or more "
        return f"waits for a free slot: {count:,} {more}{'job goes' if count == 1 else 'jobs go'} before it"
    return f"waits {view.reason or 'for a free slot'}"


def _ended(view: JobView, now: float) -> str:
    ended_s = max(0.0, now - (view.ended_at or now))
    why = f": {view.code}, after {_counted(view.attempt, 'attempt')}" if view.state == "dead" else ""
    return f"is {view.state}; it ended {_duration(ended_s)} ago{why}"


def _duration(duration_s: float) -> str:
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if duration_s >= 2 * size_s:
            return f"{duration_s / size_s:.1f} {unit}"
    return f"{duration_s:.0f} s"


def _assigned(view: JobView, now: float, *, is_connected: bool) -> str:
    attempt = f"attempt {view.attempt} of {view.attempts}"
    if not is_connected:
        return (
            f"waits for {view.worker_id} to come back, which had {attempt} when its connection was lost: for a few "
            "seconds, then it is assigned again"
        )
    since = "" if view.started_at is None else f", for {max(0.0, now - view.started_at):.1f} s"
    return f"runs at {view.worker_id}: {attempt}{since}"


def _held(view: JobView, others: Sequence[dict[str, str]]) -> str:
    names = ", ".join(f"{other['job_id']} ({other['state']})" for other in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    if view.after:
        return (
            f"waits until other jobs are done: {names}{more}" if names else "waits until other jobs are done"
        )
    verb = "has" if len(others) == 1 else "have"
    return f"waits for its turn with the key {view.key}" + (f": {names}{more} {verb} it" if names else "")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
