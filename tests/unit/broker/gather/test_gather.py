"""One gather over the real core: who is in it, when it is complete, what is in its answer, and its bounds."""

from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.core.fleet import directory, roster
from taskferry.broker.core.ports import Piece
from taskferry.broker.gather import gather, gathers
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import MAY_HAVE_RUN, NOT_DELIVERED

from tests.each_case import each_case
from tests.unit.broker.gather.rig import Asker, Rig, asked


def by_worker(answer: dict[str, Any]) -> dict[str, Any]:
    return {item["worker_id"]: item["data"] if item["success"] else item["code"] for item in answer["items"]}


def test_each_worker_is_asked_and_items_are_in_the_order_in_which_they_ended() -> None:
    asker = Asker(rig := Rig())
    u, v, w = rig.workers("u", "v", "w")
    asker.gather()
    v.succeed("g:1", b'"from v"')
    w.fail("g:2", "no", "own_code")
    assert not asker.answers
    u.succeed("g:0", None)
    assert asker.answers["g"] == {
        "items": [
            {"worker_id": "v", "success": True, "data": "from v", "error": None, "code": None, "delivery": None},
            {"worker_id": "w", "success": False, "data": None, "error": "no", "code": "own_code", "delivery": None},
            {"worker_id": "u", "success": True, "data": None, "error": None, "code": None, "delivery": None},
        ],
        "missing": [],
        "complete": True,
    }  # fmt: skip
    rig.check_nothing_is_left()


@each_case(("expect", "needed"), [(1, 1), (3, 3), (0.01, 1), (0.5, 2), (0.51, 3), (0.75, 3), (0.9, 4)])
def test_it_is_complete_as_soon_as_so_many_have_succeeded_and_the_others_are_cancelled(
    expect: float, needed: int
) -> None:
    asker = Asker(rig := Rig())
    workers = rig.workers("t", "u", "v", "w")
    asker.gather(expect=expect)
    for worker in workers[:needed]:
        assert not asker.answers
        worker.succeed(asked(worker))
    assert asker.answers["g"]["complete"]
    assert asker.answers["g"]["missing"] == [worker.worker_id for worker in workers[needed:]]
    rig.end_turns()
    for worker in workers[needed:]:
        assert [reason for _, reason in worker.cancels] == ["cancelled"]
    rig.check_nothing_is_left()


def test_a_number_counts_successes_and_all_counts_ends() -> None:
    asker = Asker(rig := Rig())
    v, w = rig.workers("v", "w", concurrency=2)
    asker.gather("one", expect=1)
    asker.gather("all")
    for number, worker in enumerate((v, w)):
        assert not asker.answers
        worker.fail(f"one:{number}", "no")
        worker.fail(f"all:{number}", "no")
    assert not asker.answers["one"]["complete"]
    assert asker.answers["all"]["complete"]
    assert by_worker(asker.answers["one"]) == {"v": "handler_error", "w": "handler_error"}


def test_more_than_there_are_never_makes_it_complete_but_it_ends_with_the_last_one() -> None:
    asker = Asker(rig := Rig())
    (w,) = rig.workers("w")
    asker.gather(expect=2)
    w.succeed("g:0")
    assert by_worker(asker.answers["g"]) == {"w": "done"}
    assert (asker.answers["g"]["missing"], asker.answers["g"]["complete"]) == ([], False)


def test_at_its_deadline_it_is_answered_with_what_there_is() -> None:
    asker = Asker(rig := Rig())
    u, v, w = rig.workers("u", "v", "w")
    asker.gather(timeout=2.0)
    v.succeed("g:1")
    rig.sleep(1.9)
    assert not asker.answers
    rig.sleep(0.2)
    assert by_worker(asker.answers["g"]) == {"v": "done"}
    assert asker.answers["g"]["missing"] == ["u", "w"]
    assert not asker.answers["g"]["complete"]
    assert [reason for _, reason in u.cancels] == ["timeout"]
    u.succeed("g:0")
    w.succeed("g:2")
    rig.check_nothing_is_left()


