"""A thousand subscribers, as plain sockets, at a real broker: each gets each event once, in order."""

import resource
import selectors
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from taskferry.requester import BlockingRequester

from tests.plain_subscriber import PlainSubscriber
from tests.processes import programs_in, wait_until

SUBSCRIBERS_COUNT = 1000
EVENTS_COUNT = 30


@contextmanager
def crowd(url: str, count: int, topic: str) -> Iterator[list[PlainSubscriber]]:
    ones = [PlainSubscriber(url, topic) for _ in range(count)]
    try:
        yield ones
    finally:
        for one in ones:
            one.socket.close()


def read_until(ones: list[PlainSubscriber], is_done: Callable[[PlainSubscriber], bool]) -> None:
    with closing(selectors.DefaultSelector()) as selector:
        for one in ones:
            if not is_done(one):
                selector.register(one.socket, selectors.EVENT_READ, one)
        while selector.get_map():
            found = selector.select(20)
            assert found, f"{len(selector.get_map())} have not got everything"
            for key, _ in found:
                key.data.read()
                if is_done(key.data) or key.data.is_closed:
                    selector.unregister(key.data.socket)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1200, reason="needs descriptors")
def test_a_thousand_subscribers_get_each_event_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with programs_in(tmp_path) as programs:
        broker = programs.start_broker("--address-handshakes-per-s", "0")
        with crowd(broker.requester_url, SUBSCRIBERS_COUNT, "news") as ones:
            read_until(ones, lambda one: bool(one.messages))
            with BlockingRequester(broker.requester_url) as requester:
                offsets = [requester.publish("news", number) for number in range(EVENTS_COUNT)]
            read_until(ones, lambda one: len(one.events) == EVENTS_COUNT)
            for one in ones:
                assert [event["offset"] for event in one.events] == offsets
                assert [event["data"] for event in one.events] == list(range(EVENTS_COUNT))
            text = broker.get("/metrics")[1]
            assert f"taskferry_subscribers {SUBSCRIBERS_COUNT}" in text
            assert f"taskferry_events_delivered_total {SUBSCRIBERS_COUNT * EVENTS_COUNT}" in text
            assert "taskferry_events_dropped_total 0" in text
        wait_until(lambda: "\ntaskferry_subscribers 0" in broker.get("/metrics")[1], "all have left")
