"""What the broker publishes itself: the steps of requests, their progress, workers, jobs, and its own state.

A task is a request, by its request_id, or a job, by its job_id. Data and results are nobody's business here, but for
the chunks of those whose topic somebody subscribes to.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from ..protocol import errors
from ..protocol.codec import CODECS, DECODE_ERRORS
from ..protocol.encodings import Encoding
from .core.delivery.ending import REQUESTER_GONE, SUCCESS
from .core.fleet.route import Route, describe_target
from .core.fleet.worker import Worker, WorkerState
from .core.ports import Observer, Steps
from .core.request import Assignment, Request
from .jobs.rows import JobChange
from .jobs.states import JobState
from .topic_desk import TopicDesk
from .topics.sources import BROKER_STATUS, TASK_LIST, TASK_PROGRESS, TASK_STATUS, Source

CANCELLED_OUTCOMES: Final = (errors.Cancelled.code, REQUESTER_GONE)


class Report(Struct):
    """What a handler reports of its progress: `progress` from 0 to 1, and how much of how much."""

    progress: float | None = None
    text: str | None = None
    current: int | float | None = None
    total: int | float | None = None


class TaskProgress(Struct, omit_defaults=True):
    """The data of `task_progress`. `percentage`: 0 to 100. `completed`: all of it is done, as the handler says."""

    task_id: str
    command: str
    worker_id: str
    completed: bool = msgspec.field(default=False)
    percentage: float | None = None
    text: str | None = None
    current: int | float | None = None
    total: int | float | None = None


class TaskChunk(Struct):
    """The data of `task_chunk`. `sequence`: 1, 2, 3 ... within the attempt."""

    task_id: str
    command: str
    worker_id: str
    attempt: int
    sequence: int
    data: Raw


_DECODE: Final = {
    Encoding.JSON: msgspec.json.Decoder(Report).decode,
    Encoding.MSGPACK: msgspec.msgpack.Decoder(Report).decode,
}


class TaskSteps:
    """A listener of the core: publishes each step of each request."""

    __slots__ = ("_publish",)

    def __init__(self, desk: TopicDesk) -> None:
        self._publish = desk.publish

    def admitted(self, request: Request) -> None:
        self._list(request, "added")
        self._status(request, "accepted")

    def waits(self, request: Request) -> None:
        self._status(request, "waiting")

    def assigned(self, request: Request, assignment: Assignment, *, is_hedge: bool) -> None:
        self._status(request, "hedged" if is_hedge else "assigned", worker_id=assignment.worker.worker_id)

    def unassigned(self, request: Request, assignment: Assignment, outcome: str) -> None:
        self._status(request, "unassigned", worker_id=assignment.worker.worker_id, code=outcome)

    def ended(self, request: Request, outcome: str) -> None:
        if outcome == SUCCESS:
            self._status(request, "done")
        elif outcome in CANCELLED_OUTCOMES:
            self._status(request, "cancelled", code=outcome)
        else:
            self._status(request, "failed", code=outcome)
        self._list(request, "removed")

    def _status(self, request: Request, status: str, **more: str) -> None:
        call = request.call
        task_id = call.request_id
        data = {"task_id": task_id, "command": call.command, "status": status, **more}
        self._publish("task_status", (TASK_STATUS, f"task:{task_id}"), data)

    def _list(self, request: Request, action: str) -> None:
        call = request.call
        data = {"task_id": call.request_id, "command": call.command, "action": action}
        self._publish("task_list", (TASK_LIST,), data)


class BothSteps:
    """Two listeners of the core, in this order."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Steps, second: Steps) -> None:
        self._first = first
        self._second = second

    def admitted(self, request: Request) -> None:
        self._first.admitted(request)
        self._second.admitted(request)

    def waits(self, request: Request) -> None:
        self._first.waits(request)
        self._second.waits(request)

    def assigned(self, request: Request, assignment: Assignment, *, is_hedge: bool) -> None:
        self._first.assigned(request, assignment, is_hedge=is_hedge)
        self._second.assigned(request, assignment, is_hedge=is_hedge)

    def unassigned(self, request: Request, assignment: Assignment, outcome: str) -> None:
        self._first.unassigned(request, assignment, outcome)
        self._second.unassigned(request, assignment, outcome)

    def ended(self, request: Request, outcome: str) -> None:
        self._first.ended(request, outcome)
        self._second.ended(request, outcome)


