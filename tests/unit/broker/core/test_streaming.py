"""Streams in the core: what is passed on of an attempt, what its worker may send, and what ends with it."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.ports import Piece
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable, TooLarge
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World


def piece(sequence: int, data: bytes = b"1", *, attempt: int = 1, worker: str = "w") -> Piece:
    return Piece(worker, attempt, sequence, Raw(data), Encoding.JSON)


def test_chunks_are_passed_on_in_order_before_the_answer() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    assert worker.chunk(request_id, 1, b'"a"') is None
    assert worker.chunk(request_id, 2, b'"b"') is None
    worker.succeed(request_id)
    assert requester.chunks == [(request_id, piece(1, b'"a"')), (request_id, piece(2, b'"b"'))]
    assert requester.outcome(request_id) == "success"


def test_chunks_that_nobody_wants_are_ignored() -> None:
    world = World()
    worker, requester = world.worker(concurrency=3), world.requester()
    plain, cancelled = requester.submit(), requester.submit(stream=True)
    requester.cancel(cancelled)
    msg_id = worker.msg_id(cancelled)
    for sequence in (1, 7):
        assert worker.chunk(plain, sequence) is None
        assert worker.chunk(cancelled, sequence) is None
        assert world.core.chunk(worker.session, "unknown", sequence, Raw(b"1"), world.now) is None
    for one in (worker.msg_id(plain), msg_id, "unknown"):
        world.core.refuse_chunk(worker.session, one, Failure("too_large", "much"), world.now)
    requester.take(plain, 1)
    requester.take("unknown", 1)
    worker.succeed(plain)
    assert (requester.chunks, worker.credits) == ([], [])
    assert requester.outcome(plain) == "success"


def test_credit_is_passed_on_once_and_only_for_what_was_sent() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    requester.take(request_id, 1)  # of no stream yet
    msg_id = worker.msg_id(request_id)
    for sequence in (1, 2, 3):
        worker.chunk(request_id, sequence)
    for sequence in (2, 2, 1, 900):
        requester.take(request_id, sequence)
    assert worker.credits == [(msg_id, 2), (msg_id, 3)]


def test_what_is_taken_at_once_is_granted_at_once() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.takes_at_once = True
    request_id = requester.submit(stream=True)
    for sequence in range(1, 3 * STREAM_CHUNKS_COUNT_MAX):
        assert worker.chunk(request_id, sequence) is None
    assert worker.credits[-1] == (worker.msg_id(request_id), 3 * STREAM_CHUNKS_COUNT_MAX - 1)


@pytest.mark.parametrize("sequence", [1, 3, 4])
def test_a_chunk_out_of_order_fails_its_request(sequence: int) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    worker.chunk(request_id, 1)
    assert worker.chunk(request_id, sequence) == f"sequence: chunk {sequence} came after chunk 1"
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("handler_error", "w")
    assert answer.failure is not None
    assert answer.failure.delivery is None
    assert [reason for _, reason in worker.cancels] == ["cancelled"]
    assert worker.session.failed_count == 1
    assert worker.session.in_flight_count == 1, "until its worker answers"
    assert worker.chunk(request_id, 2) is None
    worker.fail(request_id, code="cancelled")
    assert worker.session.in_flight_count == 0


def test_a_worker_may_send_as_many_chunks_as_the_window_holds_and_no_more() -> None:
    world = World()
    worker, requester = world.worker(concurrency=3), world.requester()
    many, much, one = (requester.submit(stream=True) for _ in range(3))
    for sequence in range(1, STREAM_CHUNKS_COUNT_MAX + 1):
        assert worker.chunk(many, sequence) is None
    fault = worker.chunk(many, STREAM_CHUNKS_COUNT_MAX + 1)
    assert fault is not None
    assert fault.startswith("data: chunk 65 came while 64 of 64 bytes were untaken")
    assert "STREAM_CHUNKS_COUNT_MAX" in fault
    assert worker.chunk(much, 1, b"1" * (STREAM_SIZE_BYTES_MAX - 1)) is None
    assert worker.chunk(much, 2) is None
    assert worker.chunk(much, 3) is not None
    assert worker.chunk(one, 1, b"1" * (2 * STREAM_SIZE_BYTES_MAX)) is None
    assert worker.chunk(one, 2) is not None
    assert {requester.outcome(request_id) for request_id in (many, much, one)} == {"handler_error"}


def test_a_chunk_that_cannot_be_carried_fails_its_request_and_blames_nobody() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    requester.refuses = NotRepresentable("data: NaN")
    assert worker.chunk(request_id, 1) is None
    assert requester.answer(request_id).outcome == "not_representable"
    assert [reason for _, reason in worker.cancels] == ["cancelled"]
    assert worker.session.failed_count == 0


def test_a_chunk_that_is_too_large_fails_its_request() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    failure = Failure(TooLarge.code, "chunk: 2 MiB")
    world.core.refuse_chunk(worker.session, worker.msg_id(request_id), failure, world.now)
    assert requester.answer(request_id).text == "chunk: 2 MiB"
    assert [reason for _, reason in worker.cancels] == ["cancelled"]


# --- progress -------------------------------------------------------------------------------------------------------


def test_progress_says_after_which_chunk_it_came() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(stream=True)
    msg_id = worker.msg_id(request_id)
    worker.report(msg_id, b"0.1")
    worker.chunk(request_id, 1)
    worker.report(msg_id, b"0.2")
    assert requester.reports == [(request_id, piece(0, b"0.1")), (request_id, piece(1, b"0.2"))]
    worker.succeed(request_id)
    worker.report(msg_id, b"0.3")
    assert len(requester.reports) == 2


def test_of_two_copies_the_progress_of_the_first_is_passed_on() -> None:
    _, first, second, request_id, requester = hedged()
    second.report(second.msg_id(request_id), b"0.9")
    first.report(first.msg_id(request_id), b"0.1")
    assert [report.data for _, report in requester.reports] == [Raw(b"0.1")]


# --- hedges and lost workers ----------------------------------------------------------------------------------------


def hedged() -> tuple[World, FakeWorker, FakeWorker, str, FakeRequester]:
    """A request that two workers have: the first, and the one with its hedge."""
    world = World()
    workers = {name: world.worker(name) for name in ("a", "b")}
    requester = world.requester()
    request_id = requester.submit(stream=True, idempotent=True, hedge=1.0)
    (first,) = (worker for worker in workers.values() if worker.holds)
    world.sleep(1.5)
    (second,) = (worker for worker in workers.values() if worker is not first)
    assert second.holds == [request_id]
    return world, first, second, request_id, requester


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_chunk_decides_between_two_copies(winner: int) -> None:
    _, *copies, request_id, requester = hedged()
    one, other = copies[winner], copies[1 - winner]
    one.chunk(request_id, 1)
    assert other.cancels == [(other.msg_id(request_id), "answered")]
    other.chunk(request_id, 1)
    one.chunk(request_id, 2)
    assert [(chunk.worker_id, chunk.sequence) for _, chunk in requester.chunks] == [
        (one.worker_id, 1),
        (one.worker_id, 2),
    ]
    other.succeed(request_id)
    assert requester.outcome(request_id) is None
    one.succeed(request_id)
    assert requester.outcome(request_id) == "success"


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_bad_chunk_of_one_copy_ends_both(is_refused: bool) -> None:
    world, first, second, request_id, requester = hedged()
    if is_refused:
        failure = Failure(TooLarge.code, "much")
        world.core.refuse_chunk(first.session, first.msg_id(request_id), failure, world.now)
    else:
        first.chunk(request_id, 2)
    assert requester.outcome(request_id) == ("too_large" if is_refused else "handler_error")
    assert [reason for _, reason in first.cancels + second.cancels] == ["cancelled", "answered"]


def test_a_request_that_has_sent_chunks_gets_no_hedge() -> None:
    world = World()
    workers = [world.worker(name) for name in ("a", "b")]
    requester = world.requester()
    request_id = requester.submit(stream=True, idempotent=True, hedge=1.0)
    (first,) = (worker for worker in workers if worker.holds)
    first.chunk(request_id, 1)
    world.sleep(20.0)
    assert sum(len(worker.delivered) for worker in workers) == 1


def test_a_second_attempt_begins_again() -> None:
    world = World()
    first, requester = world.worker("a"), world.requester()
    request_id = requester.submit(stream=True, idempotent=True)
    first.chunk(request_id, 1)
    first.chunk(request_id, 2)
    second = world.worker("b")
    first.leave()
    assert requester.resets == [(request_id, 2)]
    requester.take(request_id, 2)  # of nothing that has come yet
    second.chunk(request_id, 1)
    requester.take(request_id, 1, attempt=1)
    assert second.credits == []
    requester.take(request_id, 1, attempt=2)
    assert second.credits == [(second.msg_id(request_id), 1)]
    assert requester.chunks[-1] == (request_id, piece(1, attempt=2, worker="b"))


def test_a_request_that_may_not_run_twice_ends_with_its_worker() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    world.worker("other")
    request_id = requester.submit(stream=True, target="w")
    worker.chunk(request_id, 1)
    worker.leave()
    assert (requester.outcome(request_id), requester.resets) == ("worker_lost", [])


def test_what_never_left_the_broker_is_no_attempt() -> None:
    world = World()
    stuck, requester = world.worker("a", is_stuck=True), world.requester()
    request_id = requester.submit(stream=True)
    other = world.worker("b")
    stuck.leave()
    other.chunk(request_id, 1)
    assert requester.resets == []
    assert requester.chunks == [(request_id, piece(1, worker="b"))]


def test_an_attempt_of_a_job_goes_on_counting_over_another_connection() -> None:
    world = World()
    world.core.epoch = "epoch"
    worker, jobs = world.worker("w", instance="i"), world.requester()
    jobs.takes_at_once = True
    jobs.attempt(request_id="job", stream=True)
    worker.chunk("job", 1)
    again = FakeWorker(world, "w", ("echo",), instance="i")
    again.join([again.adopt(jobs, "job", worker.msg_id("job"))])
    assert again.chunk("job", 5) is None
    assert again.chunk("job", 6) is None
    assert again.chunk("job", 8) is not None
    assert [chunk.sequence for _, chunk in jobs.chunks] == [1, 5, 6]


# --- all of it at random --------------------------------------------------------------------------------------------


class StreamMachine(RuleBasedStateMachine):
    """One idempotent request after another, whose workers send chunks and are lost. `sent` are the chunks of the
    current attempt; a worker knows nothing but the credit that it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(retries_count_max=1000, retries_share_max=1.0)
        self.requester = self.world.requester()
        self.worker = self.world.worker("w0")
        self.workers_count = 1
        self.request_id = ""
        self.attempt = 0
        self.sent: list[bytes] = []
        self.taken = 0

    @precondition(lambda self: not self.request_id)
    @rule()
    def submit(self) -> None:
        self.request_id = self.requester.submit(stream=True, idempotent=True, timeout=3000.0)
        self._begin(1)

    def _begin(self, attempt: int) -> None:
        self.attempt = attempt
        self.sent = []
        self.taken = 0
        self.requester.chunks.clear()
        self.worker.credits.clear()

    @precondition(lambda self: self.request_id)
    @rule(
        data=st.binary(min_size=1, max_size=8), size=st.sampled_from((1, 1, 1000, STREAM_SIZE_BYTES_MAX // 2))
    )
    def send(self, data: bytes, size: int) -> None:
        chunk = data.ljust(size, b" ")
        untaken = self.sent[self.taken :]
        fits = (
            len(untaken) < STREAM_CHUNKS_COUNT_MAX
            and sum(map(len, untaken)) + len(chunk) <= STREAM_SIZE_BYTES_MAX
        )
        fault = self.worker.chunk(self.request_id, len(self.sent) + 1, chunk)
        assert (fault is None) == (fits or not untaken)
        if fault is None:
            self.sent.append(chunk)
        else:
            assert self.requester.outcome(self.request_id) == "handler_error"
            self.worker.fail(self.request_id, code="cancelled")
            self.request_id = ""

    @precondition(lambda self: self.request_id)
    @rule(sequence=st.integers(0, 80), is_late=st.booleans())
    def take(self, sequence: int, is_late: bool) -> None:
        attempt = self.attempt - 1 if is_late and self.attempt > 1 else self.attempt
        self.requester.take(self.request_id, sequence, attempt)
        if attempt == self.attempt:
            self.taken = max(self.taken, min(sequence, len(self.sent)))

    @precondition(lambda self: self.request_id)
    @rule(sequence=st.integers(1, 100))
    def send_out_of_order(self, sequence: int) -> None:
        if sequence != len(self.sent) + 1:
            assert self.worker.chunk(self.request_id, sequence) is not None
            self.worker.fail(self.request_id, code="cancelled")
            self.request_id = ""

    @precondition(lambda self: self.request_id)
    @rule()
    def lose_the_worker(self) -> None:
        lost = self.worker
        self.worker = self.world.worker(f"w{self.workers_count}")
        self.workers_count += 1
        lost.leave()
        if self.requester.outcome(self.request_id) is None:
            assert self.requester.resets[-1] == (self.request_id, self.attempt + 1)
            self._begin(self.attempt + 1)
        else:  # the budget of retries is used up
            self.request_id = ""

    @precondition(lambda self: self.request_id)
    @rule(how=st.sampled_from(("success", "cancel")))
    def end(self, how: str) -> None:
        if how == "cancel":
            self.requester.cancel(self.request_id)
            assert self.worker.chunk(self.request_id, 1) is None
        self.worker.succeed(self.request_id)
        self.request_id = ""

    @invariant()
    def all_of_the_attempt_was_passed_on_once_and_in_order(self) -> None:
        if self.request_id:
            passed = [
                (chunk.attempt, chunk.sequence, bytes(chunk.data)) for _, chunk in self.requester.chunks
            ]
            assert passed == [(self.attempt, number, data) for number, data in enumerate(self.sent, 1)]

    @invariant()
    def the_worker_knows_what_was_taken(self) -> None:
        if self.request_id:
            granted = [sequence for _, sequence in self.worker.credits]
            assert granted == sorted(set(granted)), "never back, never twice"
            assert (granted[-1] if granted else 0) == self.taken


TestStreams = StreamMachine.TestCase
