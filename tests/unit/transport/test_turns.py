"""Links of one loop take turns: however much one peer sends, what others send is handled soon."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from taskferry.transport.group import SHORT_READ_S_MAX, SHORT_READ_SIZES_BYTES, LinkGroup

from tests.unit.transport import frames
from tests.unit.transport.ends import Recorder, handshake, open_port, raw_peer
from tests.unit.transport.waiting import until

MESSAGE_S = SHORT_READ_S_MAX / 8
FLOOD_COUNT = 3000
FLOOD = frames.text(b"flood") * FLOOD_COUNT
READ_COUNT_MAX = SHORT_READ_SIZES_BYTES[-1] // len(frames.text(b"flood")) + 1
"""Messages in the longest read. Each turn, which the first message of it makes long enough, has one of them."""


class Slow(Recorder):
    """Takes some time for each message, and notes which were handled in each turn."""

    turns: list[list[bytes]]

    def messages_received(self, payloads: list[bytes]) -> None:
        super().messages_received(payloads)
        self.turns[-1] += payloads
        ends_at = time.monotonic() + MESSAGE_S * len(payloads)
        while time.monotonic() < ends_at:
            pass


@asynccontextmanager
async def turns_taken() -> AsyncIterator[tuple[LinkGroup, list[list[bytes]]]]:
    turns: list[list[bytes]] = [[]]
    group = LinkGroup(turn_ended=lambda _began, _ended: turns.append([]))
    Slow.turns = turns
    yield group, turns
    await until(lambda: not group.links)
    group.close()


@pytest.mark.parametrize("floods_count", [1, 3])
async def test_a_flood_takes_a_little_of_each_turn_and_loses_nothing(floods_count: int) -> None:
    async with turns_taken() as (group, turns), open_port(group, make_receiver=Slow) as port:
        async with raw_peer(port, handshake()) as polite:
            await polite.read_head()
            floods = [raw_peer(port, handshake() + FLOOD) for _ in range(floods_count)]
            writing = [asyncio.create_task(flood.__aenter__()) for flood in floods]
            sent_count = 0
            while sum(map(len, turns)) < FLOOD_COUNT * floods_count + sent_count:
                await polite.write(frames.text(b"polite"))
                sent_count += 1
                before = len(turns)
                await until(lambda: sum(turn.count(b"polite") for turn in turns) == sent_count)  # noqa: B023
                assert len(turns) - before <= 2 + floods_count, "its turn came late"
            await asyncio.gather(*writing)
            for flood in floods:
                await flood.__aexit__(None, None, None)
        assert sent_count > FLOOD_COUNT / READ_COUNT_MAX / 4, "they took turns"
        assert max(map(len, turns)) <= floods_count * READ_COUNT_MAX
        settled = turns[len(turns) // 4 : -1]
        assert max(map(len, settled)) <= READ_COUNT_MAX
        assert sum(turn.count(b"flood") for turn in turns) == FLOOD_COUNT * floods_count


async def test_a_link_that_ends_while_it_waits_for_its_turn_is_left_alone() -> None:
    async with turns_taken() as (group, turns), open_port(group, make_receiver=Slow) as port:
        async with raw_peer(port, handshake() + FLOOD):
            await until(lambda: len(turns) > 3)
            (receiver,) = port.receivers
            receiver.link.abort("enough")
        assert await receiver.closed() == "enough"
