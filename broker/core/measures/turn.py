"""One turn of the event loop, as far as requests are concerned: which were answered in it, and how long it took.

The core cannot measure the time that the broker itself adds to a request, because one call has one `now`. Its caller
can: a turn begins with the first read and ends when everything queued because of it has been handed to the operating
system. So a request's time in the broker is that of two turns, the one in which its assignment was sent and the one in
which its response arrived, including any delay of the loop in either. The time between them is its worker's. Requests
that share both turns share both times, so they are counted together.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..fleet.command import Command


class Batch:
    """The assignments of one command that were sent in one turn. `answered_count` of them have been answered in the
    current turn."""

    __slots__ = ("answered_count", "command", "turn")

    def __init__(self, command: "Command", turn: "Turn") -> None:
        self.command = command
        self.turn = turn
        self.answered_count = 0


class Turn:
    """`duration_s` and `ended_at` are 0 until it has ended. `answered`: the batches from which workers have answered
    assignments in this turn."""

    __slots__ = ("answered", "duration_s", "ended_at")

    def __init__(self) -> None:
        self.answered: list[Batch] = []
        self.duration_s = 0.0
        self.ended_at = 0.0

    def end(self, began_at: float, now: float) -> None:
        """Everything queued in it has been written. Count the times of the requests answered in it."""
        self.duration_s = now - began_at
        self.ended_at = now
        answered, self.answered = self.answered, []
        for batch in answered:
            count, batch.answered_count = batch.answered_count, 0
            sending, command = batch.turn, batch.command
            # A worker that guesses a msg_id can answer before the assignment was sent.
            command.worker_duration.observe_all(max(0.0, began_at - sending.ended_at), count)
            command.broker_duration.observe_all(sending.duration_s + self.duration_s, count)


BEFORE: Final = Turn()
"""The turn before the first one."""
