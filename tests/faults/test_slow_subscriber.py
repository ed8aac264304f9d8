"""A subscriber that stops reading costs others nothing, and is disconnected after a while."""

import threading
import time
from pathlib import Path

from taskferry.broker.topics.bounds import STALLED_S_MAX
from taskferry.requester import BlockingRequester, TopicEvent

from tests.plain_subscriber import PlainSubscriber
from tests.processes import programs_in, wait_until

SIZE_BYTES = 60_000


def test_one_that_stops_reading_is_closed_and_others_get_everything(tmp_path: Path) -> None:
    with programs_in(tmp_path) as programs:
        broker = programs.start_broker()
        seen: list[int] = []
        with BlockingRequester(broker.requester_url) as requester, requester.subscribe("news") as events:
            slow = PlainSubscriber(broker.requester_url, "news")
            wait_until(lambda: "\ntaskferry_subscribers 2" in broker.get("/metrics")[1], "both")

            def read() -> None:
                for event in events:
                    assert isinstance(event, TopicEvent)
                    seen.append(event.data[0])

            reader = threading.Thread(target=read)
            reader.start()
            began_at, count = time.monotonic(), 0
            lates: list[float] = []
            while "taskferry_subscribers_closed_total 1" not in broker.get("/metrics")[1]:
                assert time.monotonic() - began_at < STALLED_S_MAX + 30
                for _ in range(20):
                    at = time.monotonic()
                    requester.publish("news", [count, "x" * SIZE_BYTES])
                    lates.append(time.monotonic() - at)
                    count += 1
                time.sleep(0.05)
            assert time.monotonic() - began_at > STALLED_S_MAX
            wait_until(lambda: len(seen) == count, "the other has got everything")
            assert seen == list(range(count))
            lates.sort()
            assert lates[len(lates) // 2] < 0.2, "nobody waits for it"
            assert broker.rss_bytes() < 300 * 1024**2
            events.close()
            reader.join()
        slow.socket.settimeout(20)
        while not slow.is_closed:
            slow.read()
        slow.socket.close()
