"""One measurement of one peer's jobs: server, workers and submitter, from start to figures. Nothing is pinned."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from ...broker_process import running_broker
from ..end_to_end.measurement import ProgramFailed, last_line, printed_by, running
from ..end_to_end.program import ADDRESS_VARIABLE, PLAN_VARIABLE
from .contenders import JobPeer
from .loop import FIRST_TIMEOUT_S, JobFigures, JobPlan, parse_report

SLACK_S = 60.0
"""For imports, and for what is in flight when the time is up, on a busy machine."""


def measure_jobs(peer: JobPeer, plan: JobPlan) -> JobFigures:
    """Raises Missing, BrokerFailed, ProgramFailed."""
    python = peer.python()
    variables = {**os.environ, **peer.variables, PLAN_VARIABLE: json.dumps(asdict(plan))}
    timeout_s = FIRST_TIMEOUT_S + plan.submit_s + 2 * plan.serial_s + plan.saturated_s + SLACK_S
    with (
        tempfile.TemporaryDirectory(prefix="taskferry-bench-") as folder,
        _addresses(peer, folder) as (submitters, workers),
        ExitStack() as started,
    ):
        output = Path(folder, "worker")
        worker = [python, *(argument.format(address=workers) for argument in peer.worker)]
        submitter = [python, *(argument.format(address=submitters) for argument in peer.submitter)]
        for _ in range(peer.workers_count):
            started.enter_context(running(worker, {**variables, ADDRESS_VARIABLE: workers}, output))
        try:
            printed = printed_by(submitter, {**variables, ADDRESS_VARIABLE: submitters}, timeout_s)
            return parse_report(printed)
        except ValueError as error:
            raise ProgramFailed(f"{peer.name}: its submitter printed no figures: {error}") from None
        except ProgramFailed as failure:
            raise ProgramFailed(f"{peer.name}: {failure}; worker: {last_line(output)}") from None


@contextmanager
def _addresses(peer: JobPeer, folder: str) -> Iterator[tuple[str, str]]:
    """Those of submitters and of workers, while the server runs."""
    if peer.make_server is None:
        yield f"{folder}/queue.db", f"{folder}/queue.db"
        return
    server = peer.make_server()
    with running_broker(server.command, server.find_addresses, None) as broker:
        (submit_host, submit_port), (work_host, work_port) = (
            broker.addresses.requesters,
            broker.addresses.workers,
        )
        yield f"{submit_host}:{submit_port}", f"{work_host}:{work_port}"
