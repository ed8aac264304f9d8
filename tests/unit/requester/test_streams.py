"""Streams of requesters: chunks in order, progress, what is granted, what a lost attempt leaves, and how they end."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX
from taskferry.protocol.messages import Failure, Request, Response
from taskferry.protocol.stream_messages import Chunk, Credit, Progress, Reset
from taskferry.requester import (
    BadRequest,
    BlockingRequester,
    Cancelled,
    ConnectionLost,
    HandlerError,
    NotRepresentable,
    Requester,
    WorkerLost,
)
from taskferry.requester import Progress as Report
from taskferry.requester.inlet import CREDIT_COUNT

from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread, Session
from tests.unit.requester.waiting import until

PIECES = ["a", {"b": [1]}, None, "d"]


class Side:
    """The broker's side of one request after the other."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.begun: list[tuple[Session, Request]] = []
        broker.behave = lambda session, request: self.begun.append((session, request))

    async def request(self, count: int = 1) -> Request:
        """The request, when so many have come."""
        await until(lambda: len(self.begun) >= count)
        return self.begun[-1][1]

    @property
    def granted(self) -> list[tuple[int, int | None]]:
        """Of each credit the sequence and the attempt."""
        return [(one.sequence, one.attempt) for one in self.broker.questions if isinstance(one, Credit)]

    def chunks(self, *pieces: object, first: int = 1, attempt: int = 1) -> None:
        for sequence, piece in enumerate(pieces, first):
            self._send(Chunk, sequence, attempt, piece)

    def progress(self, report: object, *, sequence: int = 0, attempt: int = 1) -> None:
        self._send(Progress, sequence, attempt, report)

    def reset(self, attempt: int) -> None:
        session, request = self.begun[-1]
        session.send(Reset(request.request_id or "", attempt))

    def respond(self, result: object = None) -> None:
        session, request = self.begun[-1]
        data = Raw(session.codec.encode(result))
        session.send(Response(request.request_id or "", True, data, None, "worker-1"))

    def fail(self, code: str = "handler_error", text: str = "broken") -> None:
        session, request = self.begun[-1]
        session.send(Failure(request.request_id, False, None, text, "worker-1", code))

    def _send(self, kind: type[Chunk] | type[Progress], sequence: int, attempt: int, data: object) -> None:
        session, request = self.begun[-1]
        raw = Raw(session.codec.encode(data))
        session.send(kind(request_id=request.request_id, sequence=sequence, attempt=attempt, data=raw))


@pytest.fixture
def side(broker: FakeBroker) -> Side:
    return Side(broker)


@pytest.fixture(params=["json", "msgpack"])
async def any_requester(broker: FakeBroker, request: pytest.FixtureRequest) -> AsyncIterator[Requester]:
    async with Requester(broker.url, encoding=request.param) as requester:
        await requester.connect()
        yield requester
        await until(lambda: requester.in_flight_count == 0)


