"""Whatever happens between a handler and its link: no chunk is lost, doubled or reordered, and none is too early."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from taskferry.worker.assignment import Assignment, Cancellation
from taskferry.worker.failure import ContextCancelled
from taskferry.worker.outlet import ChunkWriter
from taskferry.worker.stream import Stream

from tests.unit.worker.fake_broker import PATIENCE_S

SIZES_BYTES = st.sampled_from((4, 1000, 90_000, STREAM_SIZE_BYTES_MAX + 1))


@dataclass
class Broker:
    """Takes chunks over a link that comes and goes, and knows nothing but what has arrived."""

    is_there: bool = True
    was_away: bool = False
    arrived: list[tuple[int, str]] = field(default_factory=list)
    untaken: list[tuple[int, int]] = field(default_factory=list)

    def receive(self, _: Assignment, sequence: int, data: bytes) -> None:
        assert self.is_there, "nothing is sent without a link"
        if self.arrived:
            assert sequence > self.arrived[-1][0], "none is doubled or reordered"
        if self.untaken:
            assert sequence == self.untaken[-1][0] + 1, "none is lost while there is a link"
            assert len(self.untaken) < STREAM_CHUNKS_COUNT_MAX
            assert sum(size for _, size in self.untaken) + len(data) <= STREAM_SIZE_BYTES_MAX
        self.arrived.append((sequence, msgspec.json.decode(data, type=str).rstrip(".")))
        self.untaken.append((sequence, len(data)))

    def leave(self) -> None:
        self.is_there, self.was_away = False, True
        self.untaken.clear()

    def take(self, count: int, stream: Stream) -> None:
        if taken := self.untaken[:count]:
            del self.untaken[:count]
            stream.credit(taken[-1][0])


STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, STREAM_CHUNKS_COUNT_MAX)),
    st.tuples(st.sampled_from(("lose", "find", "pause")), st.just(0)),
)


@dataclass
class Sender:
    """One of those that send at once, in a thread or in the event loop, chunks of these sizes."""

    number: int
    is_in_thread: bool
    sizes_bytes: list[int]

    def texts(self) -> list[str]:
        return [
            f"{self.number} {position}".ljust(size_bytes - 2, ".")
            for position, size_bytes in enumerate(self.sizes_bytes)
        ]

    async def send(self, stream: Stream) -> None:
        if self.is_in_thread:
            await asyncio.to_thread(self._send_in_thread, stream)
            return
        for text in self.texts():
            await stream.send(text)

    def _send_in_thread(self, stream: Stream) -> None:
        for text in self.texts():
            stream.send(text)


SENDERS = st.lists(st.tuples(st.booleans(), st.lists(SIZES_BYTES, max_size=80)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(senders=SENDERS, steps=st.lists(STEPS, max_size=30), is_cancelled=st.booleans())
def test_chunks_are_in_order_and_within_the_window(
    senders: list[tuple[bool, list[int]]], steps: list[tuple[str, int]], is_cancelled: bool
) -> None:
    named = [Sender(number, is_in_thread, sizes) for number, (is_in_thread, sizes) in enumerate(senders)]
    broker, errors = asyncio.run(scenario(named, steps, is_cancelled=is_cancelled))
    for sender in named:
        mine = [text for _, text in broker.arrived if text.startswith(f"{sender.number} ")]
        expected = [text.rstrip(".") for text in sender.texts()]
        if not is_cancelled and not broker.was_away:
            assert mine == expected
        elif not broker.was_away:
            assert mine == expected[: len(mine)], "the first ones, and none left out"
        else:
            rest = iter(expected)
            assert all(text in rest for text in mine), "in order, none twice"
    for error in errors:
        assert is_cancelled
        assert isinstance(error, ContextCancelled | asyncio.CancelledError)


async def scenario(
    senders: list[Sender], steps: list[tuple[str, int]], *, is_cancelled: bool
) -> tuple[Broker, list[BaseException]]:
    """What has arrived, and what `send` has raised."""
    assignment = Assignment("m", "r", "speak", None, time.monotonic() + PATIENCE_S)
    broker = Broker()
    writer = ChunkWriter(CODECS[Encoding.JSON], 2 * STREAM_SIZE_BYTES_MAX)
    stream = Stream(assignment, writer, broker.receive, threading.get_ident())
    tasks = {asyncio.create_task(sender.send(stream)): sender for sender in senders}
    for step, count in steps:
        if step == "take":
            broker.take(count, stream)
        elif step == "lose" and broker.is_there:
            stream.link_closed()
            broker.leave()
        elif step == "find" and not broker.is_there:
            broker.is_there = True
            stream.link_opened()
        await asyncio.sleep(0.0005 if step == "pause" else 0)  # threads get on in a pause
    if is_cancelled:
        assignment.cancel(Cancellation("by the test"))
        for task, sender in tasks.items():
            if not sender.is_in_thread:
                task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        while not all(task.done() for task in tasks):
            broker.take(STREAM_CHUNKS_COUNT_MAX, stream)
            await asyncio.sleep(0.0005)
    stream.close()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return broker, [end for end in ends if end is not None]


async def test_what_a_thread_has_sent_before_a_link_is_lost_is_not_for_the_next() -> None:
    arrived: list[int] = []
    assignment = Assignment("m", "r", "speak", None, time.monotonic() + PATIENCE_S)
    writer = ChunkWriter(CODECS[Encoding.JSON], 100)
    stream = Stream(
        assignment, writer, lambda _, sequence, __: arrived.append(sequence), threading.get_ident()
    )

    def send_in_thread() -> None:
        """Without a turn of the event loop meanwhile."""
        thread = threading.Thread(target=stream.send, args=("chunk",))
        thread.start()
        thread.join()

    send_in_thread()
    stream.link_closed()
    send_in_thread()
    stream.link_opened()
    await asyncio.sleep(0)
    assert arrived == []
    send_in_thread()
    await stream.send("chunk")
    send_in_thread()
    stream.close()
    assert arrived == [3, 4, 5]


def test_a_thread_ends_when_the_event_loop_has() -> None:
    assignment = Assignment("m", "r", "speak", None, time.monotonic() + PATIENCE_S)
    writer = ChunkWriter(CODECS[Encoding.JSON], 100)

    async def made() -> Stream:
        return Stream(assignment, writer, lambda _, __, ___: None, 0)

    stream = asyncio.run(made())
    with pytest.raises(ContextCancelled, match="the worker has stopped"):
        stream.send("chunk")
