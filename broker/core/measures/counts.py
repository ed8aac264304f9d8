"""What has happened to calls since the broker started, as plain integers."""


class Counts:
    """Counters: each only grows."""

    __slots__ = (
        "account_refused_count",
        "ended_count",
        "hedged_count",
        "hedges_won_count",
        "late_responses_count",
        "reassigned_count",
        "refused",
        "retried_count",
        "submitted_count",
        "unknown_assignments_count",
        "yielded_count",
    )

    def __init__(self) -> None:
        self.submitted_count = 0
        """Calls admitted, each of which became a request."""
        self.ended_count = 0
        """Requests that have ended."""
        self.refused: dict[str, int] = {}
        """Calls that were not admitted, by error code."""
        self.account_refused_count = 0
        """Those of them that were refused because their account had too many requests in flight."""
        self.retried_count = 0
        """Retries: requests assigned again after a worker that may have run them was lost."""
        self.reassigned_count = 0
        """Requests assigned again because they had not been written to the worker that was lost."""
        self.hedged_count = 0
        """Hedges sent."""
        self.hedges_won_count = 0
        """Hedges that were answered before the first copy."""
        self.late_responses_count = 0
        """Responses to requests that had already ended."""
        self.unknown_assignments_count = 0
        """Responses with a msg_id that is not an assignment of their worker."""

        self.yielded_count = 0
        """Requests that gave way to those of clients that had less waiting."""

    @property
    def in_flight_count(self) -> int:
        """Requests that have not ended, waiting ones included."""
        return self.submitted_count - self.ended_count

    def refuse(self, code: str) -> None:
        """Count a call that was not admitted."""
        self.refused[code] = self.refused.get(code, 0) + 1
