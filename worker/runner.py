"""Runs a worker's assignments, over all its links, one at a time.

An ordinary assignment ends with exactly one response, or with its link. An attempt of a job goes on without a link, and
its response is kept until the broker has settled it. All calls come from the event loop; only handlers run elsewhere.
"""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from msgspec import Raw

from ..log.event import log_event, without_quoted
from ..protocol import errors
from ..protocol import limits as wire
from ..protocol.codec import Codec
from ..protocol.messages import AssignmentMessage, AttemptOf, Claim, Notification, Result, WorkerResponse
from ..protocol.stream_messages import WorkerChunk
from . import events, limits
from .assignment import (
    DEADLINE_PASSED,
    GIVEN_BACK,
    LINK_LOST,
    SETTLED,
    UNCLAIMED,
    WORKER_STOPPING,
    Assignment,
    Cancellation,
)
from .binding import Arguments, BindingError
from .command import Command, Execution
from .context import Context
from .deadlines import Deadlines
from .executors import Executors
from .failure import (
    CommandError,
    ContextCancelled,
    describe_exception,
    describe_unencodable,
    outcome_of,
    wire_text,
)
from .failure_log import FailureLog
from .generators import await_generator, run_generator
from .handlers import Handlers, Run, close_coroutine
from .kept import KeptResults
from .outlet import ChunkWriter, Collected, Outlet, Pace, Unwanted
from .process_outlet import EVENT, PROGRESS, Setting, read_event, read_word, run_generator_here
from .progress import Progress, Word
from .publishing import Publisher
from .steps import Steps
from .stream import Stream

logger = logging.getLogger(__name__)

Served = tuple[Callable[[Raw], Arguments], str | None, bool, Run, Callable[..., Any], Execution]
"""A command as an assignment needs it: its binder, its parameter for the Context, whether it is a generator, the method
that runs its handler, the handler, and its kind."""

_OUR_CODES: Final = frozenset({errors.WorkerStopping.code, errors.WorkerLost.code})
"""Those that a handler cannot give."""

CLAIMS_SHARE: Final = 0.5
"""The share of the largest message that the broker accepts which claims may take in `connect`."""


