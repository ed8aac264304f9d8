"""Places: what some commands of a worker need besides a slot, and of which it has fewer, such as processes or devices.

An assignment of such a command takes a place until it gives back its slot. A worker without a free place is not
eligible in the pools of these commands, although it may have free slots for others. Which workers need a place is the
same for all routes of a pool.
"""

from ..offer import PlacesOffer


class Places:
    """The places of one worker, `count_max` of them. `held_by` are the msg_ids of the assignments that have one: more
    than there are places, if the worker has adopted so many."""

    __slots__ = ("_commands", "count_max", "held_by")

    def __init__(self, offer: PlacesOffer) -> None:
        self._commands = offer.commands
        self.count_max = offer.count_max
        self.held_by: set[str] = set()

    @property
    def is_full(self) -> bool:
        """None is free."""
        return len(self.held_by) >= self.count_max

    def are_for(self, command: str) -> bool:
        """Whether this command needs one."""
        return command in self._commands

    def take(self, msg_id: str, command: str) -> bool:
        """An assignment has begun. True if it has taken the last place."""
        if command not in self._commands:
            return False
        self.held_by.add(msg_id)
        return len(self.held_by) == self.count_max

    def free(self, msg_id: str) -> bool:
        """An assignment has ended. True if a place is free that was the last."""
        if msg_id not in self.held_by:
            return False
        self.held_by.remove(msg_id)
        return len(self.held_by) == self.count_max - 1
