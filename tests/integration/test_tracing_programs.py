"""Tracing as operators switch it on, by `opentelemetry-instrument` and the environment, in separate programs."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.processes import Program, Programs, wait_until

TASKFERRY: Final = str(Path(sys.executable).parent / "taskferry")
# What the script of this name does; the script itself lies elsewhere where Taskferry has an environment of its own.
OPENTELEMETRY_INSTRUMENT: Final = (
    "-c",
    "from importlib.metadata import entry_points\n"
    "(script,) = entry_points(group='console_scripts', name='opentelemetry-instrument')\n"
    "script.load()()",
)
CONSOLE: Final = {
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
}
READY: Final = r"workers (ws://\S+)  requesters (ws://\S+)  http (http://\S+)"

WORKER = """
from opentelemetry.trace import get_tracer
from taskferry.worker import Worker

worker = Worker(process_count=1)

@worker.command("in_process", executor="process")
def in_process(wish: str) -> None:
    with get_tracer("handler").start_as_current_span(wish):
        pass
"""


def instrumented(programs: Programs, service: str, *arguments: str) -> Program:
    """`opentelemetry-instrument taskferry ...`, which prints its spans."""
    environment = {**CONSOLE, "OTEL_SERVICE_NAME": service, "PYTHONPATH": str(programs.folder)}
    return programs.start(*OPENTELEMETRY_INSTRUMENT, TASKFERRY, *arguments, environment=environment)


def spans_of(program: Program) -> list[Mapping[str, Any]]:
    """The spans that the console exporter has printed so far: JSON objects, among other lines."""
    decoder = json.JSONDecoder()
    text = program.stdout
    starts = (found.start() for found in re.finditer(r"^\{$", text, re.MULTILINE))
    spans = []
    for start in starts:
        try:
            spans.append(decoder.raw_decode(text, start)[0])
        except json.JSONDecodeError:
            continue  # only half of it has been printed
    return spans


def spans_named(program: Program, name: str) -> list[Mapping[str, Any]]:
    return [span for span in spans_of(program) if span["name"] == name]


def test_all_three_programs_and_their_processes(programs: Programs) -> None:
    (programs.folder / "traced_tasks.py").write_text(WORKER)
    broker = instrumented(
        programs, "the-broker",
        "broker", "--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0",
    )  # fmt: skip
    workers_url, requesters_url, _ = broker.wait_for_stdout(READY).groups()
    worker = instrumented(
        programs, "the-worker",
        "worker", "traced_tasks:worker", "--broker", workers_url, "--name", "w", "--processes", "2",
    )  # fmt: skip
    worker.wait_for_stderr(r"(?s)connected to.*connected to")
    request = instrumented(
        programs, "the-requester",
        "request", "in_process", "wish=sun", "--broker", requesters_url,
    )  # fmt: skip
    assert request.wait() == 0, request.stderr
    (call,) = spans_named(request, "in_process")
    wait_until(lambda: spans_named(worker, "sun"), "the span that the handler made")
    wait_until(lambda: spans_named(worker, "in_process"), "the worker's span")
    wait_until(lambda: len(spans_named(broker, "in_process")) == 2, "the broker's spans")
    (inside,), (served,) = spans_named(worker, "sun"), spans_named(worker, "in_process")
    admitted = next(span for span in spans_named(broker, "in_process") if span["kind"] == "SpanKind.SERVER")
    assert (call["kind"], call["parent_id"]) == ("SpanKind.CLIENT", None)
    assert served["parent_id"] == admitted["parent_id"] == call["context"]["span_id"]
    assert inside["parent_id"] == served["context"]["span_id"]
    assert {span["context"]["trace_id"] for span in (admitted, served, inside)} == {
        call["context"]["trace_id"]
    }
    assert served["attributes"]["taskferry.worker.id"].startswith("w")
    assert [span["resource"]["attributes"]["service.name"] for span in (call, admitted, served)] == [
        "the-requester",
        "the-broker",
        "the-worker",
    ]
    broker.terminate()
    assert broker.wait() == 0
    assert "Traceback" not in broker.stderr + worker.stderr + request.stderr


def test_without_it_no_program_loads_opentelemetry(programs: Programs) -> None:
    """Installed is not switched on: the hot paths must not pay for it."""
    code = (
        "import sys, taskferry.broker.broker, taskferry.requester.client, taskferry.requester.blocking,"
        " taskferry.worker.session, taskferry.tracing;"
        " print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    program = programs.start("-c", code)
    assert program.wait() == 0, program.stderr
    assert program.stdout == "[]\n"


def test_without_the_package_the_error_says_what_to_install(programs: Programs) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from taskferry.tracing import TaskferryInstrumentor\n"
        "try:\n    TaskferryInstrumentor().instrument()\nexcept ImportError as error:\n    print(error)"
    )
    program = programs.start("-c", code)
    assert program.wait() == 0, program.stderr
    assert program.stdout == "tracing needs OpenTelemetry's API: pip install opentelemetry-api\n"
