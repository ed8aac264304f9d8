"""What is remembered about workers while they are away, and for how many."""

import pytest
from taskferry.broker.core.fleet import record
from taskferry.broker.core.fleet.record import Record, Records

from tests.unit.broker.core.world import World


def test_a_clean_record_is_not_kept() -> None:
    records = Records()
    records.keep("w", Record())
    assert records.take("w") is None


@pytest.mark.parametrize("what", ["a failure", "an ejection", "a drain"])
def test_a_record_is_kept_until_the_worker_is_back(what: str) -> None:
    records, remembered = Records(), Record()
    remembered.streak.count = int(what == "a failure")
    remembered.ejections_count = int(what == "an ejection")
    remembered.is_drained = what == "a drain"
    records.keep("w", remembered)
    assert records.take("other") is None
    assert records.take("w") is remembered
    assert records.take("w") is None


def test_the_number_of_records_is_bounded_and_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert record.RECORDS_COUNT_MAX == 10_000
    monkeypatch.setattr(record, "RECORDS_COUNT_MAX", 2)
    records = Records()
    for worker_id in "abc":
        bad = Record()
        bad.streak.count = 1
        records.keep(worker_id, bad)
    assert [records.take(worker_id) is not None for worker_id in "abc"] == [False, True, True]


def test_failures_in_a_row_continue_after_a_reconnect() -> None:
    world = World()
    world.worker("other")
    worker = world.worker("w")
    for number in range(3):
        worker.fail(world.anyone().submit(request_id=f"{number}", target="w"))
    worker.leave()
    back = world.worker("w")
    back.fail(world.anyone().submit(request_id="3", target="w"))
    assert back.state == "healthy"
    back.fail(world.anyone().submit(request_id="4", target="w"))
    assert back.state == "ejected"


def test_a_success_clears_them() -> None:
    world = World()
    requester = world.requester()
    worker = world.worker("w")
    worker.fail(requester.submit())
    worker.leave()
    back = world.worker("w")
    back.succeed(requester.submit())
    assert back.session.record.is_clean


def test_each_name_has_its_own_record() -> None:
    world = World()
    worker = world.worker("w")
    worker.drain_by_operator()
    worker.leave()
    assert world.worker("v").state == "healthy"