def test_a_handler_that_says_timeout_is_not_the_deadline() -> None:
    asker = Asker(rig := Rig())
    v, w = rig.workers("v", "w")
    asker.gather()
    v.fail("g:0", "no", "timeout")
    w.succeed("g:1")
    assert by_worker(asker.answers["g"]) == {"v": "handler_error", "w": "done"}


def test_without_a_timeout_it_has_the_brokers() -> None:
    asker = Asker(rig := Rig(timeout_s=5.0))
    rig.workers("v")
    asker.gather(timeout=None)
    rig.sleep(4.9)
    assert not asker.answers
    rig.sleep(0.2)
    assert asker.answers["g"]["missing"] == ["v"]


def test_a_worker_that_joins_later_is_not_in_it_and_one_that_leaves_is_lost() -> None:
    asker = Asker(rig := Rig())
    u, v, w = rig.workers("u", "v", "w")
    w.is_stuck = True
    asker.gather("again")
    late = rig.world.worker("late")
    v.leave()
    rig.world.core.turn_ended(rig.world.now, rig.world.now)
    u.succeed("again:0")
    w.is_stuck = False
    w.succeed("again:2")
    assert not late.holds
    assert asker.answers["again"]["complete"]
    assert by_worker(asker.answers["again"]) == {"u": "done", "v": "worker_lost", "w": "done"}
    lost = asker.answers["again"]["items"][0]
    assert (lost["error"], lost["delivery"]) == ("Worker lost: the command may have run", MAY_HAVE_RUN)
    rig.check_nothing_is_left()


def test_one_that_leaves_before_it_was_sent_its_request_is_lost_with_nothing_run() -> None:
    asker = Asker(rig := Rig(start_wait_s=5.0))
    rig.world.core.started(rig.world.now)  # requests wait for workers that may come back; these do not
    rig.workers("w", is_stuck=True)
    (stuck,) = rig.workers("stuck", is_stuck=True)
    asker.gather(target="stuck")
    stuck.leave()
    (item,) = asker.answers["g"]["items"]
    assert (item["code"], item["delivery"]) == ("worker_lost", NOT_DELIVERED)
    assert item["error"].startswith("Worker lost before it got the request: no worker 'stuck' is connected")
    rig.check_nothing_is_left()


def test_busy_workers_are_waited_for_however_many_targets_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 1)
    asker = Asker(rig := Rig())
    workers = rig.workers("u", "v", "w")
    other = rig.world.anyone()
    for worker in workers:
        other.submit(request_id=f"busy-{worker.worker_id}", target=worker.worker_id)
    asker.gather()
    assert all(len(worker.holds) == 1 for worker in workers)
    for worker in workers:
        worker.succeed(f"busy-{worker.worker_id}")
        worker.succeed(asked(worker))
    assert by_worker(asker.answers["g"]) == {"u": "done", "v": "done", "w": "done"}
    rig.sleep(1.0)
    assert len(rig.world.core.roster.commands["echo"].targeted) <= 1, "its routes are gone"


def test_one_that_leaves_while_its_request_waits_is_lost() -> None:
    asker = Asker(rig := Rig())
    v, w = rig.workers("v", "w")
    rig.world.anyone().submit(request_id="busy", target="w")
    asker.gather()
    w.leave()
    v.succeed("g:0")
    assert by_worker(asker.answers["g"]) == {"v": "done", "w": "worker_lost"}


def test_a_batch_bounds_how_many_run_at_once() -> None:
    asker = Asker(rig := Rig())
    workers = rig.workers(*(f"w{number}" for number in range(7)))
    asker.gather(batch=0.3)  # three of seven
    ended_count = 0
    while not asker.answers:
        holding = [worker for worker in workers if worker.holds]
        assert len(holding) == min(3, 7 - ended_count)
        holding[-1].succeed(asked(holding[-1]))
        ended_count += 1
        rig.end_turns()
    assert ended_count == 7
    rig.check_nothing_is_left()


