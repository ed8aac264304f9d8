"""One requester's messages about jobs: whether it may, and which call of `Jobs` each means.

Also the requests that are to become jobs if they cannot be delivered.
"""

from typing import Final

from msgspec import UNSET, Raw

from ..protocol import errors, job_messages, messages
from ..protocol.limits import TARGET_VALUES_COUNT_MAX
from .access.gate import Gate
from .access.rights import JOBS_ALL, JOBS_OWN, Action
from .core.call import Call, Target
from .core.delivery.failures import LARGE_TARGET
from .core.failure import Failure
from .core.fleet.route import values_count
from .job_desk import JobDesk
from .jobs.ports import Asker

OFF: Final = Failure(errors.JobsOff.code, errors.JobsOff.message, None, errors.NOT_DELIVERED)

OTHERWISE_CODES: Final = frozenset(
    error.code
    for error in (errors.NoAvailableWorkers, errors.Overloaded, errors.ShuttingDown, errors.WorkerTimeout)
)
"""Failures that a job is spared: it waits until there is a worker with room."""

JobMessage = (
    job_messages.Submit
    | job_messages.Job
    | job_messages.Await
    | messages.Cancel
    | job_messages.Retry
    | job_messages.Remove
    | job_messages.ListJobs
    | job_messages.Schedule
    | job_messages.ScheduleAction
    | job_messages.Greeting
    | job_messages.Ack
)


class JobRequests:
    """`asker` is answered, or its requests' `kept` calls are submitted instead: by request_id those in flight that may
    become jobs. `data_size_bytes_max`: of a job."""

    __slots__ = ("_asker", "_data_size_bytes_max", "_desk", "_empty_data", "_gate", "kept")

    def __init__(
        self, desk: JobDesk | None, gate: Gate, asker: Asker, empty_data: Raw, data_size_bytes_max: int
    ) -> None:
        self._desk = desk
        self._gate = gate
        self._asker = asker
        self._empty_data = empty_data
        self._data_size_bytes_max = data_size_bytes_max
        self.kept: dict[str, Call] = {}

    @property
    def sees_all(self) -> bool:
        """It may see and change everybody's jobs, not just its own."""
        return self._gate.decide(Action.JOBS, JOBS_ALL).is_allowed

    def take(self, message: JobMessage) -> None:
        """Do what it asks for, or say why not."""
        desk = self._desk
        refusal = OFF if desk is None else self._refusal(message)
        if desk is None or refusal is not None:
            assert refusal is not None
            self._asker.fail(_request_id(message), refusal, None)
            return
        jobs, asker, now = desk.jobs, self._asker, desk.now()
        match message:
            case job_messages.Submit():
                jobs.submit(asker, message, self._data(message.data), now)
            case job_messages.Job():
                jobs.view(asker, message, now)
            case job_messages.Await():
                jobs.await_end(asker, message, now)
            case messages.Cancel():
                jobs.cancel(asker, message, now)
            case job_messages.Retry():
                jobs.retry(asker, message, now)
            case job_messages.Remove():
                jobs.remove(asker, message, now)
            case job_messages.ListJobs():
                jobs.list(asker, message, now)
            case job_messages.Schedule():
                jobs.schedule(asker, message, self._data(message.data), now)
            case job_messages.ScheduleAction():
                jobs.schedules(asker, message, now)
            case job_messages.Greeting():
                jobs.greet(asker, message, now)
            case job_messages.Ack():
                jobs.acknowledge(asker, message, now)

    def submit_instead(self, request_id: str, failure: Failure) -> bool:
        """A request has failed: if it was to become a job then, submit it, to be answered with its receipt. False if it
        was not, or has been delivered."""
        if failure.code == errors.DuplicateRequestId.code:
            return False  # of another request under the same id
        call = self.kept.pop(request_id, None)
        desk = self._desk
        if call is None or desk is None or failure.delivery != errors.NOT_DELIVERED:
            return False
        if failure.code not in OTHERWISE_CODES:
            return False
        submit = job_messages.Submit(
            command=call.command,
            request_id=request_id,
            priority=call.priority,
            target=_as_message(call.target),
            affinity=call.affinity,
            trace=call.trace,
            at_most_once=not call.idempotent,
        )
        desk.jobs.submit(self._asker, submit, call.data, desk.now())
        return True

    def left(self) -> None:
        """Its link has closed, or its login has ended."""
        self.kept.clear()
        if self._desk is not None:
            self._desk.jobs.asker_left(self._asker)

    def _refusal(self, message: JobMessage) -> Failure | None:
        if not isinstance(message, job_messages.Submit | job_messages.Schedule):
            return self._gate.refusal(Action.JOBS, JOBS_OWN)
        size_bytes = 0 if message.data is UNSET else len(message.data)
        if size_bytes > self._data_size_bytes_max:
            text = errors.size_fault("data", size_bytes, self._data_size_bytes_max)
            return Failure(errors.TooLarge.code, text, None, errors.NOT_DELIVERED)
        if message.target is not None and values_count(message.target) > TARGET_VALUES_COUNT_MAX:
            return LARGE_TARGET
        return self._gate.call(message.command, message.target)

    def _data(self, data: Raw | object) -> Raw:
        return data if isinstance(data, Raw) else self._empty_data


def _as_message(target: Target | None) -> str | dict[str, str | list[str]] | None:
    return target if target is None or isinstance(target, str) else dict(target)


def _request_id(message: JobMessage) -> str | None:
    return None if isinstance(message, job_messages.Ack) else message.request_id
