"""The hub against a naive model: a list of all that was published.

What each subscriber sees is a part of it in order, each event once, and what is missing was conflated or is covered by
a gap that it was sent. Bounds are small, so that they are reached.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from taskferry.broker.topics import bounds
from taskferry.broker.topics.subscriber import Subscriber

from tests.unit.broker.topics.rig import Peer, Rig

TOPICS = ["task:progress", "task:1", "task:2", "news", "news:a"]
PATTERNS = [*TOPICS, "task:*", "*", "n*s", "news*"]
IS_COMPILED = not str(bounds.__file__).endswith(".py")
"""Then the bounds cannot be replaced."""
RING_COUNT_MAX = bounds.RING_COUNT_MAX if IS_COMPILED else 8
WAITING_COUNT_MAX = bounds.WAITING_COUNT_MAX if IS_COMPILED else 5
RING_S_MAX = 60.0


@dataclass
class Published:
    offset: int
    topics: tuple[str, ...]
    latest_of: str | None
    at: float


@dataclass
class Connection:
    """`since`: by pattern, the offset after which it gets its events."""

    peer: Peer
    subscriber: Subscriber
    since: dict[str, int]
    left: dict[str, tuple[int, int]] = field(default_factory=dict)
    seen_count: int = 0

    @property
    def position(self) -> int:
        """What a client knows of how far it has got."""
        position = -1
        for message in self.peer.flat:
            if message["type"] == "subscribed" and position < 0:
                position = message["data"]["offset"]
            elif "offset" in message:
                position = max(position, message["offset"])
        return position


def matches(pattern: str, topics: tuple[str, ...]) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return any(re.fullmatch(expression, topic, re.DOTALL) for topic in topics)


class HubMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._patches = [
            patch("taskferry.broker.topics.channel.RING_COUNT_MAX", RING_COUNT_MAX),
            patch("taskferry.broker.topics.subscriber.WAITING_COUNT_MAX", WAITING_COUNT_MAX),
        ]
        for one in self._patches:
            one.start()
        self.published: list[Published] = []
        self.connections: list[Connection] = []
        self.away: list[tuple[int, list[str], float]] = []
        """Of those that have left: how far they had got, of what, and when."""

    @initialize(batch_count_max=st.integers(1, 4), batch_s=st.sampled_from([0.0, 0.1]))
    def start(self, batch_count_max: int, batch_s: float) -> None:
        self.rig = Rig(batch_count_max, batch_s)

    def teardown(self) -> None:
        try:
            if hasattr(self, "rig"):
                for connection in self.connections:
                    connection.peer.has_room = True
                self.rig.turn()
                self.rig.sleep(1.0)
                for connection in self.connections:
                    self.check_all_arrived(connection)
        finally:
            for one in self._patches:
                one.stop()

    # --- what happens ---

    @rule(
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=2, unique=True),
        latest_of=st.sampled_from([None, None, "1", "2"]),
        count=st.integers(1, 7),
    )
    def publish(self, topics: list[str], latest_of: str | None, count: int) -> None:
        if latest_of is not None:
            topics = ["task:progress", f"task:{latest_of}"]
        for _ in range(count):
            offset = self.rig.publish(*topics, latest_of=latest_of)
            if offset is not None:
                self.published.append(Published(offset, tuple(topics), latest_of, self.rig.now))

    @rule()
    def end_turn(self) -> None:
        self.rig.turn()

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.1, 1.0, 14.0, 40.0, 61.5]))
    def sleep(self, seconds: float) -> None:
        self.rig.turn()
        self.rig.sleep(seconds)
        for connection in [one for one in self.connections if one.peer.closed is not None]:
            assert any(message["type"] == "gap" for message in connection.peer.flat) or not (
                connection.peer.has_room
            )
            self.connections.remove(connection)

    @precondition(lambda self: len(self.connections) < 4)
    @rule(patterns=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True))
    def join(self, patterns: list[str]) -> None:
        peer, subscriber = self.rig.join(*patterns)
        answer = peer.answers()[-1]
        assert answer["offset"] == self.rig.hub.offset
        since = dict.fromkeys(patterns, answer["offset"])
        self.connections.append(Connection(peer, subscriber, since))

    @precondition(lambda self: self.connections)
    @rule(data=st.data(), pattern=st.sampled_from(PATTERNS))
    def subscribe_more(self, data: st.DataObject, pattern: str) -> None:
        connection = data.draw(st.sampled_from(self.connections))
        if pattern not in connection.left:
            self.rig.subscribe(connection.subscriber, pattern)
            connection.since.setdefault(pattern, self.rig.hub.offset)

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.connections))
        if connection.since:
            pattern = data.draw(st.sampled_from(sorted(connection.since)))
            self.rig.unsubscribe(connection.subscriber, pattern)
            connection.left[pattern] = (connection.since.pop(pattern), self.rig.hub.offset)

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def stop_or_go_on_reading(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(self.connections)).peer
        peer.has_room = not peer.has_room

    @precondition(lambda self: self.connections)
    @rule(
        data=st.data(),
        topic=st.sampled_from(TOPICS),
        count=st.integers(0, 10),
        seconds=st.sampled_from([0.0, 30.0, 59.9]),
    )
    def blink(self, data: st.DataObject, topic: str, count: int, seconds: float) -> None:
        connection = data.draw(st.sampled_from(self.connections))
        before = len(self.away)
        self._lose(connection)
        if len(self.away) > before:
            self.publish([topic], None, count)
            self.sleep(seconds)
            self._come_back(before)

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self._lose(data.draw(st.sampled_from(self.connections)))

    def _lose(self, connection: Connection) -> None:
        self.connections.remove(connection)
        self.rig.hub.leave(connection.subscriber, self.rig.now)
        if not connection.left and connection.since:
            patterns = list(connection.since)
            self.away.append((connection.position, patterns, self.rig.now))

    @precondition(lambda self: self.away)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        self._come_back(data.draw(st.integers(0, len(self.away) - 1)))

    def _come_back(self, index: int) -> None:
        position, patterns, left_at = self.away.pop(index)
        peer, subscriber = self.rig.join()
        before = self.rig.hub.offset
        self.rig.subscribe(subscriber, *patterns, since=position)
        recovery = peer.answers()[0]["recovery"]
        assert sorted(recovery) == sorted(patterns)
        missed = [one for one in self.published if one.offset > position]
        is_fresh = self.rig.now - left_at < RING_S_MAX and len(missed) < RING_COUNT_MAX
        if is_fresh and all(self.rig.now - one.at < RING_S_MAX for one in missed):
            first = {pattern: self._joined_at(pattern) for pattern in patterns}
            assert all(told == "recovered" for p, told in recovery.items() if first[p] <= position)
        since = {pattern: position if told == "recovered" else before for pattern, told in recovery.items()}
        self.connections.append(Connection(peer, subscriber, since))

    def _joined_at(self, pattern: str) -> int:
        """From which offset on its ring may be whole."""
        return self.rig.hub._channels.all[pattern].whole_since

    # --- what must be true ---

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "rig"):
            return
        hub = self.rig.hub
        stalled = [one for one in hub.subscribers if one.stalled_since is not None]
        assert hub.stalled_size_bytes == sum(one.size_bytes for one in stalled)
        assert hub.kept_size_bytes == sum(channel.size_bytes for channel in hub._channels)
        for subscriber in hub.subscribers:
            waiting = list(subscriber._waiting.values())
            assert subscriber.size_bytes == sum(offer.event.size_bytes for offer, _ in waiting)
            offsets = [offer.event.offset for offer, _ in waiting]
            assert offsets == sorted(offsets)
            assert len(waiting) <= WAITING_COUNT_MAX

    @invariant()
    def each_sees_events_in_order_and_once(self) -> None:
        for connection in self.connections:
            flat = connection.peer.flat
            offsets = [message["offset"] for message in flat if "offset" in message]
            assert offsets == sorted(set(offsets)) or self._two_gaps_are_one(flat)
            for message in flat[connection.seen_count :]:
                if "id" in message and "offset" in message:
                    assert self._expected(connection, message["offset"]), message
            connection.seen_count = len(flat)

    def _two_gaps_are_one(self, flat: list[Any]) -> bool:
        """Gaps of several patterns that are sent together may be in any order."""
        low = 0
        group: list[int] = []
        for message in [message for message in flat if "offset" in message]:
            if message["type"] == "gap":
                assert message["offset"] > low
                group.append(message["offset"])
            else:
                assert message["offset"] > max([low, *group])
                low, group = message["offset"], []
        return True

    def _expected(self, connection: Connection, offset: int) -> bool:
        topics = next(one.topics for one in self.published if one.offset == offset)
        if any(offset > since and matches(p, topics) for p, since in connection.since.items()):
            return True
        return any(
            start < offset <= end and matches(pattern, topics)
            for pattern, (start, end) in connection.left.items()
        )

    def check_all_arrived(self, connection: Connection) -> None:
        expected = {
            one.offset: one
            for one in self.published
            if any(one.offset > since and matches(p, one.topics) for p, since in connection.since.items())
        }
        peer = connection.peer
        seen = set(peer.offsets)
        gaps = peer.gaps
        missing = {offset: one for offset, one in expected.items() if offset not in seen}
        for offset, one in missing.items():
            is_replaced = one.latest_of is not None and any(
                later > offset and other.latest_of == one.latest_of for later, other in expected.items()
            )
            is_covered = any(gap["offset"] >= offset for gap in gaps)
            assert is_replaced or is_covered, f"{offset} of {one.topics} was lost without a word"
        dropped_count = sum(gap["data"]["dropped"] for gap in gaps)
        if not connection.left:
            unreplaced = [one for one in missing.values() if one.latest_of is None]
            assert len(unreplaced) <= dropped_count <= len(missing)


TestHub = HubMachine.TestCase
TestHub.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