class JobStates:
    """A listener of jobs: publishes each state that is on disk."""

    __slots__ = ("_publish",)

    def __init__(self, desk: TopicDesk) -> None:
        self._publish = desk.publish

    def job_written(self, job_id: str, command: str, owner: str, change: JobChange) -> None:
        data: dict[str, object] = {
            "job_id": job_id,
            "command": command,
            "owner": owner,
            "state": JobState(change.state).name.lower(),
            "attempt": change.attempt,
        }
        if change.worker_id is not None:
            data["worker_id"] = change.worker_id
        if change.code is not None:
            data["code"] = change.code
        self._publish("job_status", (f"job:{job_id}",), data)


class TopicObserver:
    """An observer of the core that publishes what `then`, another one, is notified of; and what the sessions of workers
    and the broker report."""

    __slots__ = ("_desk", "_then")

    def __init__(self, desk: TopicDesk, then: Observer) -> None:
        self._desk = desk
        self._then = then

    # --- from the core ---

    def worker_moved(self, worker: Worker, before: WorkerState) -> None:
        self._then.worker_moved(worker, before)
        if self._desk.wants(Source.WORKERS):
            data = {
                "worker_id": worker.worker_id,
                "state": worker.state.value,
                "before": before.value,
                "reason": worker.verdict,
            }
            self._desk.publish("worker_status", (f"worker:{worker.worker_id}",), data)

    def overload_changed(self, route: Route) -> None:
        self._then.overload_changed(route)
        if self._desk.wants(Source.BROKER):
            data = {
                "command": route.command.name,
                "target": "" if route.target is None else describe_target(route.target),
                "is_overloaded": route.waiting.is_overloaded,
                "waiting": route.waiting.count,
            }
            self._desk.publish("broker_overload", ("broker:overload",), data)

    # --- from the sessions of workers ---

    def worker_joined(self, worker: Worker) -> None:
        """It has connected."""
        if self._desk.wants(Source.WORKERS):
            data = {
                "worker_id": worker.worker_id,
                "state": worker.state.value,
                "identity": worker.identity,
                "commands": [command.name for command in worker.commands],
                "concurrency": worker.concurrency,
            }
            self._desk.publish("worker_joined", (f"worker:{worker.worker_id}",), data)

    def worker_left(self, worker_id: str, reason: str) -> None:
        """Its connection is lost."""
        if self._desk.wants(Source.WORKERS):
            data = {"worker_id": worker_id, "reason": reason}
            self._desk.publish("worker_left", (f"worker:{worker_id}",), data)

    def progressed(self, worker: Worker, msg_id: str, data: Raw, encoding: Encoding) -> None:
        """A handler reports its progress. Call it only if Source.PROGRESS is wanted."""
        assignment = worker.assignments.get(msg_id)
        request = None if assignment is None else assignment.request
        if request is None:
            return
        try:
            report = _DECODE[encoding](data)
        except DECODE_ERRORS:
            return  # it is the worker's own; whoever gets it as it is may know it
        task_id = request.call.request_id
        progress = TaskProgress(
            task_id,
            request.call.command,
            worker.worker_id,
            report.progress == 1 or (report.total is not None and report.current == report.total),
            None if report.progress is None else round(report.progress * 100, 3),
            report.text,
            report.current,
            report.total,
        )
        self._desk.publish("task_progress", (TASK_PROGRESS, f"task:{task_id}"), progress, task_id)

    def sent(self, worker: Worker, msg_id: str, sequence: int, data: Raw, encoding: Encoding) -> None:
        """A handler has sent a chunk. Call it only if Source.CHUNKS is wanted."""
        assignment = worker.assignments.get(msg_id)
        request = None if assignment is None else assignment.request
        if request is None:
            return
        call = request.call
        topic = f"chunk:{call.request_id}"
        if self._desk.hub.has_topic(topic):
            chunk = TaskChunk(
                call.request_id, call.command, worker.worker_id, request.attempt_number, sequence, data
            )
            self._desk.publish_raw("task_chunk", (topic,), Raw(CODECS[encoding].encode(chunk)), encoding)

    # --- from the broker ---

    def broker_changed(self, status: str) -> None:
        """`draining`, `reloaded`, `access_reloaded`."""
        if self._desk.wants(Source.BROKER):
            self._desk.publish("broker_status", (BROKER_STATUS,), {"status": status})


def own_data(data: Raw | msgspec.UnsetType, encoding: Encoding) -> Raw:
    """What somebody publishes; null if nothing. A copy: a Raw keeps its whole message in memory."""
    return data.copy() if isinstance(data, Raw) else CODECS[encoding].null
