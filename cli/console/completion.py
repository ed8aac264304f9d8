"""What Tab offers: verbs, then the names of workers, commands, connections and topics that the broker knows now, the
options of a verb, and the keys of data that was sent to a command before."""

import json
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from ..http_port import HttpPort, HttpPortError
from .line import LineError, words_of
from .verbs import COMMAND, CONNECTION, DATA, HELP, QUITS, TOPIC, TOPICS, VERBS, WORKER

FRESH_S: Final = 2.0
"""How long names that were asked for are offered before they are asked for again."""

NAMES_COUNT_MAX: Final = 10_000
"""Names of one kind that are kept."""

KEYS_COMMANDS_COUNT_MAX: Final = 1000
"""Commands whose keys are remembered; the oldest is forgotten first."""

_LISTS: Final = {
    WORKER: ("/api/workers", "workers", "worker_id"),
    COMMAND: ("/api/commands", "commands", "command"),
    CONNECTION: ("/api/connections", "connections", "connection_id"),
}
"""Of each kind: the list that has its names, and under which keys."""


class Names:
    """The names that the broker knows, each list at most FRESH_S old."""

    def __init__(self, port: HttpPort, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._kept: dict[str, tuple[float, list[str]]] = {}

    def of(self, kind: str) -> list[str]:
        """The names of one kind; those from before if the broker does not answer."""
        if kind == TOPIC:
            return list(TOPICS)
        if kind not in _LISTS:
            return []
        asked_at, names = self._kept.get(kind, (-FRESH_S, []))
        if self._clock() - asked_at >= FRESH_S:
            path, key, name = _LISTS[kind]
            try:
                rows = self._port.ask_pages(path, path, key)[key]
                names = [str(row[name]) for row in rows[:NAMES_COUNT_MAX]]
            except (HttpPortError, LookupError, TypeError):
                pass
            self._kept[kind] = (self._clock(), names)
        return names


class Keys:
    """The keys of the data that each command was sent in lines typed before."""

    def __init__(self) -> None:
        self._by_command: dict[str, dict[str, None]] = {}

    def learn(self, line: str) -> None:
        """A line was typed, now or in an earlier session."""
        try:
            words = words_of(line)
        except LineError:
            return
        kinds = VERBS[words[0]].completes if words and words[0] in VERBS else ()
        if DATA not in kinds or len(words) <= len(kinds):
            return
        keys = self._by_command.pop(words[kinds.index(COMMAND) + 1], {})
        for word in words[len(kinds) :]:
            keys.update(dict.fromkeys(_keys_in(word)))
        self._by_command[words[kinds.index(COMMAND) + 1]] = keys
        if len(self._by_command) > KEYS_COMMANDS_COUNT_MAX:
            del self._by_command[next(iter(self._by_command))]

    def of(self, command: str) -> list[str]:
        """Those of one command, as they were first seen."""
        return list(self._by_command.get(command, ()))


class ConsoleCompleter(Completer):
    """`options`: the options of a verb."""

    def __init__(self, names: Names, keys: Keys, options: Callable[[str], Iterable[str]]) -> None:
        self._names = names
        self._keys = keys
        self._options = options

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may follow the text before the cursor. May wait for the broker: call it in a thread."""
        line = document.text_before_cursor
        word = "" if not line or line[-1].isspace() else line.split()[-1]
        try:
            before = words_of(line[: len(line) - len(word)])
        except LineError:
            return
        for offered in self._offered(before, word):
            if offered.startswith(word):
                space = "" if offered.endswith("=") else " "
                yield Completion(f"{offered}{space}", start_position=-len(word), display=offered)

    def _offered(self, before: list[str], word: str) -> Iterable[str]:
        if not before:
            return sorted((*VERBS, HELP, *QUITS))
        verb = VERBS.get(before[0])
        if verb is None:
            return sorted(VERBS) if before == [HELP] else []
        if word.startswith("-"):
            return self._options(before[0])
        kinds = verb.completes
        if not kinds:
            return []
        kind = kinds[min(len(before), len(kinds)) - 1]
        if kind != DATA:
            return sorted(shlex.quote(name) for name in self._names.of(kind))
        return (f"{key}=" for key in self._keys.of(before[kinds.index(COMMAND) + 1]))


def options_of(command: click.Command | None) -> list[str]:
    """The long options of a command."""
    if command is None:
        return []
    return [name for parameter in command.params for name in parameter.opts if name.startswith("--")]


def _keys_in(word: str) -> list[str]:
    if word.startswith("{"):
        try:
            value: Any = json.loads(word)
        except (ValueError, RecursionError):
            return []
        return [str(key) for key in value]
    key, separator, _ = word.partition("=")
    return [key] if separator and not key.startswith("-") else []
