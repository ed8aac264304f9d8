"""Jobs with a `key`: at most so many of one key are with the core at once."""

from .job import Job


class Keys:
    """Not there yet: every job may go."""

    __slots__ = ()
    opens_at = 0.0

    def enter(self, job: Job) -> bool:
        """Whether `job` may go to the core."""
        del job
        return True

    def leave(self, job: Job, now: float) -> None:
        """`job` has left the core."""

    def ended(self, job: Job, now: float) -> None:
        """`job` has ended."""

    def opened(self, job: Job) -> None:
        """`job` was with a worker when the broker stopped."""

    def holders(self, key: str) -> list[str]:
        """Job ids of those with this key that are with the core."""
        del key
        return []
