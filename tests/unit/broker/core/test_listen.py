"""A listener may begin and stop at any time, also in the middle of a request."""

from tests.unit.broker.core.world import World

WHOLE = ["admitted", "assigned", "success"]
"""The life of a request that does not wait."""


class Lines:
    """The names of the steps."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def admitted(self, request: object) -> None:
        self.names.append("admitted")

    def waits(self, request: object) -> None:
        self.names.append("waits")

    def assigned(self, request: object, assignment: object, *, is_hedge: bool) -> None:
        self.names.append("assigned")

    def unassigned(self, request: object, assignment: object, outcome: str) -> None:
        self.names.append("unassigned")

    def ended(self, request: object, outcome: str) -> None:
        self.names.append(outcome)


def test_a_listener_that_begins_in_the_middle_hears_the_rest() -> None:
    world = World()
    worker, requester = world.worker(concurrency=2), world.requester()
    requester.submit(request_id="a")
    lines = Lines()
    world.core.listen(lines)
    requester.submit(request_id="b")
    worker.succeed("a")
    worker.succeed("b")
    assert sorted(lines.names) == sorted([*WHOLE, "success"])
    world.core.listen(None)
    requester.submit(request_id="c")
    worker.succeed("c")
    assert len(lines.names) == len(WHOLE) + 1


def test_another_listener_takes_the_place_of_the_first() -> None:
    world = World()
    first, lines = Lines(), Lines()
    world.core.listen(first)
    world.core.listen(lines)
    worker, requester = world.worker(), world.requester()
    requester.submit(request_id="a")
    worker.succeed("a")
    assert first.names == []
    assert lines.names == WHOLE
