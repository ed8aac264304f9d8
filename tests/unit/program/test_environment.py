"""Variables that look like settings: which are reported, with what may have been meant, and which are left alone."""

import click
from taskferry.broker.cli import broker
from taskferry.broker.settings import BROKER
from taskferry.cli.demo.cli import VARIABLES as DEMO
from taskferry.cli.http_port import HTTP_VARIABLE
from taskferry.cli.inspection import status
from taskferry.credentials.source import TOKEN_VARIABLE
from taskferry.log.settings import LOG
from taskferry.program.environment import ALONE, FAMILIES, unknown_variables
from taskferry.requester.cli import request
from taskferry.requester.options import REQUESTER
from taskferry.worker.cli import worker
from taskferry.worker.settings import WORKER

from tests.each_case import each_case


def warned(command: click.Command, **environment: str) -> list[str]:
    return [str(event) for event in unknown_variables(click.Context(command), environment)]


@each_case(
    ("command", "variable", "hint"),
    [
        (broker, "TASKFERRY_BROKER_TIMOUT", "; did you mean TASKFERRY_BROKER_TIMEOUT?"),
        (broker, "TASKFERRY_BROKR_TIMEOUT", "; did you mean TASKFERRY_BROKER_TIMEOUT?"),
        (broker, "TASKFERRY_TIMEOUT", "; did you mean TASKFERRY_BROKER_TIMEOUT?"),
        (broker, "TASKFERRY_LOG_LEVL", "; did you mean TASKFERRY_LOG_LEVEL?"),
        (worker, "TASKFERRY_WORKER_CONCURENCY", "; did you mean TASKFERRY_WORKER_CONCURRENCY?"),
        (worker, "TASKFERRY_TOKENS", "; did you mean TASKFERRY_TOKEN?"),
        (request, "TASKFERRY_REQUEST_BROKERS", "; did you mean TASKFERRY_REQUEST_BROKER?"),
        (status, "TASKFERRY_HTTP_TOKENFILE", "; did you mean TASKFERRY_HTTP_TOKEN_FILE?"),
        (broker, "TASKFERRY_zzzzzzzzzzzzzzzzzzz", ""),
    ],
)
def test_one_that_changes_nothing_is_named(command: click.Command, variable: str, hint: str) -> None:
    line = f"the environment variable {variable} is no setting, and changes nothing{hint}"
    assert warned(command, **{variable: "5"}) == [line]


@each_case(
    ("variable", "value"),
    [
        ("TASKFERRY_BROKER_TIMEOUT", "5"),
        ("TASKFERRY_BROKER_LOG_LEVEL", "info"),
        ("TASKFERRY_LOG_FORMAT", "json"),
        ("TASKFERRY_TOKEN", "secret"),
        ("TASKFERRY_PURE", "1"),
        ("TASKFERRY_WORKER_NONSENSE", "that is another program's"),
        ("OTHER_BROKER_TIMOUT", "5"),
        # As Kubernetes makes them, for services named taskferry and taskferry-broker.
        ("TASKFERRY_SERVICE_HOST", "10.0.0.1"),
        ("TASKFERRY_SERVICE_PORT", "8765"),
        ("TASKFERRY_PORT", "tcp://10.0.0.1:8765"),
        ("TASKFERRY_BROKER_SERVICE_PORT_WORKERS", "8765"),
        ("TASKFERRY_BROKER_PORT", "tcp://10.0.0.1:8765"),
        ("TASKFERRY_BROKER_PORT_8765_TCP", "tcp://10.0.0.1:8765"),
        ("TASKFERRY_BROKER_PORT_8765_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_all_others_are_left_alone(variable: str, value: str) -> None:
    assert warned(broker, **{variable: value}) == []


def test_no_value_is_shown() -> None:
    assert "secret" not in str(warned(worker, TASKFERRY_TOKN="secret"))


def test_the_families_are_those_of_all_programs() -> None:
    prefixes = {table.variables.rstrip("_") for table in (BROKER, WORKER, REQUESTER, LOG)}
    assert prefixes | {DEMO.rstrip("_"), HTTP_VARIABLE} == FAMILIES
    assert TOKEN_VARIABLE in ALONE
