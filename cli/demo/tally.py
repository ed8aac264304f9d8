"""The requests that the demo sends, how their answers are checked, and the counts of both.

Pure: takes answers and durations as arguments.
"""

import math
import operator
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

COMMANDS: Final = ("echo", "get_time", "calculate")
"""Sent in turn: built-in commands that may run twice, so that a lost worker costs no request."""

CLOCK_DIFFERENCE_S_MAX: Final = 30.0
"""The largest difference between the time in an answer and the time when it arrives. Both are from the clock of this
machine, and no request takes nearly as long."""

WRONG_ANSWER: Final = "wrong_answer"
"""Counted beside the codes of the error registry: a success with wrong data."""

_OPERATIONS: Final[tuple[tuple[str, Callable[[int, int], float]], ...]] = (
    ("+", operator.add),
    ("-", operator.sub),
    ("*", operator.mul),
    ("/", operator.truediv),
    ("//", operator.floordiv),
    ("%", operator.mod),
    ("**", operator.pow),
)
"""Python's own arithmetic, not the worker's: code cannot check itself."""


class Probe(NamedTuple):
    """A request, and how to check its answer."""

    command: str
    data: dict[str, Any]
    is_right: Callable[[Any], bool]


def make_probe(number: int) -> Probe:
    """The request with this number, from 0. Commands take turns, and the data varies."""
    match COMMANDS[number % len(COMMANDS)]:
        case "echo":
            message = f"Hello-{number % 10_000}"
            return Probe("echo", {"message": message}, partial(operator.eq, f"Echo: {message}"))
        case "get_time":
            return Probe("get_time", {}, is_local_time)
        case _:
            sign, operation = _OPERATIONS[number % len(_OPERATIONS)]
            a, b = number % 97, number % 7 + 1
            return Probe("calculate", {"a": a, "b": b, "op": sign}, partial(operator.eq, operation(a, b)))


def is_local_time(answer: Any) -> bool:
    """Whether `answer` is the local time now, as `YYYY-MM-DD HH:MM:SS`."""
    try:
        answered = datetime.fromisoformat(
            answer
        )  # several times as fast as strptime, and too lenient by itself
    except (TypeError, ValueError):
        return False
    is_in_form = answered.tzinfo is None and answered.isoformat(" ", "seconds") == answer
    return is_in_form and abs((datetime.now() - answered).total_seconds()) <= CLOCK_DIFFERENCE_S_MAX


class Latencies:
    """Durations, whose percentiles are exact to 1 %, in constant memory.

    Each bucket is 2 % wider than the one before, so that its middle is within 1 % of all its values. Source: Masson,
    Rim, Lee: DDSketch, VLDB 2019. From 1 us to 100 s; durations outside count as that bound.
    """

    __slots__ = ("_counts", "count")

    _SHORTEST_S: Final = 1e-6
    _LONGEST_S: Final = 100.0
    _GROWTH: Final = 1.02
    _STEPS_PER_E: Final = 1 / math.log(_GROWTH)

    def __init__(self) -> None:
        self._counts = [0] * (int(math.log(self._LONGEST_S / self._SHORTEST_S) * self._STEPS_PER_E) + 1)
        self.count = 0

    def add(self, duration_s: float) -> None:
        """Count a duration."""
        bounded_s = min(max(duration_s, self._SHORTEST_S), self._LONGEST_S)
        self._counts[int(math.log(bounded_s / self._SHORTEST_S) * self._STEPS_PER_E)] += 1
        self.count += 1

    def percentile_s(self, percent: float) -> float | None:
        """The duration that this many percent did not exceed (nearest rank). None if there is none yet."""
        rank = math.ceil(self.count * percent / 100)
        for step, count in enumerate(self._counts):
            rank -= count
            if count and rank <= 0:
                return self._SHORTEST_S * float(self._GROWTH ** (step + 0.5))
        return None


class CommandTally:
    """The correct answers of one command. `example`: the last one, with the data that was sent."""

    __slots__ = ("done_count", "example", "latencies")

    def __init__(self) -> None:
        self.done_count = 0
        self.latencies = Latencies()
        self.example: tuple[dict[str, Any], Any] | None = None


class Tally:
    """The outcomes of all requests, by command, worker and failure."""

    def __init__(self) -> None:
        self.sent_count = 0
        self.latencies = Latencies()
        self.by_command = {command: CommandTally() for command in COMMANDS}
        self.done_by_worker: Counter[str] = Counter()
        self.failed_by_worker: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """Failed requests by error code."""
        self.first_failure: str | None = None
        """An example says more than a number."""

    @property
    def done_count(self) -> int:
        """Requests with a correct answer."""
        return sum(tally.done_count for tally in self.by_command.values())

    @property
    def failed_count(self) -> int:
        """Requests that ended in any other way."""
        return self.failures.total()

    @property
    def unanswered_count(self) -> int:
        """Requests that have not ended."""
        return self.sent_count - self.done_count - self.failed_count

    def next_probe(self) -> Probe:
        """The next request. It is counted as sent."""
        probe = make_probe(self.sent_count)
        self.sent_count += 1
        return probe

    def succeeded(self, probe: Probe, answer: Any, worker: str, duration_s: float) -> None:
        """A worker has answered. The answer is checked here."""
        if not probe.is_right(answer):
            self.failed(probe, WRONG_ANSWER, f"{probe.data} was answered {answer!r}", worker)
            return
        tally = self.by_command[probe.command]
        tally.done_count += 1
        tally.latencies.add(duration_s)
        tally.example = (probe.data, answer)
        self.latencies.add(duration_s)
        self.done_by_worker[worker] += 1

    def failed(self, probe: Probe, code: str, text: str, worker: str | None) -> None:
        """The request ended without a correct answer. `worker` had it last, if any."""
        self.failures[code] += 1
        if worker is not None:
            self.failed_by_worker[worker] += 1
        if self.first_failure is None:
            self.first_failure = f"{probe.command}: {text} [{code}]"


class Pace:
    """How fast counts grow per second, over the last `LOOKS_COUNT` looks, and the past growth of their sum."""

    LOOKS_COUNT: Final = 4
    COURSE_COUNT_MAX: Final = 240
    """Looks in the course: those of a minute, wider than a screen."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque(maxlen=self.LOOKS_COUNT + 1)
        self.course: deque[float] = deque(maxlen=self.COURSE_COUNT_MAX)
        """The sum's growth per second from each look to the next."""

    def look(self, at_s: float, counts: Mapping[str, int]) -> None:
        """Take the counts at `at_s`. A second look at the same moment is ignored."""
        if self._looks:
            before_s, before = self._looks[-1]
            if at_s <= before_s:
                return
            self.course.append((sum(counts.values()) - sum(before.values())) / (at_s - before_s))
        self._looks.append((at_s, dict(counts)))

    def per_second(self, name: str) -> float:
        """The growth of one count. 0 before the second look."""
        if len(self._looks) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._looks[0], self._looks[-1]
        return (last.get(name, 0) - first.get(name, 0)) / (last_s - first_s)
