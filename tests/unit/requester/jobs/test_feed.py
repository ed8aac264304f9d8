"""What waits to be read of one job, and what gives way if it is not read."""

import asyncio

from taskferry.protocol.job_messages import JobAssigned, JobEnded
from taskferry.requester.answers import Chunk
from taskferry.requester.jobs.feed import UNREAD_COUNT_MAX, UNREAD_SIZE_BYTES_MAX, Feed


def chunk(number: int) -> Chunk:
    return Chunk(number, 1, None, job_id="j")


async def test_pieces_are_for_those_who_want_them() -> None:
    for wants_pieces, expected in (
        (True, [chunk(1), JobEnded("j", "done")]),
        (False, [JobEnded("j", "done")]),
    ):
        feed = Feed("j", wants_pieces=wants_pieces)
        feed.received(chunk(1), 10)
        feed.received(JobEnded("j", "done"))
        assert [await feed.next() for _ in expected] == expected


async def test_unread_pieces_have_a_bound_in_bytes_and_steps_come_all_the_same() -> None:
    feed = Feed("j", wants_pieces=True)
    half = UNREAD_SIZE_BYTES_MAX // 2
    for number in (1, 2, 3):
        feed.received(chunk(number), half)
    feed.received(JobEnded("j", "done"))
    assert [await feed.next() for _ in range(3)] == [chunk(1), chunk(2), JobEnded("j", "done")]
    feed.received(chunk(4), UNREAD_SIZE_BYTES_MAX)
    assert await feed.next() == chunk(4)


async def test_unread_pieces_have_a_bound_in_number() -> None:
    feed = Feed("j", wants_pieces=True)
    for number in range(1, UNREAD_COUNT_MAX + 2):
        feed.received(chunk(number), 1)
    feed.received(JobAssigned("j", 1, "w"))
    read = [await feed.next() for _ in range(UNREAD_COUNT_MAX + 1)]
    assert read[-2:] == [chunk(UNREAD_COUNT_MAX), JobAssigned("j", 1, "w")]


async def test_too_many_unread_steps_are_a_reason_to_ask_again() -> None:
    feed = Feed("j")
    for number in range(UNREAD_COUNT_MAX + 1):
        feed.received(JobAssigned("j", number + 1, "w"))
    assert await asyncio.wait_for(feed.next(), 1) is None
