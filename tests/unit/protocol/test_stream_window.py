"""The window of a stream, against a list of all that was ever sent."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from taskferry.protocol.stream_window import StreamWindow

SIZES_BYTES = st.one_of(
    st.integers(0, 20),
    st.integers(1000, 80_000),
    st.integers(STREAM_SIZE_BYTES_MAX - 2, STREAM_SIZE_BYTES_MAX + 2),
)


class WindowMachine(RuleBasedStateMachine):
    """`sizes_bytes` is every chunk that was sent, `taken` how many of them were taken: nothing else is known here."""

    def __init__(self) -> None:
        super().__init__()
        self.window = StreamWindow()
        self.sizes_bytes: list[int] = []
        self.taken = 0

    @property
    def untaken(self) -> list[int]:
        return self.sizes_bytes[self.taken :]

    @rule(size_bytes=SIZES_BYTES, count=st.sampled_from((1, 2, STREAM_CHUNKS_COUNT_MAX)))
    def send(self, size_bytes: int, count: int) -> None:
        for _ in range(count):
            may_send = not self.untaken or (
                len(self.untaken) + 1 <= STREAM_CHUNKS_COUNT_MAX
                and sum(self.untaken) + size_bytes <= STREAM_SIZE_BYTES_MAX
            )
            assert self.window.has_room(size_bytes) == may_send
            if not may_send:
                with pytest.raises(ValueError, match="are not taken yet, at most 64 chunks of 262144 bytes"):
                    self.window.send(size_bytes)
                return
            self.sizes_bytes.append(size_bytes)
            assert self.window.send(size_bytes) == len(self.sizes_bytes)

    @rule(share=st.floats(0, 1))
    def take(self, share: float) -> None:
        sequence = round(share * len(self.sizes_bytes))
        assert self.window.take(sequence) == (sequence > self.taken)
        self.taken = max(self.taken, sequence)

    @rule(count=st.integers(1, 3))
    def take_what_was_not_sent(self, count: int) -> None:
        with pytest.raises(ValueError, match="was not sent yet"):
            self.window.take(len(self.sizes_bytes) + count)

    @invariant()
    def knows_what_is_on_its_way(self) -> None:
        assert self.window.sent == len(self.sizes_bytes)
        assert self.window.taken == self.taken
        assert self.window.untaken_size_bytes == sum(self.untaken)


TestWindow = WindowMachine.TestCase


def test_each_bound_holds_on_both_sides() -> None:
    window = StreamWindow()
    for _ in range(STREAM_CHUNKS_COUNT_MAX):
        assert window.has_room(0)
        window.send(0)
    assert not window.has_room(0)
    window.take(1)
    assert window.has_room(STREAM_SIZE_BYTES_MAX)
    assert not window.has_room(STREAM_SIZE_BYTES_MAX + 1)
    window.take(STREAM_CHUNKS_COUNT_MAX)
    assert window.has_room(STREAM_SIZE_BYTES_MAX + 1)
