"""Broker, workers and a real Prometheus with the project's rules: PromQL shows what happened to them. Requests are sent
at a known rate, a worker is killed, the broker is killed, and exactly the expected alerts fire."""

import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taskferry.broker.identity.static_token import digest_of, new_token
from taskferry.requester import BlockingRequester
from websockets.sync.client import connect

from tests.deploy.prometheus import SPEED, Prometheus, sped_up
from tests.deploy.tools import needed
from tests.processes import PATIENCE_S, Broker, Program, Programs, wait_until

RATE: Final = 9.7
"""Requests per second of each command, one after another: each must have ended when the next is due. Not an integer, or
every scrape would fall into the same phase of a request."""
NAP_S: Final = 0.06
"""How long the slow command takes: between the buckets of 50 and 100 ms."""
TASKS: Final = """
import asyncio
from taskferry.worker import Worker

worker = Worker(concurrency=8)

@worker.command()
async def quick() -> str:
    return "done"

only_here = Worker(concurrency=8)

@only_here.command()
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)
"""


class Traffic(threading.Thread):
    """Requests of one command at RATE until stopped, even if they fail; `sent_count` counts them."""

    def __init__(self, requester: BlockingRequester, command: str, data: dict[str, float]) -> None:
        super().__init__()
        self._requester, self._command, self._data = requester, command, data
        self._is_stopping = threading.Event()
        self.sent_count = 0

    def run(self) -> None:
        began_at = time.monotonic()
        while not self._is_stopping.wait(began_at + self.sent_count / RATE - time.monotonic()):
            self._requester.request(self._command, self._data, timeout=5)
            self.sent_count += 1

    def stop(self) -> None:
        self._is_stopping.set()
        self.join()


@contextmanager
def traffic_to(broker: Broker) -> Iterator[dict[str, Traffic]]:
    """RATE requests per second of each of the two commands."""
    with BlockingRequester(broker.requester_url) as requester:
        traffics = {
            "quick": Traffic(requester, "quick", {}),
            "nap": Traffic(requester, "nap", {"seconds": NAP_S}),
        }
        for traffic in traffics.values():
            traffic.start()
        try:
            yield traffics
        finally:
            for traffic in traffics.values():
                traffic.stop()


def start_worker(programs: Programs, broker: Broker, name: str, which: str) -> Program:
    arguments = ("-m", "taskferry.worker", "--broker", broker.worker_url, "--name", name, f"operated:{which}")
    worker = programs.start(*arguments, environment={"PYTHONPATH": str(programs.folder)})
    worker.wait_for_stderr("connected")
    return worker


def about(expected: float, share: float = 0.15) -> Callable[[float], bool]:
    """A check that a value is within `share` of `expected`."""
    return lambda value: abs(value - expected) <= share * expected


def test_rules_run_faster_and_are_otherwise_the_same() -> None:
    assert (
        sped_up("x[5m] > 2\nfor: 1m\n# in 15 minutes\n") == "x[10000ms] > 2\nfor: 2000ms\n# in 15 minutes\n"
    )
    assert SPEED == 30


def test_prometheus_sees_what_happens(programs: Programs, tmp_path: Path) -> None:
    needed("prometheus")
    (tmp_path / "operated.py").write_text(TASKS)
    broker = programs.start_broker("--grace", "1")
    for number in (1, 2):
        start_worker(programs, broker, f"quick-{number}", "worker")
    only_one = start_worker(programs, broker, "napper", "only_here")
    prometheus = Prometheus(programs, broker)

    with traffic_to(broker) as traffics:
        _healthy(prometheus)
        only_one.kill()
        _a_worker_is_gone(prometheus)
        start_worker(programs, broker, "napper", "only_here")
        _it_is_back(prometheus)
        sent_counts = {command: traffic.sent_count for command, traffic in traffics.items()}
    _every_request_is_counted_once(prometheus, sent_counts)

    broker.kill()
    prometheus.wait_for_firing({("TaskferryBrokerDown", "")})
    assert prometheus.value('up{job="taskferry"}') == 0


def _healthy(prometheus: Prometheus) -> None:
    for command in ("quick", "nap"):
        rate = f'sum(rate(taskferry_requests_total{{command="{command}",outcome="success"}}[10s]))'
        prometheus.wait_for(rate, about(RATE), timeout_s=40)
        recorded = f'command:taskferry_requests:rate5m{{command="{command}"}}'
        prometheus.wait_for(recorded, about(RATE))
        ratio = f'command:taskferry_request_failures:ratio_rate5m{{command="{command}"}}'
        assert prometheus.value(ratio) == 0

    mean = (
        'rate(taskferry_request_duration_seconds_sum{command="nap"}[10s]) '
        '/ rate(taskferry_request_duration_seconds_count{command="nap"}[10s])'
    )
    prometheus.wait_for(mean, lambda mean_s: NAP_S <= mean_s <= 2 * NAP_S)
    prometheus.wait_for(
        'command:taskferry_request_duration_seconds:p50_rate5m{command="nap"}',
        lambda p50_s: 0.05 < p50_s <= 0.1,
    )
    prometheus.wait_for(
        'command:taskferry_request_duration_seconds:p50_rate5m{command="quick"}',
        lambda p50_s: 0 < p50_s <= 0.025,
    )
    in_worker = (
        'rate(taskferry_worker_duration_seconds_sum{command="nap"}[10s]) '
        '/ rate(taskferry_worker_duration_seconds_count{command="nap"}[10s])'
    )
    prometheus.wait_for(in_worker, lambda mean_s: NAP_S <= mean_s <= 2 * NAP_S)

    assert prometheus.value('sum(taskferry_workers{state="healthy"})') == 3
    assert prometheus.value("sum(taskferry_worker_slots)") == 24
    # Little's law: 9.7 per second that take 60 ms each are 0.58 in flight.
    prometheus.wait_for(
        'avg_over_time(taskferry_worker_in_flight{worker="napper"}[10s])', lambda count: 0.2 < count <= 1
    )
    used = prometheus.value("instance:taskferry_slots_used:ratio")
    assert used is not None
    assert 0 <= used < 0.5
    assert prometheus.value('taskferry_connections{port="worker"}') == 3
    assert prometheus.value('taskferry_connections{port="requester"}') == 1
    assert prometheus.firing() == set()


