"""A subscription against the ports of a real broker in this event loop: order, lost links, gaps, refusals, its end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from taskferry.broker.topics.bounds import RING_COUNT_MAX
from taskferry.protocol.encodings import Encoding
from taskferry.requester import CannotConnect, Forbidden, Gap, Overloaded, Requester, TopicEvent, subscription
from taskferry.requester.subscription import Subscription

from tests.unit.broker.access_files import policy, token_of
from tests.unit.broker.shell import Shell, open_shell
from tests.unit.transport.waiting import until


def requester_of(shell: Shell, identity: str | None = None, encoding: str = "json") -> Requester:
    token = None if identity is None else token_of(identity)
    return Requester(f"ws://127.0.0.1:{shell.requesters.number}", token=token, encoding=encoding)


async def data_of(events: Subscription, count: int) -> list[object]:
    found = [await anext(events) for _ in range(count)]
    assert all(isinstance(one, TopicEvent) for one in found), found
    return [one.data for one in found if isinstance(one, TopicEvent)]


def link_of(events: Subscription) -> object:
    assert events._listening is not None
    return events._listening.link


async def lose_link(events: Subscription) -> None:
    listening = events._listening
    assert listening is not None
    assert listening.link is not None
    listening.link.abort("the test")
    await until(lambda: listening.link is None)


@pytest.mark.parametrize("encoding", [encoding.value for encoding in Encoding])
async def test_events_come_in_order_and_are_published_with_an_offset(encoding: str) -> None:
    async with open_shell() as shell, requester_of(shell, encoding=encoding) as requester:
        assert await requester.publish("news", 0) is None
        async with requester.subscribe("news", "n*") as events:
            offsets = [await requester.publish("news", number) for number in range(25)]
            seen = [await anext(events) for _ in range(25)]
            assert [one.offset for one in seen if isinstance(one, TopicEvent)] == offsets
            assert [one.data for one in seen if isinstance(one, TopicEvent)] == list(range(25))
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_what_was_missed_while_the_link_was_lost_comes_first_or_is_a_gap() -> None:
    async with open_shell() as shell, requester_of(shell) as requester, requester.subscribe("news") as events:
        await lose_link(events)
        for number in range(3):
            await requester.publish("news", number)
        assert await data_of(events, 3) == [0, 1, 2]
        await lose_link(events)
        for number in range(RING_COUNT_MAX + 1):
            shell.topics.publish("event", ("news",), number)
        assert await anext(events) == Gap("news", None, "away")
        await requester.publish("news", "next")
        assert await data_of(events, 1) == ["next"]


async def test_a_program_that_does_not_take_them_gets_the_latest_after_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "UNREAD_COUNT_MAX", 5)
    async with open_shell() as shell, requester_of(shell) as requester, requester.subscribe("news") as events:
        for number in range(12):
            await requester.publish("news", number)
        await until(lambda: any(getattr(one, "data", None) == 11 for one in events._unread))
        gap, *rest = await events.next_ones()
        assert gap == Gap("news", 8, "slow")
        assert [one.data for one in rest if isinstance(one, TopicEvent)] == [8, 9, 10, 11]
        await events.close()
        assert await events.next_ones() == []


async def test_refusals_are_raised_where_the_subscription_is_entered_or_read() -> None:
    rights = policy(alice='watch = ["news"]\npublish = ["news"]')
    async with open_shell(rights) as shell, requester_of(shell, "alice") as requester:
        with pytest.raises(Forbidden, match="may not watch 'task:\\*'"):
            async with requester.subscribe("task:*"):
                pass
        with pytest.raises(Forbidden, match="may not publish 'old'"):
            await requester.publish("old")
        async with requester.subscribe("news") as events:
            shell.take(policy(alice='watch = ["other"]\npublish = ["news"]'))
            with pytest.raises(Forbidden):
                await anext(events)


async def test_a_broker_without_room_is_asked_again_after_a_reconnect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from taskferry.broker.topics import hub
    from taskferry.requester import listening

    monkeypatch.setattr(listening, "AGAIN_S", 0.05)
    async with open_shell() as shell, requester_of(shell) as requester, requester.subscribe("news") as events:
        monkeypatch.setattr(hub, "SUBSCRIBERS_COUNT_MAX", 0)
        with pytest.raises(Overloaded, match="SUBSCRIBERS_COUNT_MAX"):
            async with requester.subscribe("news"):
                pass
        await lose_link(events)
        await until(lambda: link_of(events) is not None)
        await asyncio.sleep(0.1)
        monkeypatch.setattr(hub, "SUBSCRIBERS_COUNT_MAX", 10)
        await until(lambda: len(shell.topics.hub.subscribers) == 1)
        await requester.publish("news", 1)
        assert await data_of(events, 1) == [1]


async def test_without_a_broker_entering_fails_in_time() -> None:
    async with open_shell() as shell:
        number = shell.requesters.number
    async with Requester(f"ws://127.0.0.1:{number}") as requester:
        with pytest.raises(CannotConnect):
            async with requester.subscribe("news", timeout=0.2):
                pass


async def test_what_is_no_message_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shell() as shell, requester_of(shell) as requester, requester.subscribe("news") as events:
        listening = events._listening
        assert listening is not None
        for payload in (b"{", b"[]", b'{"type": "new"}'):
            listening.messages_received([payload])
        listening.wrong_kind_received()
        await requester.publish("news", 1)
        assert await data_of(events, 1) == [1]
    assert caplog.text.count("ignored") == 3


async def test_a_subscription_is_used_once_and_within_its_block() -> None:
    async with open_shell() as shell, requester_of(shell) as requester:
        events = requester.subscribe("news")
        steps: list[Callable[[], Awaitable[object]]] = [events.__anext__, events.__aenter__]
        with pytest.raises(RuntimeError, match="async with"):
            await steps[0]()
        async with events:
            with pytest.raises(RuntimeError, match="entered once"):
                await steps[1]()
