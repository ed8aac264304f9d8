"""Runs each handler where it belongs, and reports in the event loop how it ended."""

import asyncio
import contextvars
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from msgspec import Raw

from ..log.event import log_event
from ..protocol.encodings import Encoding
from . import events, forked
from .assignment import Assignment
from .command import Execution
from .executors import Executors
from .failure_log import FailureLog
from .handler_process import ProcessCall, ProcessReport, packed
from .own_context import call_in, has_decimal_context, take_own_decimal_context

logger = logging.getLogger(__name__)

Run = Callable[[Assignment, Callable[..., Any], tuple[Any, ...], dict[str, Any]], None]


class Ends(Protocol):
    """To which the end of each handler is reported, once, in the event loop."""

    def end_well(self, assignment: Assignment, result: object) -> Awaitable[object] | None:
        """It returned `result`. If that is returned, it is to be awaited, and has not ended."""

    def end_with(self, assignment: Assignment, error: BaseException) -> None:
        """It raised `error`."""

    def end_unwanted(self, assignment: Assignment, _: object = None) -> None:
        """It was cancelled, or its deadline passed, before it started or could end by itself."""

    def fail(
        self,
        assignment: Assignment,
        text: str,
        code: str | None,
        error: BaseException | None = None,
        *,
        retry: bool | float | None = None,
    ) -> None:
        """It failed in another process."""

    def said_elsewhere(self, assignment: Assignment, message: bytes) -> None:
        """It has sent a chunk, or reported progress, in another process: that process's message. Raises if it may not
        send that."""

    def end_lost(self, assignment: Assignment, text: str) -> None:
        """The process that ran it has died."""

    def end_all_the_same(self, assignment: Assignment, error: BaseException) -> None:
        """One of the calls above has raised `error`."""


class Handlers:
    """`run` has the method that runs a handler, for each kind of it."""

    __slots__ = (
        "_encoding",
        "_ends",
        "_executors",
        "_failure_log",
        "_fork_depth",
        "_loop",
        "_shares_decimal_context",
        "run",
    )

    def __init__(self, executors: Executors, encoding: Encoding, ends: Ends, failure_log: FailureLog) -> None:
        self._loop = asyncio.get_running_loop()
        self._executors = executors
        self._encoding = encoding
        self._ends = ends
        self._failure_log = failure_log
        self._fork_depth = forked.depth()
        self._shares_decimal_context = has_decimal_context()
        self.run: dict[Execution, Run] = {
            Execution.COROUTINE: self._run_in_loop,
            Execution.THREAD: self._run_in_thread,
            Execution.PROCESS: self._run_in_process,
        }

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
            if function is _awaited:
                close_coroutine(*positional)
            self._ends.end_unwanted(assignment)
            return
        if self._shares_decimal_context:
            take_own_decimal_context()
        try:
            try:
                result = await function(*positional, **keywords)
            except BaseException as error:
                if forked.depth() != self._fork_depth:
                    forked.end_child(error)
                self._ends.end_with(assignment, error)
            else:
                if forked.depth() != self._fork_depth:
                    forked.end_child()
                rest = self._ends.end_well(assignment, result)
                if rest is not None:
                    await self._await(assignment, _awaited, (rest,), {})
        except BaseException as error:
            self._ends.end_all_the_same(assignment, error)

    def _run_in_thread(
        self,
        assignment: Assignment,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        context = contextvars.copy_context()

        def job() -> None:
            end: Callable[[Assignment, Any], object] = self._ends.end_unwanted
            outcome: object = None
            try:
                if assignment.is_wanted():
                    outcome = call_in(context, function, positional, keywords)
                    end = self._ends.end_well
            except BaseException as error:
                end, outcome = self._ends.end_with, error
            try:
                self._loop.call_soon_threadsafe(self._end, end, assignment, outcome, context=context)
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
        try:
            call = packed(
                ProcessCall(
                    function, positional, keywords, self._encoding, assignment.deadline, assignment.setting
                )
            )
        except BaseException as error:  # an argument cannot be sent to another process
            self._ends.end_with(assignment, error)
            return
        said = partial(self._ends.said_elsewhere, assignment)
        reported = partial(self._end, self._end_process, assignment)
        assignment.call = self._executors.processes.submit(call, said, reported)

    def _end(self, end: Callable[[Assignment, Any], Any], assignment: Assignment, outcome: object) -> None:
        """Report the end of a handler that ran elsewhere; a plain function around a coroutine goes on here."""
        try:
            rest: Awaitable[object] | None = end(assignment, outcome)
            if rest is not None:
                self._run_in_loop(assignment, _awaited, (rest,), {})
        except BaseException as error:
            self._ends.end_all_the_same(assignment, error)

    def _end_process(self, assignment: Assignment, report: ProcessReport) -> None:
        if report.is_expired:
            self._ends.end_unwanted(assignment)
        elif report.how:
            event = events.HandlerProcessDied(assignment.command, assignment.request_id, report.how)
            log_event(logger, event)
            text = f"The process for the handler {report.how}"
            if report.is_lost:
                self._ends.end_lost(assignment, text)
            else:
                self._ends.fail(assignment, text, None)
        elif report.result is not None:
            self._ends.end_well(assignment, Raw(report.result))
        else:
            if report.traceback:
                self._failure_log.raised_elsewhere(assignment, report.error, report.traceback)
            self._ends.fail(assignment, report.error, report.code, retry=report.retry)


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def close_coroutine(result: object) -> None:
    """What a handler returned is not needed any more: a coroutine that never starts must be closed, or Python warns."""
    if inspect.iscoroutine(result):
        result.close()


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
