"""Who gets which event, joined how, and what becomes of it if they do not read."""

import gc

import pytest
from msgspec import Raw
from taskferry.broker.topics import bounds, channel, channels, hub
from taskferry.broker.topics.channels import Channels
from taskferry.broker.topics.event import Event
from taskferry.broker.topics.sources import Source, is_of_broker, sources_of
from taskferry.protocol import errors
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import TOPICS_COUNT_MAX

from tests.each_case import each_case
from tests.unit.broker.topics.rig import EPOCH, Rig


@each_case(
    ("pattern", "topic", "matches"),
    [
        ("task:list", "task:list", True),
        ("task:list", "task:lists", False),
        ("task:*", "task:", True),
        ("task:*", "task:1:2", True),
        ("task:*", "tas", False),
        ("*", "anything", True),
        ("*:status", "task:status", True),
        ("*:status", "task:status:", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c", False),
        ("a[b]?", "a[b]?", True),
        ("*[b]?", "abc", False),
        ("*[b]?", "x[b]?", True),
        ("*\n", "x\n", True),
    ],
)
def test_a_star_stands_for_any_text_and_all_else_for_itself(pattern: str, topic: str, matches: bool) -> None:
    channels = Channels()
    channel = channels.add(pattern, 0)
    assert (channel in channels.of(topic)) is matches
    channels.remove(channel)
    assert channels.of(topic) == []
    assert list(channels) == []


def test_two_prefixes_of_one_length_are_two_patterns() -> None:
    channels = Channels()
    first, second = channels.add("a:*", 0), channels.add("b:*", 0)
    channels.remove(first)
    assert channels.of("b:1") == [second]
    assert channels.of("a:1") == []


@each_case(
    ("pattern", "sources"),
    [
        ("task:list", {Source.STEPS}),
        ("task:status", {Source.STEPS}),
        ("task:progress", {Source.PROGRESS}),
        ("task:1", {Source.STEPS, Source.PROGRESS}),
        ("task:*", {Source.STEPS, Source.PROGRESS}),
        ("t*", {Source.STEPS, Source.PROGRESS}),
        ("*", set(Source)),
        ("chunk:1", {Source.CHUNKS}),
        ("worker:*", {Source.WORKERS}),
        ("worker", set()),
        ("job:7", {Source.JOBS}),
        ("b*", {Source.BROKER}),
        ("news:*", set()),
    ],
)
def test_a_pattern_needs_the_sources_that_it_may_match(pattern: str, sources: set[Source]) -> None:
    assert set(sources_of(pattern)) == sources


def test_what_is_the_brokers_own() -> None:
    assert all(is_of_broker(topic) for topic in ("task:x", "chunk:x", "worker:", "job:1", "broker:status"))
    assert not any(is_of_broker(topic) for topic in ("task", "tasks:x", "news", "my:task:x"))


def test_an_event_reaches_each_subscriber_once_under_the_first_of_its_topics_that_it_has() -> None:
    rig = Rig()
    both, _ = rig.join("task:7", "task:progress")
    one, _ = rig.join("task:7")
    every, _ = rig.join("*")
    other, _ = rig.join("task:8", "worker:*")
    offset = rig.publish("task:progress", "task:7", data={"task_id": "7"})
    rig.turn()
    assert [peer.offsets for peer in (both, one, every, other)] == [[offset], [offset], [offset], []]
    assert [peer.events[0]["topic"] for peer in (both, one, every)] == [
        "task:progress",
        "task:7",
        "task:progress",
    ]
    assert both.events[0] == {
        "type": "event",
        "id": f"{EPOCH}-{offset}",
        "timestamp": 1_000_000,
        "data": {"task_id": "7"},
        "topic": "task:progress",
        "offset": offset,
    }


def test_an_event_that_nobody_has_subscribed_to_is_not_made() -> None:
    rig = Rig()
    assert rig.publish("news") is None
    rig.join("news")
    assert rig.hub.has_topic("news")
    assert not rig.hub.has_topic("old")
    assert rig.publish("old") is None
    assert rig.hub.counts.published_count == 0


def test_an_event_is_encoded_once_for_each_encoding() -> None:
    rig = Rig()
    peers = [rig.join("news", encoding=encoding)[0] for encoding in (*Encoding, *Encoding)]
    rig.publish("news", data=[1, "x"])
    rig.turn()
    assert {peer.events[0]["data"] == [1, "x"] for peer in peers} == {True}
    for a, b in ((0, 2), (1, 3)):
        assert peers[a].payloads[-1] is peers[b].payloads[-1]


def test_what_an_encoding_cannot_carry_is_a_gap() -> None:
    rig = Rig()
    json_peer, _ = rig.join("news")
    packed, _ = rig.join("news", encoding=Encoding.MSGPACK)
    rig.hub.publish("event", ("news",), Raw(b"\xc4\x01x"), Encoding.MSGPACK, rig.now, rig.timestamp_ms)
    rig.turn()
    assert [message["type"] for message in json_peer.flat] == ["subscribed", "gap"]
    rig.publish("news", data=1)
    rig.sleep(0.2)
    assert [event["data"] for event in packed.events] == [b"x", 1]
    assert [event["data"] for event in json_peer.events] == [1]
    assert [gap["data"] for gap in json_peer.gaps] == [{"dropped": 1, "reason": "not_representable"}]
    assert rig.hub.counts.dropped_count == 1


def test_the_first_event_is_sent_at_once_and_the_next_together() -> None:
    rig = Rig()
    peer, _ = rig.join("news")
    rig.publish("news", data=0)
    rig.turn()
    assert len(peer.messages) == 2, "the answer and the event"
    for number in range(1, 4):
        rig.publish("news", data=number)
        rig.turn()
    assert len(peer.messages) == 2
    rig.sleep(0.0999)
    assert len(peer.messages) == 2
    rig.sleep(0.0002)
    assert [message["type"] for message in peer.messages] == ["subscribed", "event", "batch"]
    assert [event["data"] for event in peer.events] == [0, 1, 2, 3]
    rig.sleep(0.2)
    rig.publish("news", data=4)
    rig.turn()
    assert peer.messages[-1]["data"] == 4, "after a quiet time at once again"


def test_as_many_as_make_a_batch_are_sent_without_waiting_and_no_batch_is_larger() -> None:
    rig = Rig(batch_count_max=3)
    peer, _ = rig.join("news")
    for number in range(8):
        rig.publish("news", data=number)
    rig.turn()
    assert [len(message.get("messages", "x")) for message in peer.messages[1:]] == [3, 3, 2]
    for number in range(8, 11):
        rig.publish("news", data=number)
    rig.turn()
    assert peer.messages[-1]["messages"][-1]["data"] == 10
    assert [event["data"] for event in peer.events] == list(range(11))


def test_without_a_time_all_are_sent_with_their_turn() -> None:
    rig = Rig(batch_s=0.0)
    peer, subscriber = rig.join("news")
    for number in range(3):
        rig.publish("news", data=number)
        rig.turn()
        assert len(peer.events) == number + 1
    assert not rig.hub.is_ready
    peer.has_room = False
    rig.publish("news")
    assert rig.hub.is_ready
    rig.turn()
    peer.has_room = True
    rig.sleep(0.06)
    assert len(peer.events) == 4
    assert subscriber.stalled_since is None


def test_progress_is_conflated_while_it_waits_and_nothing_else_is() -> None:
    rig = Rig()
    peer, _ = rig.join("task:*")
    for number in range(5):
        rig.publish("task:progress", data=("a", number), latest_of="a")
        rig.publish("task:progress", data=("b", number), latest_of="b")
        rig.publish("task:status", data=("s", number))
    rig.turn()
    data = [event["data"] for event in peer.events]
    assert [one for one in data if one[0] != "s"] == [["a", 4], ["b", 4]]
    assert [one for one in data if one[0] == "s"] == [["s", number] for number in range(5)]
    assert peer.offsets == sorted(peer.offsets)
    assert rig.hub.counts.conflated_count == 8
    assert peer.gaps == []


def test_one_that_takes_nothing_gets_the_latest_after_a_gap_and_holds_nobody_up() -> None:
    rig = Rig()
    slow, _ = rig.join("news")
    fast, _ = rig.join("news")
    slow.has_room = False
    count = bounds.WAITING_COUNT_MAX + 25
    for number in range(count):
        rig.publish("news", data=number)
        rig.turn()
        assert slow.events == []
    rig.sleep(0.2)
    assert [event["data"] for event in fast.events] == list(range(count))
    assert rig.hub.stalled_size_bytes > 0
    slow.has_room = True
    rig.sleep(0.2)
    assert slow.flat[1]["type"] == "gap", "before what follows it"
    assert slow.gaps[0]["data"] == {"dropped": 25, "reason": "slow"}
    assert slow.gaps[0]["topic"] == "news"
    assert slow.gaps[0]["offset"] == slow.offsets[0] - 1
    assert [event["data"] for event in slow.events] == list(range(25, count))
    assert rig.hub.stalled_size_bytes == 0
    assert rig.hub.counts.dropped_count == 25
    assert slow.closed is None


def test_one_that_has_lost_events_and_takes_nothing_for_long_is_closed() -> None:
    rig = Rig()
    slow, subscriber = rig.join("news")
    quiet, _ = rig.join("news")
    rig.publish("news")
    rig.turn()
    rig.sleep(1.0)
    slow.has_room = quiet.has_room = False
    rig.publish("news")
    rig.turn()
    rig.sleep(bounds.STALLED_S_MAX * 2)
    assert slow.closed is None, "it has lost nothing"
    quiet.has_room = True
    for _ in range(bounds.WAITING_COUNT_MAX + 1):
        rig.publish("news")
        rig.turn()
    rig.sleep(0.5)
    assert slow.closed is not None
    assert "STALLED_S_MAX" in slow.closed
    assert quiet.closed is None
    assert subscriber not in rig.hub.subscribers
    assert rig.hub.counts.closed_count == 1
    assert rig.hub.stalled_size_bytes == 0
    before = len(slow.payloads)
    rig.publish("news")
    rig.turn()
    rig.sleep(1.0)
    assert len(slow.payloads) == before
    rig.hub.leave(subscriber, rig.now)


def test_events_are_joined_once_for_all_that_are_sent_the_same() -> None:
    rig = Rig(batch_count_max=3)
    peers = [rig.join("news", encoding=encoding)[0] for encoding in (*Encoding, *Encoding, *Encoding)]
    other, _ = rig.join("news", "weather")
    for number in range(3):
        rig.publish("news", data=number)
    rig.hub.publish("event", ("weather",), Raw(b'"rain"'), Encoding.JSON, rig.now, rig.timestamp_ms)
    rig.turn()
    for peer in peers:
        assert [event["data"] for event in peer.events] == [0, 1, 2]
        assert peer.payloads[-1] is next(one for one in peers if one.encoding is peer.encoding).payloads[-1]
    assert [event["data"] for event in other.events] == [0, 1, 2, "rain"]
    assert rig.hub.counts.delivered_count == 3 * len(peers) + 4


def test_what_cannot_be_represented_is_left_out_of_the_batches_of_one_encoding() -> None:
    rig = Rig()
    peers = [rig.join("news", encoding=encoding)[0] for encoding in (*Encoding, *Encoding)]
    for data in (b"\x01", b"\xc4\x01x", b"\x02"):  # in the middle bytes, which JSON has not
        rig.hub.publish("event", ("news",), Raw(data), Encoding.MSGPACK, rig.now, rig.timestamp_ms)
    rig.sleep(0.2)
    for peer in peers:
        packed = peer.encoding is Encoding.MSGPACK
        assert [event["data"] for event in peer.events] == ([1, b"x", 2] if packed else [1, 2])
        assert [gap["data"]["dropped"] for gap in peer.gaps] == ([] if packed else [1])


def test_what_waits_is_bounded_in_bytes_too() -> None:
    rig = Rig()
    slow, subscriber = rig.join("news")
    slow.has_room = False
    rig.publish("news", data="x" * (bounds.WAITING_SIZE_BYTES_MAX * 2))
    rig.turn()
    assert subscriber.waiting_count == 1, "one may always wait"
    for _ in range(3):
        rig.publish("news", data="x" * (bounds.WAITING_SIZE_BYTES_MAX // 4))
    assert subscriber.size_bytes <= bounds.WAITING_SIZE_BYTES_MAX
    assert subscriber.waiting_count == 1


def test_all_that_waits_for_those_that_take_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "STALLED_SIZE_BYTES_MAX", 20_000)
    rig = Rig()
    peers = [rig.join("news") for _ in range(4)]
    for peer, _ in peers:
        peer.has_room = False
    for _ in range(20):
        rig.publish("news", data="x" * 1000)
        rig.turn()
    assert rig.hub.stalled_size_bytes <= 20_000 + 4 * 1600
    assert sum(one.size_bytes for _, one in peers) == rig.hub.stalled_size_bytes
    assert all(one.waiting_count >= 1 for _, one in peers)


def test_a_burst_in_one_turn_loses_nothing_if_there_is_room() -> None:
    rig = Rig()
    peer, _ = rig.join("news")
    for number in range(3 * bounds.WAITING_COUNT_MAX):
        rig.publish("news", data=number)
    rig.turn()
    assert [event["data"] for event in peer.events] == list(range(3 * bounds.WAITING_COUNT_MAX))


def test_room_that_ends_in_the_middle_of_a_burst() -> None:
    rig = Rig()
    peer, subscriber = rig.join("news")
    sent = peer.send

    def send(payload: bytes) -> None:
        sent(payload)
        peer.has_room = len(peer.payloads) < 5

    peer.send = send  # type: ignore[method-assign]
    for number in range(100):
        rig.publish("news", data=number)
    rig.turn()
    assert len(peer.events) == 40
    assert subscriber.waiting_count == 60
    peer.send = sent  # type: ignore[method-assign]
    rig.sleep(0.1)
    peer.has_room = True
    rig.sleep(0.1)
    assert [event["data"] for event in peer.events] == list(range(100))


def test_who_comes_back_gets_what_it_has_missed() -> None:
    rig = Rig()
    peer, subscriber = rig.join("news", "task:*")
    assert peer.answers() == [{"topics": ["news", "task:*"], "epoch": EPOCH, "offset": 2}]
    rig.publish("news", data=1)
    rig.turn()
    rig.hub.leave(subscriber, rig.now)
    for number in (2, 3):
        rig.publish("news", "task:list", data=number)
    rig.publish("other")
    rig.sleep(30.0)
    back, second = rig.join()
    rig.subscribe(second, "news", "task:*", "other", since=peer.offsets[-1])
    rig.turn()
    answer = back.answers()[0]
    assert answer["recovery"] == {"news": "recovered", "task:*": "recovered", "other": "gap"}
    assert answer["offset"] == peer.offsets[-1], "below what still follows"
    assert [event["data"] for event in back.events] == [2, 3]
    rig.publish("news", data=4)
    rig.sleep(0.2)
    assert [event["data"] for event in back.events] == [2, 3, 4]
    assert (rig.hub.counts.recovered_count, rig.hub.counts.unrecovered_count) == (2, 1)


@each_case("away_s", [59.0, 62.5])
def test_a_ring_is_kept_a_minute_after_the_last_subscriber(away_s: float) -> None:
    rig = Rig()
    peer, subscriber = rig.join("news")
    rig.hub.leave(subscriber, rig.now)
    rig.sleep(away_s)
    back, second = rig.join()
    rig.subscribe(second, "news", since=peer.answers()[0]["offset"])
    assert back.answers()[0]["recovery"] == {"news": "recovered" if away_s < 60 else "gap"}
    assert rig.hub.next_at < float("inf") or away_s > 60


def test_events_that_are_too_old_or_too_many_are_a_gap() -> None:
    rig = Rig()
    _, subscriber = rig.join("news")
    first = rig.publish("news")
    assert first is not None
    rig.sleep(30.0)
    for _ in range(bounds.RING_COUNT_MAX - 1):
        rig.publish("news")
    rig.hub.leave(subscriber, rig.now)

    def recovery(since: int) -> str:
        peer, again = rig.join()
        rig.subscribe(again, "news", since=since)
        rig.hub.leave(again, rig.now)
        answer: str = peer.answers()[0]["recovery"]["news"]
        return answer

    assert recovery(first - 1) == "recovered"
    rig.sleep(31.5)
    assert [recovery(first - 1), recovery(first)] == ["gap", "recovered"], "the first is a minute old"
    rig.join("news")
    rig.publish("news")
    assert recovery(first) == "recovered"
    rig.publish("news")
    assert [recovery(first), recovery(first + 1)] == ["gap", "recovered"], "and then there are 1,000 others"


@each_case(("epoch", "ahead"), [("another", 0), (EPOCH, 1)])
def test_another_epoch_and_an_offset_that_was_not_reached_are_a_gap(epoch: str, ahead: int) -> None:
    rig = Rig()
    rig.join("news")
    peer, subscriber = rig.join()
    rig.subscribe(subscriber, "news", since=rig.hub.offset + ahead, epoch=epoch)
    assert peer.answers()[0]["recovery"] == {"news": "gap"}


def test_rings_are_bounded_in_bytes_each_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "RING_SIZE_BYTES_MAX", 10_000)
    monkeypatch.setattr(hub, "RINGS_SIZE_BYTES_MAX", 25_000)
    rig = Rig()
    rig.join("a", "b", "c", "d")
    for _ in range(30):
        rig.publish("a", data="x" * 500)
    assert 8_000 < rig.hub.kept_size_bytes <= 10_000
    for topic in "bcd":
        for _ in range(30):
            rig.publish(topic, data="x" * 500)
    assert 20_000 < rig.hub.kept_size_bytes <= 25_000 + 2 * 1100
    rig.sleep(70.0)
    assert rig.hub.kept_size_bytes == 0
    assert rig.hub.next_at == float("inf"), "nothing left to look for"


def test_sources_are_wanted_while_somebody_listens_and_a_minute_longer() -> None:
    rig = Rig()
    _, one = rig.join("task:progress")
    _, two = rig.join("task:progress", "worker:1")
    assert rig.changes == [{Source.PROGRESS}, {Source.PROGRESS, Source.WORKERS}]
    rig.hub.leave(one, rig.now)
    rig.unsubscribe(two, "task:progress", "nothing")
    assert rig.hub.wants(Source.PROGRESS)
    rig.sleep(62.0)
    assert rig.changes[2:] == [{Source.WORKERS}]
    rig.hub.leave(two, rig.now)
    rig.sleep(62.0)
    assert rig.changes[3:] == [set()]
    assert rig.hub.channels_count == 0


def test_one_that_is_subscribed_to_again_in_time_is_not_forgotten() -> None:
    rig = Rig()
    _, one = rig.join("news")
    rig.hub.leave(one, rig.now)
    rig.sleep(30.0)
    rig.join("news")
    rig.sleep(100.0)
    assert rig.hub.channels_count == 1


def test_unsubscribe_ends_what_waits_only_because_of_it() -> None:
    rig = Rig()
    peer, subscriber = rig.join("a", "b*", "c")
    rig.publish("c", data=0)
    rig.turn()
    rig.publish("a", data=1)
    rig.publish("a", "b1", data=2)
    rig.publish("c", data=3)
    rig.publish("a", "b2", data=4, latest_of="x")
    rig.unsubscribe(subscriber, "a", "a", "z")
    assert peer.answers("unsubscribed") == [{"topics": ["a"]}]
    rig.sleep(0.2)
    assert [(event["data"], event["topic"]) for event in peer.events] == [
        (0, "c"),
        (2, "b1"),
        (3, "c"),
        (4, "b2"),
    ]
    rig.publish("a")
    rig.sleep(0.2)
    assert len(peer.events) == 4


def test_one_that_stalled_and_wants_nothing_any_more_gets_what_it_wants_later() -> None:
    rig = Rig()
    peer, subscriber = rig.join("a")
    peer.has_room = False
    rig.publish("a")
    rig.turn()
    rig.unsubscribe(subscriber, "a")
    rig.sleep(0.2)
    peer.has_room = True
    rig.subscribe(subscriber, "b")
    rig.publish("b", data=1)
    rig.sleep(0.2)
    assert [event["data"] for event in peer.events] == [1]


def test_unsubscribe_forgets_what_was_lost_of_it() -> None:
    rig = Rig()
    peer, subscriber = rig.join("a", "b")
    peer.has_room = False
    for number in range(bounds.WAITING_COUNT_MAX + 2):
        rig.publish("ab"[number % 2], data=number)
        rig.turn()
    rig.unsubscribe(subscriber, "a")
    assert rig.hub.stalled_size_bytes == subscriber.size_bytes > 0
    peer.has_room = True
    rig.sleep(1.0)
    assert [gap["topic"] for gap in peer.gaps] == ["b"]
    assert len(peer.events) == bounds.WAITING_COUNT_MAX // 2


def test_subscribing_again_changes_nothing_and_can_fetch_what_was_before() -> None:
    rig = Rig()
    _, first = rig.join("a", "b")
    start = rig.hub.offset
    rig.publish("a", "b", data=1)
    rig.hub.leave(first, rig.now)
    peer, subscriber = rig.join("a")
    rig.publish("a", "b", data=2)
    rig.turn()
    rig.publish("b", data=3)
    rig.publish("a", "b", data=4)
    rig.subscribe(subscriber, "a", "b")
    rig.subscribe(subscriber, "a", "b", since=start)
    rig.sleep(0.2)
    assert peer.answers()[2]["recovery"] == {"a": "recovered", "b": "recovered"}
    assert [event["data"] for event in peer.events] == [2, 4, 1, 3], "each once"


def test_what_is_missed_waits_in_order_with_what_waits_already() -> None:
    rig = Rig()
    _, first = rig.join("a", "b")
    start = rig.hub.offset
    rig.publish("b", data=1)
    peer, subscriber = rig.join("a")
    peer.has_room = False
    rig.publish("a", data=2)
    rig.turn()
    rig.publish("b", data=3)
    rig.publish("a", data=4)
    rig.subscribe(subscriber, "b", since=start)
    assert peer.answers()[1]["offset"] == start, "below all that waits"
    assert rig.hub.stalled_size_bytes == subscriber.size_bytes
    peer.has_room = True
    rig.sleep(0.2)
    assert [event["data"] for event in peer.events] == [1, 2, 3, 4]
    rig.hub.leave(first, rig.now)


def test_bounds_of_subscriptions_and_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    peer, subscriber = rig.join(*[f"t{number}" for number in range(TOPICS_COUNT_MAX)])
    rig.subscribe(subscriber, "t0")
    with pytest.raises(errors.Overloaded, match="TOPICS_COUNT_MAX"):
        rig.subscribe(subscriber, "t0", "one more")
    assert len(peer.answers()) == 2
    monkeypatch.setattr(channels, "CHANNELS_COUNT_MAX", TOPICS_COUNT_MAX + 1)
    rig.join("one more", "t0")
    with pytest.raises(errors.Overloaded, match="CHANNELS_COUNT_MAX"):
        rig.join("another")
    monkeypatch.undo()
    monkeypatch.setattr(channels, "WILD_COUNT_MAX", 2)
    rig.join("a*b", "*c", "a*", "*")
    rig.join("a*b")
    with pytest.raises(errors.Overloaded, match="WILD_COUNT_MAX"):
        rig.join("*d")
    monkeypatch.setattr(hub, "SUBSCRIBERS_COUNT_MAX", len(rig.hub.subscribers))
    with pytest.raises(errors.Overloaded, match="SUBSCRIBERS_COUNT_MAX"):
        rig.join()


def test_an_event_that_nobody_needs_is_freed_at_once() -> None:
    rig = Rig()
    peer, _ = rig.join("news", "n*")
    gc.collect()
    gc.disable()
    try:
        rig.publish("news", "next", data="x" * 1000)
        rig.turn()
        assert [one for one in gc.get_objects() if isinstance(one, Event)]
        rig.sleep(70.0)
        assert not [one for one in gc.get_objects() if isinstance(one, Event)]
    finally:
        gc.enable()
    assert len(peer.events) == 1


def test_one_that_leaves_while_it_stalls_is_not_counted_any_more() -> None:
    rig = Rig()
    peer, subscriber = rig.join("news")
    peer.has_room = False
    rig.publish("news")
    rig.turn()
    assert rig.hub.stalled_size_bytes
    rig.hub.leave(subscriber, rig.now)
    assert not rig.hub.stalled_size_bytes
    rig.sleep(70.0)
    assert rig.hub.next_at == float("inf")
