"""What comes of a request, against a list: nothing lost, doubled or reordered within an attempt, and credit for all."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from taskferry.requester import Response
from taskferry.requester.answers import Chunk
from taskferry.requester.inlet import CREDIT_COUNT, CREDIT_SIZE_BYTES, Began, Inlet, Part
from taskferry.requester.progress import Progress

RESPONSE = Response("r", True, "end")


class InletMachine(RuleBasedStateMachine):
    """A broker that keeps to the window, and a reader. `waiting`: chunks of the current attempt that were not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet = Inlet()
        self.granted: list[tuple[int, int]] = []
        self.inlet.grant = lambda attempt, sequence: self.granted.append((attempt, sequence))
        self.attempt = 1
        self.brokers_attempt = 1
        self.sizes: list[int] = []
        self.waiting: list[tuple[int, str]] = []
        self.progress: str | None = None
        self.has_taken = self.has_come = self.is_announced = self.has_ended = False

    @property
    def credit(self) -> int:
        of_this = [sequence for attempt, sequence in self.granted if attempt == self.brokers_attempt]
        return of_this[-1] if of_this else 0

    @precondition(lambda self: not self.has_ended)
    @rule(size=st.sampled_from((1, 5000, CREDIT_SIZE_BYTES, STREAM_SIZE_BYTES_MAX + 1)))
    def chunk(self, size: int) -> None:
        untaken = self.sizes[self.credit :]
        if untaken and (
            len(untaken) >= STREAM_CHUNKS_COUNT_MAX or sum(untaken) + size > STREAM_SIZE_BYTES_MAX
        ):
            return
        self.sizes.append(size)
        sequence = len(self.sizes)
        text = f"{self.attempt}.{sequence}"
        self.inlet.chunk(Chunk(sequence, self.brokers_attempt, text, "r"), size)
        self.waiting.append((sequence, text))
        self.has_come = True

    @precondition(lambda self: not self.has_ended)
    @rule(text=st.text(max_size=2))
    def report(self, text: str) -> None:
        self.inlet.progress(self.brokers_attempt, {"text": text})
        self.progress = text
        self.has_come = True

    @precondition(lambda self: not self.has_ended)
    @rule(is_other_link=st.booleans())
    def begin_again(self, is_other_link: bool) -> None:
        if is_other_link:
            self.inlet.sent()
            if not self.has_come:
                return
            self.brokers_attempt = 1
            self.granted.clear()
        else:
            self.brokers_attempt += 1
            self.inlet.reset(self.brokers_attempt)
        self.attempt += 1
        self.sizes, self.waiting, self.progress = [], [], None
        self.is_announced |= self.has_taken
        self.has_come = False

    @precondition(lambda self: not self.has_ended)
    @rule()
    def end(self) -> None:
        self.inlet.set_result(RESPONSE)
        self.has_ended = True

    @rule(count=st.integers(1, CREDIT_COUNT + 2))
    def take(self, count: int) -> None:
        for _ in range(count):
            arrived: Any = self.inlet.take()
            if self.is_announced:
                assert arrived == Began(self.attempt)
                self.is_announced = self.has_taken = False
            elif self.progress is not None:
                assert isinstance(arrived, Progress)
                assert (arrived.text, arrived.attempt) == (self.progress, self.attempt)
                self.progress = None
            elif self.waiting:
                sequence, text = self.waiting.pop(0)
                assert arrived == Part(text)
                self.has_taken = True
                if not self.waiting and not self.has_ended:
                    assert self.credit == sequence, "all is taken, and granted"
            else:
                assert arrived is (RESPONSE if self.has_ended else None)

    @precondition(lambda self: self.granted)
    @rule()
    def credit_never_goes_back_nor_ahead(self) -> None:
        of_this = [sequence for attempt, sequence in self.granted if attempt == self.brokers_attempt]
        assert of_this == sorted(set(of_this))
        first_waiting = self.waiting[0][0] if self.waiting else len(self.sizes) + 1
        assert self.credit < first_waiting


TestInlet = InletMachine.TestCase