def _a_worker_is_gone(prometheus: Prometheus) -> None:
    prometheus.wait_for('sum(taskferry_workers{state="healthy"})', lambda count: count == 2)
    ends_so = 'rate(taskferry_requests_total{command="nap",outcome="no_available_workers"}[10s])'
    prometheus.wait_for(ends_so, about(RATE, 0.3), timeout_s=40)
    prometheus.wait_for(
        'command:taskferry_request_failures:ratio_rate5m{command="nap"}', lambda ratio: ratio > 0.9
    )
    expected = {
        ("TaskferryRequestsWithoutWorkers", "nap"),
        ("TaskferryErrorRatio", "nap"),
        ("TaskferryCommandWithoutWorkers", "nap"),
    }
    prometheus.wait_for_firing(expected, timeout_s=40)
    # Requests of the other command are not affected.
    assert prometheus.value('command:taskferry_request_failures:ratio_rate5m{command="quick"}') == 0
    prometheus.wait_for('command:taskferry_requests:rate5m{command="quick"}', about(RATE))


def _it_is_back(prometheus: Prometheus) -> None:
    prometheus.wait_for('sum(taskferry_workers{state="healthy"})', lambda count: count == 3)
    prometheus.wait_for_firing(set(), timeout_s=40)


def _every_request_is_counted_once(prometheus: Prometheus, sent_counts: dict[str, int]) -> None:
    """At most one request of each command was sent after the count was taken."""
    for command, sent_count in sent_counts.items():
        ended = f'sum(taskferry_requests_total{{command="{command}"}})'
        prometheus.wait_for(ended, lambda count, sent=sent_count: sent <= count <= sent + 1)  # type: ignore[misc]  # a default in a lambda


def test_the_absence_of_all_workers_is_reported(programs: Programs) -> None:
    needed("prometheus")
    broker = programs.start_broker("--grace", "0")
    prometheus = Prometheus(programs, broker)
    prometheus.wait_for_firing({("TaskferryNoWorkers", "")})
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
    wait_until(broker.workers, "a worker")
    prometheus.wait_for_firing(set())


def test_jobs_and_a_journal_that_need_a_person_are_reported(programs: Programs) -> None:
    needed("prometheus")
    broker = programs.start_broker("--grace", "0")
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
    wait_until(broker.workers, "a worker")
    prometheus = Prometheus(programs, broker)
    with connect(broker.requester_url) as requester:

        def submit(message: str) -> dict[str, object]:
            data = {message: "x"}
            requester.send(json.dumps({"type": "submit", "command": "echo", "data": data}))
            answer: dict[str, object] = json.loads(requester.recv(PATIENCE_S))
            return answer

        submit("message")
        prometheus.wait_for('taskferry_jobs{state="done"}', lambda count: count == 1)
        assert prometheus.firing() == set()
        submit("massage")
        dead = ("TaskferryJobsDead", "")
        prometheus.wait_for_firing({dead})
        # As if the disk were full: files of the broker can grow no more.
        most = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (32 * 1024, most))
        assert submit("message")["code"] == "journal_failed"
        prometheus.wait_for_firing({dead, ("TaskferryJournalFailing", "")})
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (most, most))
        prometheus.wait_for_firing({dead})
        assert submit("message")["type"] == "receipt"


def test_prometheus_logs_in_by_the_lines_of_the_example(programs: Programs, tmp_path: Path) -> None:
    token = tmp_path / "taskferry.token"
    token.write_text(new_token())  # of nobody
    made = new_token()
    (tmp_path / "access.toml").write_text(
        f'[identities.prometheus]\nroles = ["observer"]\ntokens = [{{ sha256 = "{digest_of(made).hex()}" }}]\n'
    )
    broker = programs.start_broker("--access", str(tmp_path / "access.toml"))
    uncommented = rf"    authorization:\n      credentials_file: {token}"
    prometheus = Prometheus(
        programs, broker, {r"    # authorization:\n    #   credentials_file: \S+": uncommented}
    )
    up = 'up{job="taskferry"}'
    prometheus.wait_for(up, lambda value: value == 0)
    token.write_text(f"{made}\n")  # read again at each scrape
    prometheus.wait_for(up, lambda value: value == 1)
    prometheus.wait_for('taskferry_logins_total{outcome="refused",proof="token"}', lambda value: value >= 1)