def test_large_data_goes_out_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "SENT_SIZE_BYTES_MAX", 25)
    asker = Asker(rig := Rig())
    workers = rig.workers("t", "u", "v", "w", concurrency=3)
    asker.gather("two", data=b'"12345678"')
    asker.gather("one", data=b'"%s"' % (b"x" * 100))
    asker.gather("all", data=b"")
    held = sorted(request_id for worker in workers for request_id in worker.holds)
    assert held == ["all:0", "all:1", "all:2", "all:3", "one:0", "two:0", "two:1"]


def test_what_is_not_sent_before_the_deadline_is_missing() -> None:
    asker = Asker(rig := Rig())
    v, _ = rig.workers("v", "w")
    asker.gather(batch=1, timeout=2.0)
    rig.world.now += 3.0  # the event loop stood still, and reads this before its timer goes off
    v.succeed("g:0")
    rig.end_turns()
    assert by_worker(asker.answers["g"]) == {"v": "done"}
    assert asker.answers["g"]["missing"] == ["w"]
    rig.check_nothing_is_left()


@each_case("encoding", Encoding)
@each_case("of_worker", Encoding)
def test_items_are_carried_into_the_requesters_encoding(encoding: Encoding, of_worker: Encoding) -> None:
    rig = Rig()
    asker = Asker(rig, encoding)
    (w,) = rig.workers("w", encoding=of_worker)
    asker.gather(data=b"{}" if encoding is Encoding.JSON else b"\x80")
    w.succeed("g:0", b'{"a":[1]}' if of_worker is Encoding.JSON else b"\x81\xa1a\x91\x01")
    assert by_worker(asker.answers["g"]) == {"w": {"a": [1]}}


def test_what_cannot_be_carried_fails_for_that_worker_alone() -> None:
    asker = Asker(rig := Rig(1000))
    v, w, x = rig.workers("v", "w", "x", encoding=Encoding.MSGPACK)
    asker.gather()
    v.succeed("g:0", b"\xc4\x01\x00")  # binary
    w.succeed("g:1", b"\xda\x04\x00" + b"x" * 1024)
    x.succeed("g:2", b"\x01")
    assert by_worker(asker.answers["g"]) == {"v": "not_representable", "w": "too_large", "x": 1}


def test_an_item_for_which_there_is_no_room_is_too_large_and_says_whose_it_is() -> None:
    asker = Asker(rig := Rig(2000))
    workers = rig.workers("u", "v", "w", "x")
    asker.gather()
    for number, worker in enumerate(workers[:3]):
        worker.succeed(f"g:{number}", b'"%s"' % (b"x" * 700))
    workers[3].fail("g:3", "x" * 1000)
    answer = asker.answers["g"]
    assert [item["code"] for item in answer["items"]] == [None, "too_large", "too_large", "too_large"]
    assert answer["items"][-1]["delivery"] == MAY_HAVE_RUN
    assert answer["complete"], "each has an item"


@each_case("size_bytes", [0, 1, 60, 100, 150, 300])
def test_an_answer_never_takes_more_than_its_bound(size_bytes: int) -> None:
    asker = Asker(rig := Rig(2000))
    workers = rig.workers(*"abcdefgh")
    asker.gather(expect=8)
    for number, worker in enumerate(workers):
        worker.succeed(f"g:{number}", b'"%s"' % (b"x" * size_bytes))
    assert asker.sizes["g"] <= 2000
    assert asker.answers["g"]["complete"] is (size_bytes <= 100), "what has no room is no success"


def test_all_gathers_hold_so_many_bytes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathers, "HELD_SIZE_BYTES_MAX", 200)
    asker = Asker(rig := Rig())
    v, w = rig.workers("v", "w")
    asker.gather()
    v.succeed("g:0", b'"%s"' % (b"x" * 50))
    w.succeed("g:1", b'"%s"' % (b"x" * 50))
    assert [item["code"] for item in asker.answers["g"]["items"]] == [None, "overloaded"]
    rig.check_nothing_is_left()


