"""What links share: one flush per loop turn, one check every half second, and nothing after the end."""

import asyncio
import time

from taskferry.transport.group import PAUSE_S_MIN, SWEEP_INTERVAL_S, LinkGroup

from tests.unit.transport.waiting import until


class Counted:
    """Takes the place of a link, and counts calls."""

    def __init__(self) -> None:
        self.flush_count = 0
        self.read_count = 0
        self.checked_at: list[float] = []

    def flush(self) -> None:
        self.flush_count += 1

    def check(self, now: float) -> None:
        self.checked_at.append(now)

    def read_on(self) -> None:
        self.read_count += 1

    def stalled_s(self, now: float) -> float:
        raise AssertionError("nothing waits for its peer")

    def abort(self, reason: str) -> None:
        raise AssertionError("nothing waits for its peer")


async def test_every_link_that_requested_it_is_flushed_at_the_end_of_the_turn(group: LinkGroup) -> None:
    links = [Counted() for _ in range(3)]
    for link in links:
        group.flush_soon(link)
    assert [link.flush_count for link in links] == [0, 0, 0]
    await asyncio.sleep(0)
    assert [link.flush_count for link in links] == [1, 1, 1]
    await asyncio.sleep(0)
    group.flush_soon(links[1])
    await asyncio.sleep(0)
    assert [link.flush_count for link in links] == [1, 2, 1]


async def test_links_that_wait_for_their_turn_read_one_after_the_other(group: LinkGroup) -> None:
    links = [Counted() for _ in range(3)]
    for link in (*links, links[0]):
        group.wait_turn(link, 1.0)
    counts = []
    for _ in range(5):
        await asyncio.sleep(0)
        counts.append([link.read_count for link in links])
    assert counts == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 1, 1]]


async def test_a_subscriber_is_called_after_each_check_of_the_links() -> None:
    link = Counted()
    swept_at: list[float] = []

    def swept(now: float) -> None:
        assert link.checked_at[-1] == now
        swept_at.append(now)

    group = LinkGroup(swept=swept)
    group.links.add(link)
    await until(lambda: swept_at)
    group.close()
    group.links.clear()


async def test_after_a_pause_what_came_meanwhile_is_read_before_any_link_is_checked(group: LinkGroup) -> None:
    link = Counted()
    group.links.add(link)
    paused_until = 0.0
    for _ in range(2):
        assert link.checked_at == []
        time.sleep(SWEEP_INTERVAL_S + PAUSE_S_MIN)
        paused_until = time.monotonic()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    (checked_at,) = link.checked_at
    assert checked_at >= paused_until, "in a loop that is always late links are checked nevertheless"
    group.links.clear()


async def test_links_are_checked_until_the_group_is_closed(group: LinkGroup) -> None:
    link = Counted()
    group.links.add(link)
    start = time.monotonic()
    await until(lambda: link.checked_at)
    (checked_at,) = link.checked_at
    assert checked_at >= start + SWEEP_INTERVAL_S - 0.1
    group.close()
    await asyncio.sleep(SWEEP_INTERVAL_S + 0.1)
    assert len(link.checked_at) == 1
    group.links.clear()
