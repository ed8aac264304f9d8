"""One run of the demo: a broker, its workers, a stream of requests, and a job whose worker is killed and restarted.

The broker and the requester run in this process, each worker in its own, all connected by real sockets. So a worker can
be killed for real (kill -9), and when this process ends, however hard, all end: a worker drains when its standard input
is closed. Processes take a third of a second to start. Workers inside this process would save most of that, but their
death would be faked. A broker in its own process would outlive a killed demo.

Must not know how it is shown.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...broker.broker import Broker
from ...broker.port import PortTaken
from ...broker.settings import BrokerSettings
from ...requester import Job, Requester, TaskferryError
from .table import Addresses, CommandRow, Incident, Outcome, Snapshot, WorkerRow
from .tally import Pace, Tally
from .typed_command import typed_command
from .worker import DemoFailed, WorkerProcess

if TYPE_CHECKING:
    from ...broker.http.server import HttpServer

HOST: Final = "127.0.0.1"
JOB_COMMAND: Final = "report"
START_S_MAX: Final = 30.0
"""For workers to connect: usually a tenth of a second each, but much more on a busy machine or with cold caches."""

REQUEST_TIMEOUT_S: Final = 5.0
"""A thousand times what a request takes. Even with the largest --concurrency the queue is shorter."""

LAST_ANSWERS_S_MAX: Final = REQUEST_TIMEOUT_S + 1.0
INTERRUPTED_ANSWERS_S_MAX: Final = 0.5
"""How long to wait for answers once nothing more is sent. After Ctrl-C that must feel like "at once"."""

STOP_S_MAX: Final = 3.0
"""For workers to drain. Those that have not ended by then are killed."""

KILL_S_MAX: Final = 4.0
RESTART_S_MAX: Final = 6.0
"""When a worker is killed, and when it is restarted. In a run under 10 s earlier, in proportion."""

JOB_S_MAX: Final = 1.5
JOB_HEAD_START_S_MAX: Final = 0.5
"""How long the job takes, and how long before the kill it is submitted. In a run under 10 s less, in proportion."""

FAILURE_PAUSE_S: Final = 0.05
"""How long a lane waits after a failure: if all workers are gone, each request fails at once."""

LOOK_INTERVAL_S: Final = 0.005
TURNS_COUNT: Final = 32
"""Turns of the event loop over which assignments are counted: a few milliseconds."""


class DemoRun:
    """A run of `duration_s` with `worker_count` workers and `concurrency` requests in flight. Made in the running loop.

    Call `start`, `stream` and `stop` once, in this order; `stop` in any case. `look` may be called at any time.
    """

    def __init__(self, *, duration_s: float, worker_count: int, concurrency: int) -> None:
        self.tally = Tally()
        self.stopping = asyncio.Event()
        """Set by `interrupt`: end early."""
        self._hurrying = asyncio.Event()
        self._duration_s = duration_s
        self._concurrency = concurrency
        self._headline = f"Starting a broker and {_count(worker_count, 'worker')} on this machine ..."
        self._addresses: Addresses | None = None
        self._processes = [WorkerProcess(f"worker-{number}") for number in range(1, worker_count + 1)]
        self._in_flight_counts: dict[str, int] = {}
        self._incidents: list[Incident] = []
        self._pace = Pace()
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._is_sending = False
        self._http: HttpServer | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="taskferry-demo-", ignore_cleanup_errors=True)
        journal = str(Path(self._folder.name, "journal.db"))
        self._broker = Broker(
            BrokerSettings(
                host=HOST, worker_port=0, requester_port=0, http_port=0, api_port=0, journal=journal
            )
        )

    def interrupt(self) -> None:
        """End early, and wait a moment for what is in flight. Called again: wait for nothing."""
        (self._hurrying if self.stopping.is_set() else self.stopping).set()

    async def start(self) -> None:
        """Start all, and wait until all workers are connected, or `interrupt`. Raises DemoFailed."""
        try:
            await self._broker.start()
            if self.stopping.is_set():
                return
            worker_url = f"ws://{HOST}:{self._broker.worker_port}"
            for process in self._processes:
                process.start(worker_url)
            # Imported only now, while the workers start, which takes as long.
            from ...broker.http.server import HttpServer  # noqa: PLC0415

            http = HttpServer(self._broker.read_model, self._broker.operations, self._broker.entrance)
            await http.start(HOST, 0)
        except PortTaken as error:
            raise DemoFailed(str(error)) from None
        self._http = http
        requester_url = f"ws://{HOST}:{self._broker.requester_port}"
        self._addresses = Addresses(typed_command(), worker_url, requester_url, f"http://{HOST}:{http.port}")
        if not await self._until(self._are_workers_there, START_S_MAX) and not self.stopping.is_set():
            raise DemoFailed(f"not all workers connected within {START_S_MAX:g} s")

    async def stream(self) -> None:
        """Send requests, `concurrency` at once, until the time is over or `interrupt`. Raises DemoFailed."""
        if self.stopping.is_set():
            return
        assert self._addresses is not None
        async with Requester(self._addresses.requesters) as requester:
            try:
                await requester.connect()
            except TaskferryError as error:
                raise DemoFailed(error.text) from None
            self._headline = self._describe_stream()
            self._began_at = time.perf_counter()
            self._is_sending = True
            lanes = [asyncio.create_task(self._lane(requester)) for _ in range(self._concurrency)]
            incident = asyncio.create_task(self._kill_one_and_restart_it(requester))
            await self._pause_until(self._duration_s)
            self._is_sending = False
            wait_s = INTERRUPTED_ANSWERS_S_MAX if self.stopping.is_set() else LAST_ANSWERS_S_MAX
            await asyncio.wait(lanes, timeout=wait_s)
            self._ended_at = time.perf_counter()
            self._headline = self._describe_stream()
            for task in (incident, *lanes):
                task.cancel()
            await asyncio.wait((incident, *lanes))
            for task in (incident, *lanes):
                if not task.cancelled():
                    task.result()  # raises what it raised

    async def stop(self) -> None:
        """End workers and broker, whatever their state. Takes up to STOP_S_MAX; after a second `interrupt`, no time."""
        http_gone = None if self._http is None else asyncio.create_task(self._http.stop())
        connected = [process for process in self._processes if self._is_connected(process)]
        for process in connected:
            process.ask_to_stop()
        give_up_at = time.monotonic() + STOP_S_MAX
        while not all(process.has_ended for process in connected):
            if time.monotonic() > give_up_at or self._hurrying.is_set():
                break
            await asyncio.sleep(LOOK_INTERVAL_S)
        for process in self._processes:
            process.close()
        await self._broker.stop(0)
        self._folder.cleanup()
        if http_gone is not None:
            await http_gone

    async def count_in_flight(self) -> None:
        """Count the assignments of each worker for the next `look`, as a mean over TURNS_COUNT turns of the loop.

        Broker and requester take turns in this one loop: at any single moment a worker may happen to have none.
        """
        counts: Counter[str] = Counter()
        for _ in range(TURNS_COUNT):
            for worker in self._broker.read_model.subjects().workers:
                counts[worker.worker_id] += worker.in_flight_count
            await asyncio.sleep(0)
        self._in_flight_counts = {name: round(count / TURNS_COUNT) for name, count in counts.items()}

    def look(self) -> Snapshot:
        """The current state. `per_second` and `course` are about the time since the last calls, which must be regular;
        once the run is over, `per_second` is about all of it."""
        tally = self.tally
        elapsed_s = self._elapsed_s()
        is_over = self._ended_at is not None
        if not is_over:
            self._pace.look(elapsed_s, tally.done_by_worker)
        workers = self._worker_rows(elapsed_s, is_over=is_over)
        return Snapshot(
            headline=self._headline,
            elapsed_s=elapsed_s,
            duration_s=self._duration_s,
            addresses=self._addresses,
            workers=workers,
            commands=[
                CommandRow(
                    name,
                    command.done_count,
                    command.latencies.percentile_s(50),
                    command.latencies.percentile_s(99),
                    command.example,
                )
                for name, command in tally.by_command.items()
            ],
            done_count=tally.done_count,
            failed_count=tally.failed_count,
            in_flight_count=tally.unanswered_count,
            rate_title="average/s" if is_over else "now/s",
            per_second=sum(row.per_second for row in workers),
            course=tuple(self._pace.course),
            p50_s=tally.latencies.percentile_s(50),
            p99_s=tally.latencies.percentile_s(99),
            incidents=tuple(self._incidents),
        )

    def outcome(self) -> Outcome:
        """How the run ended."""
        tally = self.tally
        return Outcome(tally.failures, tally.first_failure, tally.unanswered_count, self.stopping.is_set())

    # --- inside ---

    async def _lane(self, requester: Requester) -> None:
        """Send one request after the other, and check each answer."""
        tally = self.tally
        while self._is_sending:
            probe = tally.next_probe()
            began_at = time.perf_counter()
            response = await requester.request(
                probe.command, probe.data, timeout=REQUEST_TIMEOUT_S, idempotent=True
            )
            duration_s = time.perf_counter() - began_at
            worker = response.processed_by
            if response.success and worker is not None:
                tally.succeeded(probe, response.data, worker, duration_s)
            else:
                tally.failed(probe, response.code or "", response.error or "", worker)
                await asyncio.sleep(FAILURE_PAUSE_S)

    async def _kill_one_and_restart_it(self, requester: Requester) -> None:
        """Kill the worker that runs a job, and restart it later. Does nothing if there is only one worker."""
        head_start_s = min(JOB_HEAD_START_S_MAX, 0.05 * self._duration_s)
        if not await self._pause_until(min(KILL_S_MAX, 0.4 * self._duration_s) - head_start_s):
            return
        job = await requester.submit(JOB_COMMAND, {"seconds": min(JOB_S_MAX, 0.15 * self._duration_s)})
        victim = await self._runner_of(job)
        if victim is None or not any(
            self._is_connected(process) for process in self._processes if process is not victim
        ):
            return
        if not await self._pause_until(min(KILL_S_MAX, 0.4 * self._duration_s)):
            return
        moved_count = self._count_moved()
        victim.kill()
        self._headline = f"{victim.name} was just killed (kill -9) while it ran a job; the others carry on."
        killed_at_s = self._elapsed_s()
        if not await self._until(lambda: not self._is_connected(victim), START_S_MAX):
            return
        moved_count = self._count_moved() - moved_count
        went = (
            f"its {_count(moved_count, 'request')} went to other workers"
            if moved_count
            else "it had no request"
        )
        self._incidents.append(Incident(killed_at_s, f"{victim.name} was killed (kill -9); {went}"))
        async with asyncio.TaskGroup() as both:
            both.create_task(self._restart(victim))
            both.create_task(self._follow(job))

    async def _runner_of(self, job: Job) -> WorkerProcess | None:
        """The worker that runs `job`, as soon as one does; None if the run ends before."""
        while not self.stopping.is_set():
            view = await job.refresh()
            for process in self._processes:
                if view.state == "assigned" and process.name == view.worker_id:
                    return process
            await asyncio.sleep(LOOK_INTERVAL_S)
        return None

    async def _restart(self, victim: WorkerProcess) -> None:
        if not await self._pause_until(min(RESTART_S_MAX, 0.6 * self._duration_s)):
            return
        assert self._addresses is not None
        victim.start(self._addresses.workers)
        if await self._until(lambda: self._is_connected(victim), START_S_MAX):
            text = f"{victim.name} is back as a new process, and gets its share again"
            self._incidents.append(Incident(self._elapsed_s(), text))
            self._headline = self._describe_stream()

    async def _follow(self, job: Job) -> None:
        """Report the end of a job whose worker was killed."""
        result = await job.result()
        worker_id = (await job.refresh()).worker_id
        text = f"the job that it ran is done: {worker_id} ran it again ({result})"
        self._incidents.append(Incident(self._elapsed_s(), text))

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `condition` became true in time, and before `interrupt`.

        A Ctrl-C may hit a worker, too, in the moment between fork and exec, so `interrupt` is checked first.
        """
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            await asyncio.sleep(LOOK_INTERVAL_S)
            if self.stopping.is_set():
                return False
            if condition():
                return True
        return False

    async def _pause_until(self, elapsed_s: float) -> bool:
        """True once that much time has passed, False as soon as `interrupt` is called."""
        try:
            await asyncio.wait_for(self.stopping.wait(), max(0.0, elapsed_s - self._elapsed_s()))
        except TimeoutError:
            return True
        return False

    def _are_workers_there(self) -> bool:
        for process in self._processes:
            if process.has_ended:
                raise DemoFailed(process.describe_end())
        return all(self._is_connected(process) for process in self._processes)

    def _is_connected(self, process: WorkerProcess) -> bool:
        return self._broker.read_model.worker(process.name) is not None

    def _count_moved(self) -> int:
        """Requests that were assigned again after a worker was lost."""
        totals = self._broker.read_model.totals()
        return totals.retried_count + totals.reassigned_count

    def _elapsed_s(self) -> float:
        if self._began_at is None:
            return 0.0
        return (self._ended_at or time.perf_counter()) - self._began_at

    def _describe_stream(self) -> str:
        workers = _count(len(self._processes), "worker")
        return f"A broker, {workers}, {_count(self._concurrency, 'request')} at once, every answer checked."

    def _worker_rows(self, elapsed_s: float, *, is_over: bool) -> list[WorkerRow]:
        tally = self.tally
        connected = {row.worker_id: row for row in self._broker.read_model.workers()}
        processes = {process.name: process for process in self._processes}
        rows = []
        for name in dict.fromkeys((*processes, *connected, *tally.done_by_worker)):
            process = processes.get(name)
            seen = connected.get(name)
            if seen is not None:
                state = seen.state
            else:
                state = "gone" if process is None else process.state
            done_count = tally.done_by_worker[name]
            average = done_count / elapsed_s if elapsed_s else 0.0
            rows.append(
                WorkerRow(
                    name,
                    None if process is None else process.process_id,
                    state,
                    done_count,
                    tally.failed_by_worker[name],
                    0 if seen is None or is_over else self._in_flight_counts.get(name, 0),
                    average if is_over else self._pace.per_second(name),
                )
            )
        return rows


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