def test_with_stream_items_are_sent_as_they_come_and_the_answer_has_the_rest() -> None:
    asker = Asker(rig := Rig(2000))
    v, w, _ = rig.workers("v", "w", "x")
    asker.gather(streams=True, expect=2)
    v.succeed("g:0", b'"%s"' % (b"x" * 1500))
    assert len(asker.items) == 1
    w.succeed("g:1", b'"%s"' % (b"x" * 1500))
    assert asker.answers["g"] == {"items": [], "missing": ["x"], "complete": True}
    assert ([item["worker_id"] for item in asker.items], asker.sequences) == (["v", "w"], [1, 2])


def test_cancel_answers_and_cancels_everywhere() -> None:
    asker = Asker(rig := Rig())
    workers = rig.workers("v", "w")
    asker.gather()
    opened = rig.gathers.of(asker)["g"]
    opened.cancel()
    opened.cancel()
    opened.stop()
    assert asker.failures["g"].code == "cancelled"
    rig.end_turns()
    assert all(len(worker.cancels) == 1 for worker in workers)
    assert opened.proceed(1, rig.world.now) == 0
    assert "g" not in rig.gathers.of(asker)
    rig.check_nothing_is_left()


def test_a_requester_that_leaves_is_answered_no_more() -> None:
    asker = Asker(rig := Rig())
    (w,) = rig.workers("w")
    asker.gather("a")
    asker.gather("b")
    rig.gathers.left(asker)
    w.succeed("a:0")
    rig.end_turns()
    assert not asker.answers
    assert not asker.failures
    rig.check_nothing_is_left()
    rig.gathers.left(asker)  # twice is as good as once


def test_the_brokers_stop_answers_with_what_there_is() -> None:
    asker = Asker(rig := Rig())
    v, _, _ = rig.workers("v", "w", "x")
    asker.gather("g", batch=2)
    asker.gather("waits", batch=1)
    v.succeed("g:0")
    rig.world.drain()
    asker.gather("late")
    assert asker.failures["late"].code == "shutting_down"
    rig.world.stop()
    rig.gathers.stop()
    rig.end_turns()
    for answer in asker.answers.values():
        assert by_worker(answer).keys() | set(answer["missing"]) == {"v", "w", "x"}
    assert by_worker(asker.answers["g"])["v"] == "done"
    rig.check_nothing_is_left()


def test_without_a_worker_it_fails_as_a_request_does() -> None:
    asker = Asker(rig := Rig())
    rig.workers("w", labels={"zone": "a"})
    asker.gather("command", command="nobody")
    asker.gather("target", target={"zone": "b"})
    assert [failure.code for failure in asker.failures.values()] == ["no_available_workers"] * 2
    assert "zone=b" in asker.failures["target"].text
    assert asker.failures["command"].delivery == NOT_DELIVERED


def test_a_target_chooses_who_is_in_it_and_one_that_drains_is_not() -> None:
    asker = Asker(rig := Rig())
    u, v = rig.workers("u", "v", labels={"zone": "a"})
    w = rig.world.worker("w")
    v.drain()
    asker.gather("labels", target={"zone": "a"})
    asker.gather("name", target="w")
    assert (u.holds, v.holds, w.holds) == (["labels:0"], [], ["name:0"])


def test_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathers, "GATHER_COUNT_MAX", 2)
    monkeypatch.setattr(gathers, "OPEN_COUNT_MAX", 2)
    monkeypatch.setattr(gathers, "ASKED_COUNT_MAX", 3)
    rig = Rig(1000)
    asker, other = Asker(rig), Asker(rig)
    rig.workers("v", "w", labels={"few": "yes"})
    asker.gather("a", target={"few": "yes"})
    asker.gather("b", target={"few": "yes"})
    assert asker.failures["b"].text == "all gathers together have over 3 workers (ASKED_COUNT_MAX)"
    asker.gather("c", target="v")
    asker.gather("d", target="v")
    assert asker.failures["d"].text == "2 gathers are in flight on this connection (OPEN_COUNT_MAX)"
    other.gather("e", target="v")
    assert (other.failures["e"].code, other.failures["e"].retry_after_s) == ("overloaded", 1.0)
    rig.workers("x")
    other.gather("f")
    assert other.failures["f"].text == "gather: 3 workers, at most 2 (GATHER_COUNT_MAX): say a target"
    assert other.failures["f"].code == "too_large"


