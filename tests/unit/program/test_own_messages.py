"""Handlers of messages of the user's own: which one gets what, where it runs, and how many may wait."""

import asyncio
import threading

import pytest
from taskferry.program import own_messages
from taskferry.program.own_messages import Message, MessageHandlers
from taskferry.protocol.limits import NAME_LENGTH_MAX

from tests.unit.transport.waiting import until


async def test_coroutines_run_in_the_loop_and_functions_in_a_thread_in_order() -> None:
    handlers = MessageHandlers()
    got: list[tuple[Message, threading.Thread]] = []

    @handlers.on("soon")
    async def soon(message: Message) -> None:
        await asyncio.sleep(0)
        got.append((message, threading.current_thread()))

    @handlers.on("plain")
    def plain(message: Message) -> None:
        got.append((message, threading.current_thread()))

    handlers.received("soon", {"n": 1}, "w")
    await until(lambda: len(got) == 1)
    assert got == [(Message("soon", {"n": 1}, "w"), threading.current_thread())]
    for number in range(100):
        handlers.received("plain", number, "w")
    await until(lambda: len(got) == 101)
    assert [message.data for message, _ in got[1:]] == [*range(100)]
    (thread,) = {thread for _, thread in got[1:]}
    assert thread.daemon, "it keeps no program from ending"


async def test_what_nobody_handles_is_counted_and_what_fails_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = MessageHandlers()
    done = threading.Event()

    @handlers.on("fails")
    def fails(message: Message) -> None:
        raise ValueError("not\nthis")

    @handlers.on("fails too")
    async def fails_too(message: Message) -> None:
        raise KeyError(message.data)

    @handlers.on("after")
    def after(message: Message) -> None:
        done.set()

    handlers.received("other", 1, "w")
    for kind in ("fails", "fails too", "after"):
        handlers.received(kind, 1, "w")
    await until(done.is_set)
    await until(lambda: len(caplog.records) == 2)
    assert sorted(record.getMessage() for record in caplog.records) == [
        "message fails too: its handler raised KeyError: 1",
        "message fails: its handler raised ValueError: not this",
    ]
    assert (handlers.ignored_count, handlers.dropped_count) == (1, 0)
    assert handlers.has("after")
    assert not handlers.has("other")


async def test_so_many_wait_for_their_handlers_and_one_more_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_messages, "WAITING_COUNT_MAX", 3)
    handlers = MessageHandlers()
    go = asyncio.Event()
    ended: list[int] = []

    @handlers.on("waits")
    async def waits(message: Message) -> None:
        await go.wait()
        ended.append(message.data)

    for number in range(5):
        handlers.received("waits", number, "w")
    assert handlers.dropped_count == 2
    assert caplog.records[0].getMessage() == "message waits: dropped, as 3 messages wait for their handlers"
    go.set()
    await until(lambda: len(ended) == 3)
    handlers.received("waits", 5, "w")
    await until(lambda: ended == [0, 1, 2, 5])


async def test_close_cancels_what_runs_in_the_loop() -> None:
    handlers = MessageHandlers()
    cancelled: list[bool] = []

    @handlers.on("waits")
    async def waits(message: Message) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    handlers.received("waits", 1, "w")
    await asyncio.sleep(0)
    handlers.close()
    await until(lambda: cancelled == [True])


@pytest.mark.parametrize("kind", ["", "x" * (NAME_LENGTH_MAX + 1), None, 1])
def test_a_kind_is_a_text_of_bounded_length(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^kind: expected a text"):
        MessageHandlers().on(kind)


def test_a_kind_has_one_handler() -> None:
    handlers = MessageHandlers()
    handlers.on("x" * NAME_LENGTH_MAX)(print)
    with pytest.raises(ValueError, match="there is already a handler"):
        handlers.on("x" * NAME_LENGTH_MAX)(print)
