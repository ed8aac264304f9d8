"""What Tab offers, and that it asks the broker no more often than it must."""

from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from taskferry.cli.console.completion import FRESH_S, KEYS_COMMANDS_COUNT_MAX, ConsoleCompleter, Keys, Names
from taskferry.cli.http_port import HttpPortError


class Port:
    """Answers as a broker's HTTP port does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_gone = False

    def ask_pages(self, path: str, _: str, key: str) -> Any:
        self.asked.append(path)
        if self.is_gone:
            raise HttpPortError("gone", 5)
        rows = {
            "workers": [{"worker_id": "node-2"}, {"worker_id": "node-1"}, {"worker_id": "two words"}],
            "commands": [{"command": "echo"}, {"command": "calculate"}],
            "connections": [{"connection_id": "c7"}],
        }
        return {key: rows[key]}


@pytest.fixture
def port() -> Port:
    return Port()


def offered(line: str, port: Port, keys: Keys | None = None) -> list[str]:
    names = Names(port)  # type: ignore[arg-type]
    completer = ConsoleCompleter(names, keys or Keys(), lambda verb: [f"--of-{verb}"])
    return [found.text for found in completer.get_completions(Document(line), CompleteEvent())]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dr", ["drain "]),
        ("drain ", ["'two words' ", "node-1 ", "node-2 "]),
        ("drain node-2", ["node-2 "]),
        ("send node-1 e", ["echo "]),
        ("request ", ["calculate ", "echo "]),
        ("request --", ["--of-request "]),
        ("kick ", ["c7 "]),
        ("watch task:pr", ["task:progress "]),
        ("help dr", ["drain "]),
        ("status x", []),
        ("nonsense ", []),
        ("request 'echo ", []),
    ],
)
def test_what_is_offered(port: Port, line: str, words: list[str]) -> None:
    assert offered(line, port) == words


def test_keys_of_data_that_was_sent_before(port: Port) -> None:
    keys = Keys()
    for line in (
        'request echo {"message": "Hi", "times": 2}',
        "send node-1 echo loud=yes --priority=3",
        "request calculate [1]",
        "request echo {broken",
        "request 'echo",
        "status x=1",
        "request echo",
    ):
        keys.learn(line)
    assert offered("request echo ", port, keys) == ["message=", "times=", "loud="]
    assert offered("send node-2 echo message=Hi ti", port, keys) == ["times="]
    assert offered("request calculate ", port, keys) == []


def test_only_so_many_commands_are_remembered() -> None:
    keys = Keys()
    for number in range(KEYS_COMMANDS_COUNT_MAX + 1):
        keys.learn(f"request command-{number} key=1")
    assert keys.of("command-0") == []
    assert keys.of("command-1") == ["key"]


def test_names_are_asked_for_again_after_a_while_and_outlive_a_broker(port: Port) -> None:
    now = 100.0
    names = Names(port, lambda: now)  # type: ignore[arg-type]
    assert names.of("worker") == names.of("worker")
    assert port.asked == ["/api/workers"]
    port.is_gone = True
    now += FRESH_S
    assert "node-1" in names.of("worker")
    assert len(port.asked) == 2
    assert names.of("anything else") == []