class Runner:
    """The assignments of one worker.

    `commands` are those that it serves, with `concurrency` slots; `codec` is that of all its links. `in_flight` maps
    msg_id to assignment: those that have a slot. `kept` has the results of those that had one, and are not settled.
    """

    __slots__ = (
        "_codec",
        "_concurrency",
        "_deadlines",
        "_failure_log",
        "_idle",
        "_loop",
        "_loop_thread_id",
        "_message_size_bytes_max",
        "_progress",
        "_publisher",
        "_result_size_bytes_max",
        "_send",
        "_served",
        "_steps",
        "_worker_id",
        "in_flight",
        "kept",
    )

    def __init__(
        self,
        commands: Mapping[str, Command],
        executors: Executors,
        codec: Codec,
        *,
        concurrency: int,
        failure_log: FailureLog,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread_id = threading.get_ident()
        self._failure_log = failure_log
        handlers = Handlers(executors, codec.encoding, self, failure_log)
        self._served: dict[str, Served] = {
            name: (
                command.binder(codec.encoding),
                command.binding.context_name,
                command.is_generator,
                handlers.run[command.execution],
                command.function,
                command.execution,
            )
            for name, command in commands.items()
        }
        self._codec = codec
        self._concurrency = concurrency
        self._send: Callable[[bytes], object] = _send_nowhere
        self._worker_id = ""
        self._message_size_bytes_max = wire.MESSAGE_SIZE_BYTES_MAX
        self._result_size_bytes_max = 0
        self._steps: Steps | None = None
        self._progress = Progress()
        self._publisher = Publisher(codec)
        self._idle: asyncio.Future[None] | None = None
        self.in_flight: dict[str, Assignment] = {}
        self._deadlines = Deadlines(self.in_flight)
        self.kept = KeptResults()

    # --- links ---

    def link_opened(
        self,
        send: Callable[[bytes], object],
        *,
        worker_id: str,
        message_size_bytes_max: int,
        steps: Steps | None = None,
    ) -> None:
        """A broker has registered the worker as `worker_id`: what is to be said, now and later, goes through `send`,
        which takes a whole message of at most so many bytes. First comes what is kept. `steps` follows what arrives on
        this link."""
        self._send = send
        self._worker_id = worker_id
        self._message_size_bytes_max = message_size_bytes_max
        self._result_size_bytes_max = max(1, message_size_bytes_max - wire.ENVELOPE_SIZE_BYTES_MAX)
        self._steps = steps
        for claim, response in self.kept:
            if len(response) <= message_size_bytes_max:
                send(response)
                continue
            # It was made for a broker that accepted more.
            text = errors.size_fault("result", len(response), self._result_size_bytes_max)
            self._respond(claim, self._failure(claim.msg_id, text, errors.TooLarge.code))
        for assignment in self.in_flight.values():
            if assignment.stream is not None:
                assignment.stream.link_opened()
        self._progress.link_opened(self._send_progress)
        self._publisher.link_opened(send)

    def link_closed(self) -> None:
        """From here on nothing can be said. Attempts of jobs go on; the others are cancelled, and get no response."""
        self._send = _send_nowhere
        self._progress.link_closed()
        self._publisher.link_closed()
        for assignment in tuple(self.in_flight.values()):
            if assignment.job is None:
                self._abandon(assignment, LINK_LOST)
            elif assignment.stream is not None:
                assignment.stream.link_closed()

    def claims(self) -> list[Claim]:
        """What to claim from the broker on connecting: the attempts of jobs that run, then those whose results are
        kept, the newest first.

        What one message cannot hold is given up at once: the broker would run it again beside the one here.
        """
        running = [
            Claim(msg_id, job.job_id, job.attempt)
            for msg_id, assignment in self.in_flight.items()
            if (job := assignment.job) is not None
        ]
        claims = running + self.kept.claims()
        room_bytes = int(self._message_size_bytes_max * CLAIMS_SHARE)
        for position, claim in enumerate(claims):
            room_bytes -= len(self._codec.encode(claim)) + 1
            if room_bytes < 0:
                for unclaimed in claims[position:]:
                    self._forget(unclaimed.msg_id, UNCLAIMED)
                log_event(logger, events.AttemptsUnclaimed(len(claims) - position, position))
                return claims[:position]
        return claims

    # --- assignments ---

    def start(self, message: AssignmentMessage, received_at: float) -> bool:
        """Take an assignment that arrived at `received_at` (`time.monotonic()`) and run it.

        Returns False, and does nothing, if its msg_id is in flight, or its result kept, already.
        """
        msg_id = message.msg_id
        in_flight = self.in_flight
        if msg_id in in_flight:
            return False
        call = message.data
        job = call.job
        if job is not None and msg_id in self.kept:
            return False
        steps = self._steps
        if steps is not None:
            steps.received(message)
        action = call.action
        served = self._served.get(action)
        if served is None:
            self._refuse(
                msg_id, job, f"{action!r}: this worker does not serve it", errors.UnknownCommand.code
            )
            return True
        if len(in_flight) >= self._concurrency:
            text = f"no free slot: all {self._concurrency} are taken"
            self._refuse(msg_id, job, text, errors.HandlerError.code)
            return True
        bind, context_name, is_generator, run, function, execution = served
        deadline = received_at + call.timeout
        assignment = Assignment(msg_id, call.request_id, action, call.trace, deadline, job, steps)
        in_flight[msg_id] = assignment
        try:
            positional, keywords = bind(call.params)
        except BindingError as error:
            self.fail(assignment, str(error), errors.BadRequest.code, error)
            return True
        except BaseException as error:  # raised by the user's own types when they are made
            self.end_with(assignment, error)
            return True
        if context_name is not None or is_generator:
            function, keywords = self._with_outlet(assignment, served, keywords, is_streamed=call.stream)
        if deadline + limits.DEADLINE_ALLOWANCE_S < self._deadlines.next_at:
            self._deadlines.watch(deadline)
        if steps is not None:
            function = steps.starts(msg_id, function, execution)
        try:
            run(assignment, function, positional, keywords)
        except Exception as error:  # no thread, or no process, can be started now: the next one may
            reason = describe_exception(error)
            log_event(logger, events.HandlerNotStarted(action, call.request_id, reason))
            text = f"The worker could not start the handler: {reason}"
            self.fail(assignment, text, errors.HandlerError.code, error)
        return True

    def _with_outlet(
        self, assignment: Assignment, served: Served, keywords: dict[str, Any], *, is_streamed: bool
    ) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The handler, and its keywords with its context, of a command whose handler has one or is a generator."""
        _, context_name, is_generator, _, function, execution = served
        if is_streamed:
            assignment.stream = Stream(
                assignment, self._chunk_writer(), self._send_chunk, self._loop_thread_id
            )
        if execution is Execution.PROCESS:
            assignment.setting = Setting(
                assignment.request_id,
                assignment.command,
                assignment.trace,
                assignment.job,
                self._worker_id,
                context_name,
                is_generator,
                is_streamed,
                self._result_size_bytes_max,
            )
            return partial(run_generator_here, function) if is_generator else function, keywords
        outlet: Outlet
        if assignment.stream is not None:
            outlet = assignment.stream
        else:
            pace = Pace(assignment, self._loop_thread_id)
            outlet = Collected(pace, self._chunk_writer()) if is_generator else Unwanted(pace)
        if context_name is not None:
            keywords = {
                **keywords,
                context_name: Context(assignment, self._worker_id, self._progress, outlet, self._publisher),
            }
        if is_generator:
            run = await_generator if execution is Execution.COROUTINE else run_generator
            function = partial(run, outlet, function)
        return function, keywords

    def _chunk_writer(self) -> ChunkWriter:
        return ChunkWriter(self._codec, self._result_size_bytes_max)

    def credit(self, msg_id: str, sequence: int) -> None:
        """The broker has taken the chunks of this assignment up to this one. Does nothing if it has ended meanwhile.
        Raises ValueError if that chunk was not sent."""
        assignment = self.in_flight.get(msg_id)
        if assignment is not None and assignment.stream is not None:
            assignment.stream.credit(sequence)

    def cancel(self, msg_id: str, reason: str) -> None:
        """The result of this assignment is no longer needed. Does nothing if it has ended meanwhile."""
        assignment = self.in_flight.get(msg_id)
        if assignment is not None:
            assignment.cancel(Cancellation(reason))

    def settle(self, msg_id: str) -> None:
        """The broker is done with this attempt of a job: forget its result, or stop it if it still runs; it has no slot
        any more. Does nothing if it is settled already, or is no attempt of a job."""
        self._forget(msg_id, SETTLED)

    def give_back(self) -> None:
        """Stop all: as they end, attempts of jobs are given back to the broker. The others get no response."""
        for assignment in tuple(self.in_flight.values()):
            if assignment.job is None:
                self._abandon(assignment, WORKER_STOPPING)
            else:
                assignment.cancel(GIVEN_BACK)

    async def stop(self) -> None:
        """Stop all, without a response, and give handlers a moment to clean up."""
        self._deadlines.close()
        assignments = tuple(self.in_flight.values())
        for assignment in assignments:
            self._abandon(assignment, WORKER_STOPPING)
        tasks = [task for assignment in assignments if (task := assignment.task) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=limits.STOP_S_MAX)

    def when_idle(self) -> "asyncio.Future[None]":
        """A future that is done as soon as nothing is in flight."""
        self._idle = self._loop.create_future()
        self._report_idle(self._idle)
        return self._idle

    # --- cancelling ---

    def _abandon(self, assignment: Assignment, cancellation: Cancellation) -> None:
        """Cancel it, free its slot, and expect no response: its handler may go on for a while."""
        assignment.is_abandoned = True
        assignment.cancel(cancellation)
        if assignment.stream is not None:
            assignment.stream.close()
        del self.in_flight[assignment.msg_id]
        if self._idle is not None:
            self._report_idle(self._idle)

    def _forget(self, msg_id: str, cancellation: Cancellation) -> None:
        """Drop an attempt of a job, running or ended."""
        if self.kept.settle(msg_id):
            return
        assignment = self.in_flight.get(msg_id)
        if assignment is None or (job := assignment.job) is None:
            return
        if cancellation is SETTLED:
            log_event(logger, events.AttemptUnwanted(assignment.command, job.attempt, job.job_id))
        self._abandon(assignment, cancellation)

    # --- ending: each assignment passes here once ---

    def end_well(self, assignment: Assignment, result: object) -> Awaitable[object] | None:
        """The handler returned `result`; what this returns is still to be awaited. One that was cancelled may have
        stopped half-way, unless it cannot know that it was: then an attempt that was to be given back is done after
        all, and need not run again."""
        cancellation = assignment.cancellation
        if cancellation is not None and (cancellation is not GIVEN_BACK or assignment.is_told):
            close_coroutine(result)
            self._end_cancelled(assignment)
            return None
        try:
            payload = self._codec.encode(
                WorkerResponse(assignment.msg_id, Result(True, cast(Raw, result)), time.time())
            )
        except BaseException as error:  # the result's own classes take part in this
            if inspect.isawaitable(result):
                return result
            failure = describe_unencodable(error, self._codec.encoding)
            reason = without_quoted(failure.text)
            log_event(logger, events.ResultRefused(assignment.command, assignment.request_id, reason))
            self.fail(assignment, failure.text, failure.code)
            return None
        if len(payload) > self._result_size_bytes_max:
            size_bytes = len(self._codec.encode(result))
            if size_bytes > self._result_size_bytes_max:
                text = errors.size_fault("result", size_bytes, self._result_size_bytes_max)
                self.fail(assignment, text, errors.TooLarge.code)
                return None
        self._end(assignment, payload, None, None)
        return None

    def end_with(self, assignment: Assignment, error: BaseException) -> None:
        """The handler ended with an exception."""
        if assignment.cancellation is not None:
            if not isinstance(error, asyncio.CancelledError | ContextCancelled):
                self._failure_log.raised_while_cancelled(assignment, error)
            self._end_cancelled(assignment, error)
        elif isinstance(error, CommandError):
            outcome = outcome_of(error)
            self.fail(assignment, outcome.text, outcome.code, error, retry=outcome.retry)
        else:
            self._failure_log.raised(assignment, error)
            self.fail(assignment, describe_exception(error), errors.HandlerError.code, error)

    def end_unwanted(self, assignment: Assignment, _: object = None) -> None:
        """It was cancelled, or its deadline passed, before its handler started or could end by itself."""
        assignment.cancellation = assignment.cancellation or DEADLINE_PASSED
        self._end_cancelled(assignment)

    def end_all_the_same(self, assignment: Assignment, error: BaseException) -> None:
        """Reporting how it ended has failed with `error`. It is answered, and its slot is free, whatever that was."""
        log_event(
            logger,
            events.ReportFailed(assignment.command, assignment.request_id, type(error).__name__),
            error=error,
        )
        if self.in_flight.get(assignment.msg_id) is assignment:
            text = "The worker failed to report how the handler ended"
            assignment.steps = None  # it may be what failed
            code = errors.HandlerError.code
            self._end(assignment, self._failure(assignment.msg_id, text, code), code, error)

    def _end_cancelled(self, assignment: Assignment, error: BaseException | None = None) -> None:
        reason, code = assignment.cancellation or DEADLINE_PASSED
        self._end(assignment, self._failure(assignment.msg_id, f"Cancelled: {reason}", code), code, error)

    def fail(
        self,
        assignment: Assignment,
        text: str,
        code: str | None,
        error: BaseException | None = None,
        *,
        retry: bool | float | None = None,
    ) -> None:
        """It failed by itself. `code` may be a handler's own; it cannot claim what only the worker knows."""
        code = errors.worker_code(code)
        if code in _OUR_CODES:
            code = errors.HandlerError.code
        if assignment.job is None:
            retry = None
        self._end(assignment, self._failure(assignment.msg_id, text, code, retry), code, error)

    def said_elsewhere(self, assignment: Assignment, message: bytes) -> None:
        """A handler in a process has sent a chunk, or reported progress. Raises if it may not send that."""
        if message[:1] == PROGRESS:
            self._progress.report(assignment, read_word(message[1:]))
        elif message[:1] == EVENT:
            self._publisher.relay(*read_event(message[1:]))
        elif assignment.stream is None:
            raise ValueError("a process has sent a chunk that is not wanted")
        else:
            assignment.stream.relay(message[1:])

    def end_lost(self, assignment: Assignment, text: str) -> None:
        """What ran it has died, and nobody knows how far it got."""
        code = errors.WorkerLost.code
        self._end(assignment, self._failure(assignment.msg_id, text, code), code, None)

    def _end(
        self, assignment: Assignment, payload: bytes, code: str | None, error: BaseException | None
    ) -> None:
        """The one end of every assignment that got a slot: notify the listener, free the slot, send the response."""
        steps = assignment.steps
        if steps is not None:
            steps.ended(assignment.msg_id, code, error)
        if assignment.is_abandoned:
            return
        self._progress.flush(assignment)
        if assignment.stream is not None:
            assignment.stream.close()
        del self.in_flight[assignment.msg_id]
        job = assignment.job
        if job is None:
            self._send(payload)
        else:
            self._respond(Claim(assignment.msg_id, job.job_id, job.attempt), payload)
        if self._idle is not None:
            self._report_idle(self._idle)

    def _report_idle(self, idle: "asyncio.Future[None]") -> None:
        if not self.in_flight and not idle.done():
            idle.set_result(None)

    def _refuse(self, msg_id: str, job: AttemptOf | None, text: str, code: str) -> None:
        """The end of an assignment that never got a slot."""
        if self._steps is not None:
            self._steps.ended(msg_id, code, None)
        payload = self._failure(msg_id, text, code)
        if job is None:
            self._send(payload)
        else:
            self._respond(Claim(msg_id, job.job_id, job.attempt), payload)

    def _respond(self, claim: Claim, response: bytes) -> None:
        """Send the response of an attempt of a job, and keep it in case it does not arrive."""
        self.kept.keep(claim, response)
        self._send(response)

    def _send_progress(self, assignment: Assignment, word: Word) -> None:
        if self.in_flight.get(assignment.msg_id) is assignment:
            self._send(self._codec.encode(Notification(assignment.msg_id, cast(Raw, word))))

    def _send_chunk(self, assignment: Assignment, sequence: int, data: bytes) -> None:
        if self.in_flight.get(assignment.msg_id) is assignment:
            self._send(self._codec.encode(WorkerChunk(assignment.msg_id, sequence, Raw(data), time.time())))

    def _failure(self, msg_id: str, text: str, code: str, retry: bool | float | None = None) -> bytes:
        result = Result(False, error=wire_text(text), code=code, retry=retry)
        return self._codec.encode(WorkerResponse(msg_id, result, time.time()))


def _send_nowhere(_: bytes) -> None:
    """There is no link: what must not be lost is kept."""
