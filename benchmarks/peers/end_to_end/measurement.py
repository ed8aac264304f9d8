"""One measurement end to end: broker, worker and requester as separate processes, from start to figures.

Nothing is pinned to a core: the system decides where they run, as on a user's machine.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from ...broker_process import running_broker
from ..environments import ROOT
from .closed_loop import FIRST_ANSWER_TIMEOUT_S, Figures, Plan
from .contenders import EndToEnd
from .program import ADDRESS_VARIABLE, PLAN_VARIABLE, parse_report

# For imports, and for what is in flight when the time is up, on a busy machine.
SLACK_S = 30.0
STOP_TIMEOUT_S = 5.0


class ProgramFailed(Exception):
    """A worker or a requester failed. The text is one line for the user."""


def measure_end_to_end(contender: EndToEnd, plan: Plan) -> Figures:
    """Raises Missing, BrokerFailed, ProgramFailed."""
    python = contender.python()
    server = contender.make_server()
    with (
        tempfile.TemporaryDirectory(prefix="taskferry-bench-") as folder,
        running_broker(server.command, server.find_addresses, None) as broker,
    ):
        output = Path(folder, "worker")
        requesters, workers = (
            f"{host}:{port}" for host, port in (broker.addresses.requesters, broker.addresses.workers)
        )
        worker = _arguments(python, contender.worker, workers)
        requester = _arguments(python, contender.requester, requesters)
        environment = {**os.environ, **contender.variables, PLAN_VARIABLE: json.dumps(asdict(plan))}
        with running(worker, {**environment, ADDRESS_VARIABLE: workers}, output):
            try:
                return _run_requester(requester, {**environment, ADDRESS_VARIABLE: requesters}, plan)
            except ProgramFailed as failure:
                raise ProgramFailed(f"{contender.name}: {failure}; worker: {last_line(output)}") from None


def _arguments(python: str, arguments: Sequence[str], address: str) -> list[str]:
    return [python, *(argument.format(address=address) for argument in arguments)]


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], output: Path) -> Iterator[None]:
    """A worker in its own process group: some start further processes, and none may be left behind."""
    with output.open("ab") as writable:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=writable,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        _kill_group(process)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _run_requester(command: Sequence[str], environment: Mapping[str, str], plan: Plan) -> Figures:
    timeout_s = FIRST_ANSWER_TIMEOUT_S + plan.warm_up_s + plan.serial_s + plan.saturated_s + SLACK_S
    try:
        return parse_report(printed_by(command, environment, timeout_s))
    except ValueError as error:
        raise ProgramFailed(f"{shlex.join(command[1:])} printed no figures: {error}") from None


def printed_by(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> str:
    """The output of a program that ends by itself. Raises ProgramFailed if it fails or takes longer."""
    name = shlex.join(command[1:])
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{name} did not end within {timeout_s:g} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["(it printed nothing)"])[-1]
        raise ProgramFailed(f"{name} ended with exit code {done.returncode}: {last}")
    return done.stdout


def last_line(output: Path) -> str:
    """What a worker printed last."""
    return (output.read_text(errors="replace").strip().splitlines() or ["(it printed nothing)"])[-1]