async def collected(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def test_chunks_come_in_order_and_the_result_after_them(any_requester: Requester, side: Side) -> None:
    stream = any_requester.stream("tail", {"n": 1}, timeout=7, priority=8, request_id="mine")
    reading = asyncio.create_task(collected(stream))
    request = await side.request()
    assert (request.stream, request.timeout, request.priority) == ("credit", 7, 8)
    assert request.request_id == "mine"
    side.chunks(*PIECES)
    side.respond("end")
    assert await reading == PIECES
    assert stream.result == "end"
    assert (stream.response.processed_by, stream.attempt) == ("worker-1", 1)
    assert side.broker.cancelled == []


async def test_chunks_that_have_come_come_before_the_failure(requester: Requester, side: Side) -> None:
    stream = requester.stream("tail")
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.result
    chunks = aiter(stream)
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a", "b")
    side.fail("too_blue")
    assert (await first, await anext(chunks)) == ("a", "b")
    with pytest.raises(HandlerError, match="broken"):
        await anext(chunks)
    assert stream.response.code == "too_blue"


async def test_each_chunk_is_converted(requester: Requester, side: Side) -> None:
    class Line(msgspec.Struct):
        text: str

    stream = requester.stream("tail", type=Line)
    chunks = aiter(stream)
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks({"text": "a"}, 7)
    assert await first == Line("a")
    with pytest.raises(NotRepresentable):
        await anext(chunks)
    await until(lambda: side.broker.cancelled)


# --- progress -------------------------------------------------------------------------------------------------------


async def test_progress_of_a_call(any_requester: Requester, side: Side) -> None:
    reports: list[Report] = []
    calling = asyncio.create_task(any_requester.call("work", on_progress=reports.append, type=int))
    request = await side.request()
    assert request.stream == "progress"
    for report in (
        {"progress": 0.4, "text": "page 4 of 10", "current": 4, "total": 10},
        {"progress": 7, "text": 1},
        {"progress": True, "current": "x"},
        {"progress": -1},
        "raw",
    ):
        side.progress(report)
        count = len(reports)
        await until(lambda count=count: len(reports) > count)  # type: ignore[misc]
    side.respond(7)
    assert await calling == 7
    assert reports == [
        Report(
            0.4,
            "page 4 of 10",
            4,
            10,
            1,
            {"progress": 0.4, "text": "page 4 of 10", "current": 4, "total": 10},
        ),
        Report(1.0, data={"progress": 7, "text": 1}),
        Report(data={"progress": True, "current": "x"}),
        Report(0.0, data={"progress": -1}),
        Report(data="raw"),
    ]


async def test_a_call_with_progress_fails_as_any_other(requester: Requester, side: Side) -> None:
    calling = asyncio.create_task(requester.call("work", on_progress=print))
    await side.request()
    side.fail("too_blue")
    with pytest.raises(HandlerError) as caught:
        await calling
    assert caught.value.code == "too_blue"
    with pytest.raises(BadRequest):
        await requester.call("work", timeout=-1, on_progress=print)


async def test_an_error_while_progress_is_taken_cancels_the_request(requester: Requester, side: Side) -> None:
    def refuse(progress: Report) -> None:
        raise KeyError(progress.share)

    calling = asyncio.create_task(requester.call("work", on_progress=refuse))
    await side.request()
    side.progress({"progress": 0.5})
    with pytest.raises(KeyError):
        await calling
    await until(lambda: side.broker.cancelled)


async def test_progress_of_a_stream_is_the_latest(requester: Requester, side: Side) -> None:
    reports: list[Report] = []
    chunks = aiter(requester.stream("work", on_progress=reports.append))
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a")
    assert await first == "a"
    for number in range(10):
        side.progress(number / 10)
    side.chunks("b", first=2)
    side.respond()
    await until(lambda: requester.in_flight_count == 0)
    assert await anext(chunks) == "b"
    assert [report.data for report in reports] == [0.9]


# --- credit ---------------------------------------------------------------------------------------------------------


async def test_only_what_was_taken_is_granted(requester: Requester, side: Side) -> None:
    chunks = aiter(requester.stream("tail"))
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks(*range(STREAM_CHUNKS_COUNT_MAX))
    assert await first == 0
    await asyncio.sleep(0.05)
    assert len(side.granted) <= 1
    for number in range(1, STREAM_CHUNKS_COUNT_MAX):
        assert await anext(chunks) == number
    await until(lambda: side.granted and side.granted[-1] == (STREAM_CHUNKS_COUNT_MAX, 1))
    assert len(side.granted) <= 1 + STREAM_CHUNKS_COUNT_MAX // CREDIT_COUNT
    await chunks.aclose()


async def test_large_chunks_are_granted_sooner(requester: Requester, side: Side) -> None:
    chunks = aiter(requester.stream("tail"))
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks(*["x" * 65_536] * 3)
    await first
    await until(lambda: side.granted == [(1, 1)])
    await chunks.aclose()


# --- the end before the end -----------------------------------------------------------------------------------------


async def test_leaving_the_loop_cancels_the_request(requester: Requester, side: Side) -> None:
    stream = requester.stream("tail")

    async def read() -> None:
        async for _ in stream:
            break

    reading = asyncio.create_task(read())
    await side.request()
    side.chunks("a", "b")
    await reading
    gc.collect()
    await until(lambda: side.broker.cancelled)
    assert requester.in_flight_count == 0
    with pytest.raises(RuntimeError, match="once"):
        aiter(stream)


async def test_the_end_of_a_block_and_a_cancelled_task_cancel_it_too(
    requester: Requester, side: Side
) -> None:
    async with requester.stream("tail") as stream:
        reading = asyncio.create_task(anext(stream))
        await side.request()
        side.chunks("a")
        assert await reading == "a"
    await until(lambda: len(side.broker.cancelled) == 1)
    reading = asyncio.create_task(anext(requester.stream("tail")))
    await side.request(2)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    await until(lambda: len(side.broker.cancelled) == 2)


async def test_a_stream_of_which_nothing_was_asked_is_no_request(requester: Requester, side: Side) -> None:
    async with requester.stream("tail") as stream:
        stream.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(side.request(), 0.05)
    assert requester.in_flight_count == 0


async def test_the_end_of_the_requester_ends_its_streams(broker: FakeBroker, side: Side) -> None:
    async with Requester(broker.url) as requester:
        reading = asyncio.create_task(collected(requester.stream("tail")))
        await side.request()
        side.chunks("a")
    with pytest.raises(Cancelled):
        await reading


# --- attempts -------------------------------------------------------------------------------------------------------


async def test_a_stream_that_begins_again_says_so(requester: Requester, side: Side) -> None:
    resets: list[int] = []
    stream = requester.stream("tail", idempotent=True, on_reset=resets.append)
    chunks = aiter(stream)
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a", "b")
    assert await first == "a"
    side.reset(2)
    side.chunks("c", "d", attempt=2)
    side.respond()
    await until(lambda: requester.in_flight_count == 0)
    assert [chunk async for chunk in chunks] == ["c", "d"]
    assert (resets, stream.attempt) == ([2], 2)


async def test_without_a_word_for_it_a_stream_that_begins_again_fails(
    requester: Requester, side: Side
) -> None:
    chunks = aiter(requester.stream("tail", idempotent=True))
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a")
    assert await first == "a"
    side.reset(2)
    with pytest.raises(WorkerLost, match=r"attempt 2.*on_reset"):
        await anext(chunks)
    await until(lambda: side.broker.cancelled)


async def test_what_was_not_taken_is_dropped_without_a_word(requester: Requester, side: Side) -> None:
    stream = requester.stream("tail", idempotent=True)
    reading = asyncio.create_task(collected(stream))
    await side.request()
    side.reset(2)
    side.chunks("c", attempt=2)
    side.respond()
    assert await reading == ["c"]
    assert stream.attempt == 2


async def test_over_another_link_it_is_another_attempt(
    broker: FakeBroker, requester: Requester, side: Side
) -> None:
    resets: list[int] = []
    stream = requester.stream("tail", idempotent=True, on_reset=resets.append)
    chunks = aiter(stream)
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a")
    assert await first == "a"
    broker.drop_connections()
    await side.request(2)
    side.chunks("b")
    assert await anext(chunks) == "b"
    assert (resets, stream.attempt) == ([2], 2)
    await until(lambda: side.granted[-1:] == [(1, 1)])
    side.reset(2)
    side.chunks("c", attempt=2)
    side.respond()
    assert [chunk async for chunk in chunks] == ["c"]
    assert (resets, stream.attempt) == ([2, 3], 3)


async def test_a_link_that_breaks_ends_what_may_not_run_twice(
    broker: FakeBroker, requester: Requester, side: Side
) -> None:
    chunks = aiter(requester.stream("tail"))
    first = asyncio.ensure_future(anext(chunks))
    await side.request()
    side.chunks("a")
    assert await first == "a"
    broker.drop_connections()
    with pytest.raises(ConnectionLost):
        await anext(chunks)


# --- what is not a stream's -----------------------------------------------------------------------------------------


async def test_what_comes_of_no_stream_is_ignored(broker: FakeBroker, requester: Requester) -> None:
    sent = Raw(b"1")

    def behave(session: Session, request: Request) -> None:
        for request_id in (request.request_id, "unknown"):
            session.send(Reset(request_id or "", 2))
            session.send(Progress(request_id=request_id, sequence=0, attempt=2, data=sent))
            session.send(Chunk(request_id=request_id, sequence=1, attempt=2, data=sent))
        session.send(Chunk(job_id="job", sequence=1, attempt=1, data=sent))
        session.answer(request)

    broker.behave = behave
    assert await requester.call("echo", 7) == 7
    assert await collected(requester.stream("echo", 8)) == [1]
    assert await requester.call("echo", 9) == 9


async def test_a_chunk_that_cannot_be_read_fails_its_request(
    broker: FakeBroker, requester: Requester
) -> None:
    def behave(session: Session, request: Request) -> None:
        session.link.send(
            b'{"type":"chunk","request_id":"%s","sequence":1,"attempt":1,"data":1e999}'
            % (request.request_id or "").encode()
        )

    broker.behave = behave
    with pytest.raises(NotRepresentable):
        await collected(requester.stream("tail"))


# --- in threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
def test_a_thread_takes_chunks_and_progress(encoding: Encoding) -> None:
    with FakeBrokerThread() as thread:

        def behave(session: Session, request: Request) -> None:
            raw = [Raw(session.codec.encode(piece)) for piece in PIECES]
            report = Raw(session.codec.encode({"progress": 0.5}))
            session.send(Progress(request_id=request.request_id, sequence=0, attempt=1, data=report))
            for sequence, piece in enumerate(raw, 1):
                session.send(Chunk(request_id=request.request_id, sequence=sequence, attempt=1, data=piece))
            if request.command == "fail":
                session.send(Failure(request.request_id, False, None, "broken", None, "handler_error"))
            elif request.command != "never":
                session.answer(request)

        thread.broker.behave = behave
        reports: list[Report] = []
        with BlockingRequester(thread.url, encoding=encoding) as requester:
            stream = requester.stream("echo", "end", on_progress=reports.append)
            assert list(stream) == PIECES
            assert stream.result == "end"
            assert [report.share for report in reports] == [0.5]
            with pytest.raises(RuntimeError, match="once"):
                iter(stream)
            assert requester.call("echo", 7, on_progress=reports.append, type=int) == 7
            assert len(reports) == 2
            with pytest.raises(HandlerError):
                requester.call("fail", on_progress=reports.append)
            with pytest.raises(HandlerError):
                list(requester.stream("fail"))
            for _ in requester.stream("never"):
                break
            with requester.stream("never") as never:
                assert next(never) == "a"
            while len(thread.broker.cancelled) < 2:
                requester.call("echo")
            with requester.stream("never") as unread:
                unread.cancel()
        with pytest.raises(RuntimeError, match="closed"):
            next(iter(requester.stream("echo")))
