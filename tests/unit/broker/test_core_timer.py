"""The core's timer goes off when the next thing is due, sets itself again, and ends."""

import asyncio
import logging
import time

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.delivery.deadlines import NEVER
from taskferry.broker.core_timer import STOPPED
from taskferry.transport.group import PAUSE_S_MIN

from tests.unit.broker.shell import open_shell
from tests.unit.transport.waiting import until


async def test_nothing_is_set_while_nothing_is_due() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        requester.send({"command": "unserved"})
        await requester.receive()
        assert shell.timer.wakes_at == NEVER


async def test_it_is_set_to_what_is_due_first() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        look_at = shell.timer.wakes_at
        assert look_at <= time.monotonic() + LOOK_INTERVAL_S
        requester.send({"command": "work", "timeout": 0.05})
        await worker.receive()
        assert shell.timer.wakes_at < look_at or not shell.core.counts.in_flight_count


async def test_it_sets_itself_again_for_each_thing_that_is_due() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        await shell.worker(concurrency=3)
        began_at = time.monotonic()
        for timeout_s in (0.15, 0.05, 0.1):
            requester.send({"request_id": f"{timeout_s}", "command": "work", "timeout": timeout_s})
        ended = [(await requester.receive())["request_id"] for _ in range(3)]
        assert ended == ["0.05", "0.1", "0.15"]
        assert time.monotonic() - began_at >= 0.15
        assert shell.timer.wakes_at == shell.core.next_at


async def test_the_earlier_setting_is_forgotten_when_it_is_set_again() -> None:
    async with open_shell() as shell:
        await shell.worker()
        shell.timer.wake_at(time.monotonic() + 3600)
        shell.timer.wake_at(time.monotonic())
        await until(lambda: shell.timer.wakes_at == shell.core.next_at)


async def test_what_came_during_a_pause_is_read_before_any_deadline_is_judged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r", "command": "work", "timeout": 0.5})
        assignment = await worker.receive()
        data = {"success": True, "result": "done"}
        worker.send({"type": "response", "msg_id": assignment["msg_id"], "data": data})
        time.sleep(PAUSE_S_MIN + 0.3)
        assert (await requester.receive())["data"] == "done"
        with caplog.at_level(logging.WARNING):
            await until(lambda: "stood still for 1." in caplog.text)


async def test_an_idle_time_is_no_pause(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        worker = await shell.worker(concurrency=3)
        for number in range(2):
            requester.send({"request_id": f"{number}", "command": "work", "timeout": 0.1})
            await worker.receive()
            assert (await requester.receive())["code"] == "timeout"
            await worker.receive()
        assert "stood still" not in caplog.text


async def test_a_delay_that_is_no_pause_moves_no_deadline() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r", "command": "work", "timeout": 0.2})
        await worker.receive()
        began_at = time.monotonic()
        time.sleep(0.5)
        assert (await requester.receive())["code"] == "timeout"
        assert time.monotonic() - began_at < 0.6


async def test_once_stopped_it_is_never_set_again() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        shell.timer.stop()
        requester.send({"command": "work", "timeout": 0.02})
        await worker.receive()
        assert shell.timer.wakes_at == STOPPED
        await asyncio.sleep(0.05)
        assert shell.core.counts.in_flight_count == 1, "nobody looks at the deadline"
