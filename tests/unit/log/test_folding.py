"""Lines that repeat: the first is logged at once, the others are summed up once the window is over."""

import logging
from typing import ClassVar

import pytest
from taskferry.broker.events import WorkerJoined, WorkerLeft
from taskferry.log.event import Event
from taskferry.log.folding import KEYS_COUNT_MAX, WINDOW_S, Folding
from taskferry.log.format import repetition_of
from taskferry.requester.events import ConnectedAgain, LinkLost
from taskferry.worker.events import BrokerOutOfReach, WorkerConnected

from tests.each_case import each_case


class Flapped(Event, frozen=True):
    text: ClassVar[str] = "{worker} flapped: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    reason: str = ""


class Landed(Event, frozen=True):
    text: ClassVar[str] = "{worker} landed"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str


class Said(Event, frozen=True):
    text: ClassVar[str] = "said"


def record(message: object) -> logging.LogRecord:
    return logging.LogRecord("taskferry", logging.INFO, __file__, 1, message, (), None)


def summed_up(folding: Folding, now: float) -> list[tuple[str, tuple[int, float] | None]]:
    return [(due.getMessage(), repetition_of(due)) for due in folding.due(now)]


def test_the_first_is_logged_at_once_and_the_others_once_per_window() -> None:
    folding = Folding()
    assert folding.admit(record(Flapped("w", "first")), 100.0)
    assert not folding.admit(record(Flapped("w", "second")), 100.1)
    assert not folding.admit(record(Flapped("w", "third")), 109.9)
    assert folding.next_at == 100.0 + WINDOW_S
    assert summed_up(folding, 109.9) == []
    assert summed_up(folding, 110.0) == [("w flapped: third", (2, WINDOW_S))]


def test_it_goes_on_for_as_long_as_it_repeats_and_then_is_forgotten() -> None:
    folding = Folding()
    folding.admit(record(Flapped("w")), 0.0)
    for window in range(5):
        now = window * WINDOW_S
        assert not folding.admit(record(Flapped("w")), now + 1)
        assert summed_up(folding, now + WINDOW_S) == [("w flapped: ", (1, WINDOW_S))]
    assert summed_up(folding, 6 * WINDOW_S) == []
    assert folding.next_at is None
    assert folding.admit(record(Flapped("w")), 6 * WINDOW_S)


def test_another_worker_and_another_event_are_logged() -> None:
    folding = Folding()
    assert all(folding.admit(record(event), 0.0) for event in (Flapped("v"), Flapped("w"), Landed("w")))
    folding.admit(record(Flapped("w")), 1.0)
    folding.admit(record(Landed("w")), 2.0)
    assert summed_up(folding, WINDOW_S) == [("w flapped: ", (1, WINDOW_S)), ("w landed", (1, WINDOW_S))]


@pytest.mark.parametrize("message", [Said(), "a library's line"])
def test_what_cannot_repeat_is_logged_each_time(message: object) -> None:
    folding = Folding()
    assert all(folding.admit(record(message), 0.0) for _ in range(3))
    assert folding.next_at is None


def test_memory_is_bounded_and_so_is_the_log() -> None:
    folding = Folding()
    assert all(folding.admit(record(Flapped(f"w{number}")), 0.0) for number in range(KEYS_COUNT_MAX))
    told = [folding.admit(record(Flapped(f"more{number}")), 1.0) for number in range(5000)]
    assert told.count(True) == 1, "what is beyond is one line of its own"
    assert len(folding._windows) == KEYS_COUNT_MAX + 1
    assert summed_up(folding, 1.0 + WINDOW_S) == [("more4999 flapped: ", (4999, WINDOW_S))]
    assert folding.admit(record(Flapped("more1")), 2.0 + WINDOW_S), "there is room again"


@each_case(
    "event",
    [
        *(
            WorkerJoined("w", "anonymous", "10.0.0.7:1", 1, 1),
            WorkerLeft("w", "10.0.0.7:1", "bye"),
            WorkerConnected("ws://b", "w", ("c",), 1),
        ),
        *(BrokerOutOfReach("ws://b", "refused"), LinkLost("ws://b", "gone"), ConnectedAgain("ws://b")),
    ],
)
def test_what_happens_to_workers_and_links_is_logged_each_time(event: Event) -> None:
    folding = Folding()
    assert all(folding.admit(record(event), now) for now in (1.0, 1.1, 1.2))
    assert folding.next_at is None
