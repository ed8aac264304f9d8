"""The settings of a worker: each bound on both sides, each error names its setting."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest
from taskferry.worker import Worker
from taskferry.worker.name import default_name
from taskferry.worker.settings import WORKER, WorkerSettings

from tests.each_case import each_case


@each_case(
    "options",
    [
        {},
        {"name": "a" * 128},
        {"name": "host-1.example:7/a@b_c"},
        {"concurrency": 1},
        {"concurrency": 10_000},
        {"weight": 0.01},
        {"weight": 100},
        {"labels": {f"k{number}": "v" * 128 for number in range(32)}},
        {"device": {f"k{number}": "v" * 256 for number in range(11)}},
        {"canary": "c" * 128},
        {"encoding": "msgpack"},
        {"grace_s": 0},
        {"grace_s": 3600},
        {"thread_count": 1000},
        {"process_count": 256},
        {"max_tasks_per_process": 1},
        {"max_tasks_per_process": 1_000_000},
    ],
)
def test_within_the_bounds(options: dict[str, Any]) -> None:
    settings = Worker(**options).settings
    for name, value in options.items():
        assert getattr(settings, name) == value


@each_case(
    ("options", "expected"),
    [
        ({"name": ""}, "name: expected a text of 1 to 128 characters, got 0"),
        ({"name": "a" * 129}, "name: expected a text of 1 to 128 characters, got 129"),
        ({"name": "a b"}, "name: only letters, digits and _ . : @ / - may be used, a letter or digit first"),
        ({"concurrency": 0}, "concurrency: expected a whole number from 1 to 10000, got 0"),
        ({"concurrency": 10_001}, "concurrency: expected a whole number from 1 to 10000, got 10001"),
        ({"concurrency": "4"}, "concurrency: expected a whole number from 1 to 10000, got "),
        ({"concurrency": None}, "concurrency: expected a whole number from 1 to 10000, got None"),
        ({"weight": 0.009}, "weight: expected a number from 0.01 to 100, got 0.009"),
        ({"weight": 101}, "weight: expected a number from 0.01 to 100, got 101"),
        ({"labels": {f"k{number}": "" for number in range(33)}}, "labels: expected at most 32 names, got 33"),
        ({"labels": {"k": "v" * 129}}, 'labels: "k": expected a text of 0 to 128 characters, got 129'),
        ({"labels": {"k": 1}}, 'labels: "k": expected a text of 0 to 128 characters, got 1'),
        ({"canary": "c" * 129}, "canary: expected a text of 1 to 128 characters, got 129"),
        ({"canary": "a b"}, "canary: only letters, digits and"),
        ({"canary": True}, "canary: expected a text of 1 to 128 characters, got true"),
        ({"encoding": "xml"}, 'encoding: expected one of json, msgpack, got "xml"'),
        ({"grace_s": -1}, "grace_s: expected a number of seconds from 0 to 3600, got -1"),
        ({"grace_s": 3601}, "grace_s: expected a number of seconds from 0 to 3600, got 3601"),
        ({"thread_count": 0}, "thread_count: expected a whole number from 1 to 1000, got 0"),
        ({"thread_count": 1001}, "thread_count: expected a whole number from 1 to 1000, got 1001"),
        ({"process_count": 257}, "process_count: expected a whole number from 1 to 256, got 257"),
        (
            {"max_tasks_per_process": 0},
            "max_tasks_per_process: expected a whole number from 1 to 1000000, got 0",
        ),
        (
            {"max_tasks_per_process": 1_000_001},
            "max_tasks_per_process: expected a whole number from 1 to 1000000, got 1000001",
        ),
    ],
)
def test_beyond_the_bounds(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
        Worker(**options)


def test_a_setting_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"^there is no setting 'concurency'$"):
        Worker(concurency=4)  # type: ignore[call-arg]  # which a type checker sees, too


def test_the_sdk_has_the_declared_parameters() -> None:
    taken = inspect.signature(Worker).parameters
    assert taken == inspect.signature(WorkerSettings).parameters
    assert all(f"`{name}`" in (Worker.__doc__ or "") for name in taken)


def test_an_operator_can_set_all_but_what_depends_on_the_handlers() -> None:
    by_operator = {setting.field for setting in WORKER.settings.values()}
    declared = {field.name for field in fields(WorkerSettings)}
    login = {
        "token_file",
        "ca",
        "certificate",
        "key",
        "insecure_skip_verify",
    }  # `run` and `serve` take their own
    assert by_operator - declared == {"broker", "processes", "reload", *login}
    assert declared - by_operator == {"device", "thread_count", "process_count", "max_tasks_per_process"}


def test_labels_are_the_workers_own() -> None:
    labels = {"zone": "a"}
    worker = Worker(labels=labels)
    labels["zone"] = "b"
    assert worker.settings.labels == {"zone": "a"}
    assert Worker(labels=None).settings == Worker().settings


def test_the_default_name_is_valid_and_unique() -> None:
    names = {default_name() for _ in range(20)}
    assert len(names) > 1
    for name in names:
        assert Worker(name=f"{name}-256").settings.name == f"{name}-256"


@pytest.mark.parametrize("host", ["", "-", "h" * 300, "höst name!", "_x"])
def test_the_default_name_does_not_depend_on_a_valid_host_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert Worker(name=default_name()).settings.name
