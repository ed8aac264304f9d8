"""The options of a worker: each bound on both sides, each error names its option."""

from typing import Any

import pytest
from taskferry.worker import Worker
from taskferry.worker.name import default_name
from taskferry.worker.settings import settings_from


@pytest.mark.parametrize(
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
        {"canary": "c" * 128},
        {"encoding": "msgpack"},
        {"grace_s": 0},
        {"grace_s": 3600},
        {"thread_count": 1000},
        {"process_count": 256},
    ],
)
def test_within_the_bounds(options: dict[str, Any]) -> None:
    settings = Worker(**options).settings
    for name, value in options.items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": ""}, "name: Expected str of length >= 1"),
        ({"name": "a" * 129}, "name: Expected str of length <= 128"),
        ({"name": "a b"}, "name: only letters, digits and _ . : @ / - may be used, a letter or digit first"),
        ({"concurrency": 0}, "concurrency: Expected int >= 1"),
        ({"concurrency": 10_001}, "concurrency: Expected int <= 10000"),
        ({"concurrency": "4"}, "concurrency: Expected int, got str"),
        ({"weight": 0.009}, "weight: Expected float >= 0.01"),
        ({"weight": 101}, "weight: Expected float <= 100"),
        ({"labels": {f"k{number}": "" for number in range(33)}}, "labels: Expected object of length <= 32"),
        ({"labels": {"k": "v" * 129}}, "labels: Expected str of length <= 128"),
        ({"labels": {"k": 1}}, "labels: Expected str, got int"),
        ({"canary": "c" * 129}, "canary: Expected str of length <= 128"),
        ({"canary": "a b"}, "canary: only letters, digits and"),
        ({"canary": True}, r"canary: Expected str \| null, got bool"),
        ({"encoding": "xml"}, "encoding: Invalid enum value 'xml'"),
        ({"grace_s": -1}, "grace_s: Expected float >= 0"),
        ({"grace_s": 3601}, "grace_s: Expected float <= 3600"),
        ({"thread_count": 0}, "thread_count: Expected int >= 1"),
        ({"thread_count": 1001}, "thread_count: Expected int <= 1000"),
        ({"process_count": 257}, "process_count: Expected int <= 256"),
    ],
)
def test_beyond_the_bounds(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{expected}"):
        Worker(**options)


def test_the_default_name_is_one_that_a_broker_takes_and_unique() -> None:
    names = {default_name() for _ in range(20)}
    assert len(names) > 1
    for name in names:
        assert settings_from({"name": f"{name}-256"}).name == f"{name}-256"


@pytest.mark.parametrize("host", ["", "-", "h" * 300, "höst name!", "_x"])
def test_the_default_name_does_not_depend_on_a_decent_host_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert settings_from({"name": default_name()}).name
