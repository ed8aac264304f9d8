"""A moment of a run of the demo, with numbers that are easy to recognize in the output."""

from typing import Any

from taskferry.cli.demo.table import Addresses, CommandRow, Incident, Outcome, Snapshot, WorkerRow

ALL_WELL = Outcome({}, None, unanswered_count=0, is_cut_short=False)
WORKERS = [
    WorkerRow("worker-1", 4001, "healthy", 1_234_567, 0, 8, 15_234.4),
    WorkerRow("worker-2", 4002, "killed", 987_654, 3, 0, 0.0),
    WorkerRow("worker-3", 4003, "starting", 0, 0, 0, 0.0),
]
COMMANDS = [
    CommandRow("echo", 740_740, 0.00046, 0.0011, ({"message": "Hello-9999"}, "Echo: Hello-9999")),
    CommandRow("get_time", 740_740, 0.00046, 0.25, ({}, "2026-11-21 06:13:56")),
    CommandRow("calculate", 740_741, None, None, ({"a": 96, "b": 7, "op": "//"}, 13.714285714285714)),
]


def snapshot(**changes: Any) -> Snapshot:
    """A moment in the middle of a run."""
    moment = Snapshot(
        headline="A broker, 3 workers, 24 requests at once, every answer checked.",
        elapsed_s=8.25,
        duration_s=10.0,
        addresses=Addresses(
            "taskferry", "ws://127.0.0.1:50001", "ws://127.0.0.1:50002", "http://127.0.0.1:50003"
        ),
        workers=WORKERS,
        commands=COMMANDS,
        done_count=2_222_221,
        failed_count=3,
        in_flight_count=24,
        rate_title="average/s",
        per_second=15_234.4,
        course=[1.0, 50.0, 100.0],
        p50_s=0.00046,
        p99_s=0.0011,
        incidents=[
            Incident(4.0, "worker-2 was killed (kill -9); its 12 requests went to other workers"),
            Incident(6.0, "worker-2 is back, a new process, and gets its share again"),
        ],
    )
    return moment._replace(**changes)
