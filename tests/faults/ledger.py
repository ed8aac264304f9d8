"""The book of all requests that a test sends: each is entered once, and ends exactly once.

It ends with a response, or with the loss of its connection, which is an outcome only if the test says so.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.processes import Broker, Program

SUCCESS: Final = "success"
LOST: Final = "lost"
"""The connection ended before the response came."""


@dataclass(slots=True)
class Ledger:
    """`response_by_id`: the response of each request that has ended, None if its connection was lost. `outcomes` counts
    them by code, `success` or `lost`."""

    is_idempotent_by_id: dict[str, bool] = field(default_factory=dict)
    response_by_id: dict[str, Any] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def sent_count(self) -> int:
        return len(self.is_idempotent_by_id)

    @property
    def pending_count(self) -> int:
        """Requests that have not ended."""
        return len(self.is_idempotent_by_id) - len(self.response_by_id)

    def sent(self, request_id: str, *, is_idempotent: bool = False) -> None:
        assert request_id not in self.is_idempotent_by_id, f"{request_id} is sent twice"
        self.is_idempotent_by_id[request_id] = is_idempotent

    def answered(self, response: Any) -> None:
        """Enter a response. Raises AssertionError if the request is unknown or has ended before."""
        request_id = response["request_id"]
        assert request_id in self.is_idempotent_by_id, f"an answer to what nobody sent: {response}"
        assert request_id not in self.response_by_id, f"a second answer: {response}"
        self.response_by_id[request_id] = response
        self.outcomes[SUCCESS if response["success"] else response["code"]] += 1

    def lost(self, request_id: str) -> None:
        """The connection of a pending request has ended."""
        assert request_id not in self.response_by_id, f"{request_id} had ended before"
        self.response_by_id[request_id] = None
        self.outcomes[LOST] += 1

    def responses(self, outcome: str) -> list[Any]:
        """The responses with this code, or `success`."""
        return [
            response
            for response in self.response_by_id.values()
            if response is not None and (SUCCESS if response["success"] else response["code"]) == outcome
        ]

    def assert_balances(self, workers: Iterable[Program] = (), retries_count_max: int = 2) -> None:
        """Each request has ended, and by what `workers` (of tasks.py) have printed none ran more often than it may:
        what is not idempotent once, what is `not_delivered` or `no_available_workers` never, a success at least once.
        """
        assert self.pending_count == 0, f"{self.pending_count} of {self.sent_count} have no answer"
        assert self.outcomes.total() == self.sent_count
        runs = count_runs(workers)
        for request_id, response in self.response_by_id.items():
            count = runs[request_id]
            count_max = 1 + retries_count_max if self.is_idempotent_by_id[request_id] else 1
            assert count <= count_max, f"{request_id} ran {count} times"
            if response is not None and response.get("delivery") == "not_delivered":
                assert count == 0, f"ran, and is reported as not delivered: {response}"
            if response is not None and response["success"] and workers:
                assert count >= 1, f"succeeded without having run: {response}"


def count_runs(workers: Iterable[Program]) -> Counter[str]:
    """How often each request ran, by what workers of tasks.py have printed."""
    return Counter(
        request_id
        for worker in workers
        for request_id in re.findall(r"^ran (\S+)$", worker.stdout, re.MULTILINE)
    )


def assert_broker_balances(broker: Broker, in_flight_count: int = 0) -> None:
    """All that was submitted to `broker` has ended or is in flight, and it has logged no bug of its own."""
    status = broker.status()
    assert status["in_flight_count"] == in_flight_count
    assert status["submitted_count"] == sum(status["outcomes"].values()) + in_flight_count
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]
