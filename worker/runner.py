"""Runs the assignments of one link: each that is accepted ends with exactly one response, or with the link.

All calls come from the event loop; only handlers run elsewhere.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, cast

from msgspec import Raw

from ..log.event import log_event, without_quoted
from ..protocol import errors
from ..protocol.codec import Codec
from ..protocol.messages import AssignmentMessage, Result, WorkerResponse
from . import events, limits
from .assignment import Assignment
from .binding import Arguments, BindingError
from .command import Command, Execution
from .context import Context
from .executors import Executors
from .failure import CommandError, ContextCancelled, describe_exception, describe_unencodable, wire_text
from .process_pool import ProcessReport
from .steps import Steps

logger = logging.getLogger(__name__)

Run = Callable[[Assignment, Callable[..., Any], tuple[Any, ...], dict[str, Any]], None]
Served = tuple[Callable[[Raw], Arguments], str | None, Run, Callable[..., Any], Execution]
"""A command as an assignment needs it: its binder, its parameter for the Context, the method that runs its handler, the
handler, and its kind."""

DEADLINE_PASSED: Final = "deadline passed"
"""Why the worker itself cancels an assignment."""


class Runner:
    """The assignments of one link.

    `commands` are those that the worker serves, with `concurrency` slots; `send` takes a whole message;
    `result_size_bytes_max` bounds an encoded result. `in_flight` maps msg_id to assignment.
    """

    __slots__ = (
        "_codec",
        "_concurrency",
        "_deadline_timer",
        "_deadline_timer_at",
        "_executors",
        "_idle",
        "_is_abandoned",
        "_loop",
        "_result_size_bytes_max",
        "_send",
        "_served",
        "_steps",
        "_worker_id",
        "in_flight",
    )

    def __init__(
        self,
        commands: Mapping[str, Command],
        executors: Executors,
        codec: Codec,
        send: Callable[[bytes], object],
        *,
        concurrency: int,
        worker_id: str,
        result_size_bytes_max: int,
        steps: Steps | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        run: dict[Execution, Run] = {
            Execution.COROUTINE: self._run_in_loop,
            Execution.THREAD: self._run_in_thread,
            Execution.PROCESS: self._run_in_process,
        }
        self._served: dict[str, Served] = {
            name: (
                command.binding.binder(codec.encoding),
                command.binding.context_name,
                run[command.execution],
                command.function,
                command.execution,
            )
            for name, command in commands.items()
        }
        self._executors = executors
        self._codec = codec
        self._send = send
        self._concurrency = concurrency
        self._worker_id = worker_id
        self._result_size_bytes_max = result_size_bytes_max
        self._steps = steps
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._deadline_timer_at = float("inf")
        self._idle: asyncio.Future[None] | None = None
        self._is_abandoned = False
        self.in_flight: dict[str, Assignment] = {}

    def start(self, message: AssignmentMessage, received_at: float) -> bool:
        """Take an assignment that arrived at `received_at` (`time.monotonic()`) and run it.

        Returns False, and does nothing, if its msg_id is in flight already.
        """
        msg_id = message.msg_id
        in_flight = self.in_flight
        if msg_id in in_flight:
            return False
        steps = self._steps
        if steps is not None:
            steps.received(message)
        call = message.data
        action = call.action
        served = self._served.get(action)
        if served is None:
            self._refuse(msg_id, f"{action!r}: this worker does not serve it", errors.UnknownCommand.code)
            return True
        if len(in_flight) >= self._concurrency:
            self._refuse(msg_id, f"no free slot: all {self._concurrency} are taken", errors.HandlerError.code)
            return True
        bind, context_name, run, function, execution = served
        deadline = received_at + call.timeout
        assignment = Assignment(msg_id, call.request_id, action, call.trace, deadline)
        in_flight[msg_id] = assignment
        try:
            positional, keywords = bind(call.params)
        except BindingError as error:
            self._fail(assignment, str(error), errors.BadRequest.code, error)
            return True
        except Exception as error:  # raised by the user's own types when they are made
            self._end_with(assignment, error)
            return True
        if context_name is not None:
            keywords = {**keywords, context_name: Context(assignment, self._worker_id)}
        if deadline + limits.DEADLINE_ALLOWANCE_S < self._deadline_timer_at:
            self._watch_deadline(deadline)
        if steps is not None:
            function = steps.starts(msg_id, function, execution)
        run(assignment, function, positional, keywords)
        return True

    def cancel(self, msg_id: str, reason: str) -> None:
        """The result of this assignment is no longer needed. Does nothing if it has ended meanwhile."""
        assignment = self.in_flight.get(msg_id)
        if assignment is not None:
            self._cancel(assignment, reason)

    def abandon(self, reason: str) -> list[asyncio.Task[None]]:
        """Cancel all: from here on no response is sent. Returns the coroutines that are still cleaning up."""
        self._is_abandoned = True
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        assignments = list(self.in_flight.values())
        for assignment in assignments:
            self._cancel(assignment, reason)
        return [
            task for assignment in assignments if (task := assignment.task) is not None and not task.done()
        ]

    def when_idle(self) -> "asyncio.Future[None]":
        """A future that is done as soon as nothing is in flight."""
        self._idle = self._loop.create_future()
        if not self.in_flight:
            self._idle.set_result(None)
        return self._idle

    # --- running ---

    def _run_in_loop(
        self,
        assignment: Assignment,
        function: Callable[..., Coroutine[Any, Any, object]],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        assignment.task = start_task(self._await(assignment, function, positional, keywords), self._loop)

    async def _await(
        self,
        assignment: Assignment,
        function: Callable[..., Coroutine[Any, Any, object]],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        """A coroutine handler, from its first step to its response. No BaseException passes this frame."""
        assignment.is_started = True
        if not assignment.is_wanted():
            self._end_unwanted(assignment)
            return
        try:
            result = await function(*positional, **keywords)
        except BaseException as error:
            self._end_with(assignment, error)
        else:
            self._end_well(assignment, result)

    def _run_in_thread(
        self,
        assignment: Assignment,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        def job() -> None:
            end: Callable[[Assignment, Any], None] = self._end_unwanted
            outcome: object = None
            try:
                if assignment.is_wanted():
                    outcome = function(*positional, **keywords)
                    end = self._end_well
            except BaseException as error:
                end, outcome = self._end_with, error
            try:
                self._loop.call_soon_threadsafe(end, assignment, outcome)
            except RuntimeError:  # the event loop is closed: the worker has stopped
                log_event(logger, events.HandlerEndedLate(assignment.command))

        self._executors.threads.submit(job)

    def _run_in_process(
        self,
        assignment: Assignment,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        def report(future: "Future[ProcessReport]") -> None:
            try:
                self._loop.call_soon_threadsafe(self._end_process, assignment, future)
            except RuntimeError:
                log_event(logger, events.HandlerEndedLate(assignment.command))

        try:
            future = self._executors.processes.submit(
                function, positional, keywords, self._codec.encoding, assignment.deadline
            )
        except OSError as error:
            self._end_with(assignment, error)
            return
        assignment.future = future
        future.add_done_callback(report)

    def _end_process(self, assignment: Assignment, future: "Future[ProcessReport]") -> None:
        if future.cancelled():
            self._end_cancelled(assignment)
            return
        match future.exception():
            case BrokenProcessPool():
                log_event(logger, events.HandlerProcessDied(assignment.command))
                self._fail(assignment, "The process that ran the handler died", errors.HandlerError.code)
                return
            case None:
                pass
            case error:
                self._end_with(assignment, error)
                return
        report = future.result()
        if report.is_expired:
            self._end_unwanted(assignment)
            return
        if report.result is not None:
            self._end_well(assignment, Raw(report.result))
            return
        if report.traceback:
            name = report.error.partition(":")[0]
            log_event(
                logger,
                events.HandlerFailed(assignment.command, assignment.request_id, name, report.traceback),
            )
        self._fail(assignment, report.error, report.code)

    # --- cancelling ---

    def _cancel(self, assignment: Assignment, reason: str) -> None:
        if assignment.cancel_reason is not None:
            return
        assignment.cancel_reason = reason
        if assignment.task is not None and assignment.is_started:
            # A task that has not started must not be cancelled: its coroutine would end before it could respond.
            assignment.task.cancel(reason)
        elif assignment.future is not None:
            assignment.future.cancel()

    def _watch_deadline(self, deadline: float) -> None:
        """Schedule the sweep for this deadline, which is earlier than any that it is scheduled for.

        One timer serves all assignments. It fires at the earliest deadline of those that were in flight when it was
        set: rarely, if most of them end well before.
        """
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        now = time.monotonic()
        wait_s = max(deadline + limits.DEADLINE_ALLOWANCE_S - now, limits.DEADLINE_SWEEP_S_MIN)
        self._deadline_timer_at = now + wait_s
        self._deadline_timer = self._loop.call_later(wait_s, self._sweep_deadlines)

    def _sweep_deadlines(self) -> None:
        self._deadline_timer = None
        self._deadline_timer_at = float("inf")
        horizon = time.monotonic() - limits.DEADLINE_ALLOWANCE_S
        earliest = float("inf")
        for assignment in tuple(self.in_flight.values()):
            if assignment.deadline <= horizon:
                self._cancel(assignment, DEADLINE_PASSED)
            elif assignment.deadline < earliest:
                earliest = assignment.deadline
        if earliest < float("inf"):
            self._watch_deadline(earliest)

    # --- ending: each assignment passes here once ---

    def _end_well(self, assignment: Assignment, result: object) -> None:
        if assignment.cancel_reason is not None:
            self._end_cancelled(assignment)
            return
        try:
            payload = self._codec.encode(
                WorkerResponse(assignment.msg_id, Result(True, cast(Raw, result)), time.time())
            )
        except Exception as error:
            failure = describe_unencodable(error, self._codec.encoding)
            reason = without_quoted(failure.text)
            log_event(logger, events.ResultRefused(assignment.command, assignment.request_id, reason))
            self._fail(assignment, failure.text, failure.code)
            return
        if len(payload) > self._result_size_bytes_max:
            size_bytes = len(self._codec.encode(result))
            if size_bytes > self._result_size_bytes_max:
                text = f"result: {size_bytes} bytes, at most {self._result_size_bytes_max}"
                self._fail(assignment, text, errors.TooLarge.code)
                return
        self._end(assignment, payload, None, None)

    def _end_with(self, assignment: Assignment, error: BaseException) -> None:
        """The handler ended with an exception."""
        if assignment.cancel_reason is not None:
            if not isinstance(error, asyncio.CancelledError | ContextCancelled):
                log_event(logger, events.CancelledHandlerFailed(assignment.command), error=error)
            self._end_cancelled(assignment, error)
        elif isinstance(error, CommandError):
            self._fail(assignment, error.text, error.code, error)
        else:
            name = type(error).__name__
            log_event(
                logger, events.HandlerFailed(assignment.command, assignment.request_id, name), error=error
            )
            self._fail(assignment, describe_exception(error), errors.HandlerError.code, error)

    def _end_unwanted(self, assignment: Assignment, _: object = None) -> None:
        """It was cancelled, or its deadline passed, before its handler started."""
        assignment.cancel_reason = assignment.cancel_reason or DEADLINE_PASSED
        self._end_cancelled(assignment)

    def _end_cancelled(self, assignment: Assignment, error: BaseException | None = None) -> None:
        self._fail(assignment, f"Cancelled: {assignment.cancel_reason}", errors.Cancelled.code, error)

    def _fail(
        self, assignment: Assignment, text: str, code: str | None, error: BaseException | None = None
    ) -> None:
        code = errors.worker_code(code)
        self._end(assignment, self._failure(assignment.msg_id, text, code), code, error)

    def _end(
        self, assignment: Assignment, payload: bytes, code: str | None, error: BaseException | None
    ) -> None:
        """The one end of every assignment that got a slot: notify the listener, free the slot, send the response."""
        if self._steps is not None:
            self._steps.ended(assignment.msg_id, code, error)
        if self._is_abandoned:
            return
        del self.in_flight[assignment.msg_id]
        self._send(payload)
        if self._idle is not None and not self.in_flight and not self._idle.done():
            self._idle.set_result(None)

    def _refuse(self, msg_id: str, text: str, code: str) -> None:
        """The end of an assignment that never got a slot."""
        if self._steps is not None:
            self._steps.ended(msg_id, code, None)
        self._send(self._failure(msg_id, text, code))

    def _failure(self, msg_id: str, text: str, code: str) -> bytes:
        result = Result(False, error=wire_text(text), code=code)
        return self._codec.encode(WorkerResponse(msg_id, result, time.time()))


if sys.version_info >= (3, 12):

    def start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """A task for `coroutine` that has taken its first step when this returns: a handler that waits for nothing
        never goes through the event loop at all."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """A task for `coroutine`, which takes its first step in the loop's next turn: this Python cannot start it."""
        return loop.create_task(coroutine)
