"""Workers of every kind behind a real broker, called by a plain requester: results, failures, both encodings."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.processes import Broker, Programs, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

Response = dict[str, Any]


def ask(url: str, command: str, data: object = None, **fields: object) -> Response:
    """One request on a separate connection."""
    request = {"request_id": "r", "command": command, "data": {} if data is None else data, **fields}
    with connect(url) as link:
        link.send(json.dumps(request))
        response: Response = json.loads(link.recv(timeout=20))
    assert set(response) >= {"request_id", "success", "data", "error", "processed_by"}
    return response


def wait_for_worker(broker: Broker, name: str) -> None:
    wait_until(lambda: name in broker.workers(), f"worker {name} is connected")


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_built_in_commands(programs: Programs, broker: Broker, encoding: str) -> None:
    options = ("--broker", broker.worker_url, "--name", "builtin", "--encoding", encoding)
    programs.start("-m", "taskferry.worker", *options)
    wait_for_worker(broker, "builtin")
    url = broker.requester_url
    echo = ask(url, "echo", {"message": "Hello World"})
    assert (echo["success"], echo["data"], echo["processed_by"]) == (True, "Echo: Hello World", "builtin")
    now = datetime.strptime(ask(url, "get_time")["data"], "%Y-%m-%d %H:%M:%S")
    assert abs(datetime.now() - now) < timedelta(seconds=10)
    assert ask(url, "calculate", {"a": 6, "b": 7, "op": "*"})["data"] == 42
    assert ask(url, "get_system_info")["data"]["cpu_count"] >= 1
    failed = ask(url, "calculate", {"a": 1, "b": 0, "op": "/"})
    assert (failed["success"], failed["code"]) == (False, "division_by_zero")
    assert failed["error"] == "division by zero: 1 / 0"
    wrong = ask(url, "calculate", {"a": "1", "b": 0, "op": "/"})
    assert (wrong["code"], wrong["error"]) == ("bad_request", "a: Expected `int | float`, got `str`")


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_example_module(programs: Programs, broker: Broker, encoding: str) -> None:
    programs.start(
        *(
            "-c",
            "import os, sys; os.chdir(sys.argv.pop(1)); from taskferry.worker.cli import worker; worker()",
        ),
        *(
            str(EXAMPLES),
            "tasks:worker",
            "--broker",
            broker.worker_url,
            "--name",
            "tasks",
            "--encoding",
            encoding,
        ),
    )
    wait_for_worker(broker, "tasks")
    url = broker.requester_url
    assert ask(url, "greet", {"name": "Ada"})["data"] == "Hello, Ada!"
    assert ask(url, "count_words", {"text": "to be or not to be"})["data"] == {
        "to": 2,
        "be": 2,
        "or": 1,
        "not": 1,
    }
    assert ask(url, "count_primes", {"limit": 100_000})["data"] == 9592
    assert ask(url, "nap", {"seconds": 0.01})["data"] == {"slept_s": 0.01}
    assert ask(url, "nap", {"seconds": 60}, timeout=5)["code"] == "too_long"
    assert ask(url, "greet", {"nome": "Ada"})["code"] == "bad_request"


@pytest.mark.parametrize(
    ("name", "command", "data", "expected"),
    [
        ("plain-json", "shout", {"text": "quiet"}, "QUIET"),
        ("plain-msgpack", "reverse", {"value": "abc", "after_s": 0.01}, "cba"),
    ],
)
def test_workers_without_the_sdk(
    *, programs: Programs, broker: Broker, name: str, command: str, data: object, expected: str
) -> None:
    encoding = name.removeprefix("plain-")
    programs.start(str(EXAMPLES / f"plain_worker_{encoding}.py"), broker.worker_url)
    wait_for_worker(broker, name)
    assert ask(broker.requester_url, command, data)["data"] == expected
    failed = ask(broker.requester_url, command, {})
    assert (failed["success"], failed["code"]) == (False, "handler_error")
    assert ask(broker.requester_url, command, data)["processed_by"] == name


def test_a_result_over_the_brokers_bound_is_an_error(programs: Programs, tmp_path: Path) -> None:
    broker = programs.start_broker("--message-size-bytes-max", str(64 * 1024))
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url, "--name", "builtin")
    wait_for_worker(broker, "builtin")
    fits = "x" * (60 * 1024 - 100)
    assert ask(broker.requester_url, "echo", {"message": fits})["data"] == f"Echo: {fits}"
    # Twice as long in JSON: the request fits, the result does not.
    failed = ask(broker.requester_url, "echo", {"message": ['"' * 20_000]})
    assert failed["code"] == "too_large"
    assert failed["error"].endswith(
        f"bytes, at most {60 * 1024} (message_size_bytes_max of the broker less 4096)"
    )