def test_so_many_workers_that_their_items_cannot_fit_need_a_stream() -> None:
    asker = Asker(rig := Rig(500))
    rig.workers("u", "v", "w")
    asker.gather("a")
    assert asker.failures["a"].code == "too_large"
    assert asker.failures["a"].text == (
        "gather: the items of 3 workers do not fit into one answer of 500 bytes: say stream: true, or a target"
    )
    asker.gather("b", streams=True)
    assert "b" in rig.gathers.of(asker)


def test_thousands_are_asked_and_cancelled_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathers, "PROCEEDED_COUNT_MAX", 3)
    asker = Asker(rig := Rig())
    workers = rig.workers(*(f"w{number}" for number in range(8)))
    asker.gather("a")
    assert rig.turns_count == 3
    asker.gather("b")
    assert sum(len(worker.holds) for worker in workers) == 8, "the others wait for a slot"
    rig.gathers.left(asker)
    before = rig.turns_count
    rig.end_turns()
    assert rig.turns_count - before >= 6
    rig.check_nothing_is_left()


def test_a_bound_of_the_account_fails_what_is_beyond_it() -> None:
    asker = Asker(rig := Rig())
    rig.workers("v", "w")
    asker.session.account.in_flight_count_max = 1
    asker.gather()
    rig.sleep(20.0)
    (item,) = asker.answers["g"]["items"]
    assert (item["worker_id"], item["code"], item["delivery"]) == ("w", "overloaded", NOT_DELIVERED)


def test_an_ejected_worker_is_asked_as_well() -> None:
    asker = Asker(rig := Rig())
    sick, *others = rig.workers("sick", "u", "v", "w")
    rig.world.eject(sick)
    asker.gather()
    for worker in (sick, *others):
        worker.succeed(asked(worker))
    assert len(asker.answers["g"]["items"]) == 4


def test_others_may_wait_on_the_route_of_a_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 0)
    asker = Asker(rig := Rig())
    (w,) = rig.workers("w")
    other = rig.world.anyone()
    other.submit(request_id="busy")
    asker.gather()
    waiting = other.submit(target="w")
    assert other.outcome(waiting) is None
    w.succeed("busy")
    w.succeed("g:0")
    w.succeed(waiting)
    assert asker.answers["g"]["complete"]


def test_routes_on_which_nothing_waits_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "NAMED_COUNT_MAX", 2)
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 0)
    asker = Asker(rig := Rig())
    workers = rig.workers("u", "v", "w")
    for worker in workers:
        rig.world.anyone().submit(request_id=f"busy-{worker.worker_id}", target=worker.worker_id)
    targeted = rig.world.core.roster.commands["echo"].targeted
    for worker in workers[:2]:
        asker.gather(worker.worker_id, target=worker.worker_id)
        worker.succeed(f"busy-{worker.worker_id}")
    assert list(targeted) == ["u", "v"]
    asker.gather("w", target="w")
    assert list(targeted) == ["w"]
    rig.sleep(1.0)
    assert list(targeted) == ["w"], "something waits there"
    workers[-1].leave()
    assert not targeted


def test_a_route_goes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 0)
    asker = Asker(rig := Rig())
    stuck, last = rig.world.worker("stuck", is_stuck=True), rig.world.worker("last")
    asker.gather(target="stuck")
    stuck.leave()
    assert list(rig.world.core.roster.commands["echo"].targeted) == ["stuck"]
    last.leave()
    assert "echo" not in rig.world.core.roster.commands


def test_its_port_is_not_told_of_assignments_nor_chunks() -> None:
    asker = Asker(rig := Rig())
    (w,) = rig.workers("w")
    asker.gather()
    opened = rig.gathers.of(asker)["g"]
    opened.progress("g:0", Piece("w", 1, 0, Raw(b"1"), Encoding.JSON))
    opened.reset("g:0", 2)
    with pytest.raises(AssertionError):
        opened.assigned("g:0", "w", "1")
    with pytest.raises(AssertionError):
        opened.chunk("g:0", Piece("w", 1, 1, Raw(b"1"), Encoding.JSON))
    w.succeed("g:0")
