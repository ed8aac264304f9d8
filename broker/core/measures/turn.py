"""One turn of the shell's event loop, as far as requests are concerned: what it took in, and how long it took.

The core cannot see the time that the broker itself costs a request, for all that happens in one call happens at one
`now`. The shell can: a turn begins with the first read and ends when all that was queued because of it has been handed
to the operating system. So a request's time in the broker is that of two turns, the one in which its assignment was
sent and the one in which its response came; whatever held the loop up in either is in it. What lies between the two is
its worker's. All that share both turns share both times, so they are counted together.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..fleet.command import Command


class Batch:
    """The assignments of one command that were sent in one turn. `answered_count` of them have been answered in the
    turn that lasts now."""

    __slots__ = ("answered_count", "command", "turn")

    def __init__(self, command: "Command", turn: "Turn") -> None:
        self.command = command
        self.turn = turn
        self.answered_count = 0


class Turn:
    """`duration_s` and `ended_at` (0 while it lasts) are known once it has ended. `answered`: the batches of which a
    worker has answered some in it."""

    __slots__ = ("answered", "duration_s", "ended_at")

    def __init__(self) -> None:
        self.answered: list[Batch] = []
        self.duration_s = 0.0
        self.ended_at = 0.0

    def end(self, began_at: float, now: float) -> None:
        """All that it had queued has gone out. Count where the time of those answered in it went."""
        self.duration_s = now - began_at
        self.ended_at = now
        answered, self.answered = self.answered, []
        for batch in answered:
            count, batch.answered_count = batch.answered_count, 0
            sending, command = batch.turn, batch.command
            # A worker that guesses a msg_id can answer before it was sent.
            command.worker_duration.observe_all(max(0.0, began_at - sending.ended_at), count)
            command.broker_duration.observe_all(sending.duration_s + self.duration_s, count)
