"""How a broker ends: it drains on SIGTERM and Ctrl-C, stops after its grace, stops at once on a second signal, and
sends every peer the reason."""

import asyncio
import signal
import time
import urllib.error

import pytest
import websockets

from tests.integration.peers import connected, eventually, serving
from tests.processes import Programs

signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@signals
def test_an_idle_broker_stops_at_once(programs: Programs, number: signal.Signals) -> None:
    broker = programs.start_broker(is_warm=False)
    broker.send_signal(number)
    assert broker.wait(5) == 0
    assert broker.stdout.count("\n") == 1
    assert "Traceback" not in broker.stderr
    assert "stopped" in broker.stderr.splitlines()[-1]


@signals
async def test_a_request_in_flight_is_answered_before_the_broker_stops(
    programs: Programs, number: signal.Signals
) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        call = asyncio.create_task(requester.call("c", request_id="r"))
        assignment = await worker.receive_assignment()
        async with connected(broker.requester_url) as late:
            broker.send_signal(number)
            await eventually(
                lambda: broker.get("/readyz") == (503, "draining\n"), "the broker reports that it drains"
            )
            assert broker.get("/healthz") == (200, "ok\n")
            assert broker.status()["state"] == "draining"
            response = await late.call("c")
            assert (response["code"], response["error"]) == ("shutting_down", "Broker is shutting down")
            with pytest.raises(OSError, match=r"Connect call failed|refused"):
                await websockets.connect(broker.requester_url)
            await worker.respond(assignment, "in time")
            assert (await call)["data"] == "in time"
            assert await requester.wait_closed() == (1012, "broker is going away")
            goodbye = await worker.receive()
            assert (goodbye["type"], goodbye["data"]) == ("disconnect", {"reason": "broker is going away"})
            assert await worker.wait_closed() == (1012, "broker is going away")
    assert await asyncio.to_thread(broker.wait, 5) == 0
    assert "draining: 1 requests in flight, at most 10 s" in broker.stderr


async def test_waiting_requests_are_served_while_the_broker_drains(programs: Programs) -> None:
    broker = programs.start_broker()

    async def wait_a_little(number: int) -> int:
        await asyncio.sleep(0.2)
        return number

    async with (
        serving(broker.worker_url, {"c": wait_a_little}, concurrency=1),
        connected(broker.requester_url) as requester,
    ):
        for number in range(3):
            await requester.send({"command": "c", "data": number})
        await eventually(lambda: broker.status()["queued_count"] == 2, "two wait")
        broker.terminate()
        assert [(await requester.receive())["data"] for _ in range(3)] == [0, 1, 2]
    assert await asyncio.to_thread(broker.wait, 5) == 0


async def test_after_its_grace_the_broker_answers_the_rest_and_stops(programs: Programs) -> None:
    broker = programs.start_broker("--grace", "0.5")
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        for request_id in ("running", "waiting"):
            await requester.send({"request_id": request_id, "command": "c"})
        assignment = await worker.receive_assignment()
        broker.terminate()
        started_at = time.monotonic()
        responses = {
            response["request_id"]: response for response in [await requester.receive() for _ in range(2)]
        }
        assert 0.4 < time.monotonic() - started_at < 5
        running, waiting = responses["running"], responses["waiting"]
        assert (running["code"], running["processed_by"]) == ("broker_stopped", "w")
        assert running["error"] == "Broker stopped before the worker answered: the command may have run"
        assert (waiting["code"], waiting["error"]) == ("shutting_down", "Broker is shutting down")
        assert await requester.wait_closed() == (1012, "broker is going away")
        cancel = await worker.receive()
        assert (cancel["type"], cancel["msg_id"]) == ("cancel", assignment["msg_id"])
        assert cancel["data"] == {"reason": "shutting_down"}
        assert (await worker.receive())["type"] == "disconnect"
    assert await asyncio.to_thread(broker.wait, 5) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_wait(programs: Programs, second: signal.Signals) -> None:
    broker = programs.start_broker("--grace", "60")
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        await requester.send({"request_id": "r", "command": "c"})
        await worker.receive_assignment()
        broker.terminate()
        await asyncio.to_thread(broker.wait_for_stderr, "draining")
        assert broker.exit_code is None
        broker.send_signal(second)
        assert (await requester.receive())["code"] == "broker_stopped"
    assert await asyncio.to_thread(broker.wait, 5) == 0
    assert "Traceback" not in broker.stderr


async def test_peers_that_do_not_answer_the_close_do_not_delay_it(programs: Programs) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        assert (await requester.call("unknown"))["code"] == "no_available_workers"
        worker.connection.transport.pause_reading()
        requester.connection.transport.pause_reading()
        broker.terminate()
        assert await asyncio.to_thread(broker.wait, 8) == 0
        worker.connection.transport.abort()
        requester.connection.transport.abort()


async def test_a_killed_broker_leaves_no_call_hanging(programs: Programs) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        await requester.send({"request_id": "r", "command": "c"})
        await worker.receive_assignment()
        broker.kill()
        assert (await requester.wait_closed())[0] == 1006
        assert (await worker.wait_closed())[0] == 1006
    assert await asyncio.to_thread(broker.wait, 5) == -signal.SIGKILL


def test_the_ports_are_free_again_at_once(programs: Programs) -> None:
    first = programs.start_broker()
    urls = (first.worker_url, first.requester_url, first.http_url, first.api_url)
    ports = [url.rsplit(":", 1)[1] for url in urls]
    assert first.get("/healthz")[0] == 200
    first.kill()
    first.wait()
    options = zip(("--worker-port", "--requester-port", "--http-port", "--api-port"), ports, strict=True)
    second = programs.start_broker(*(word for option in options for word in option))
    assert second.http_url == first.http_url
    assert second.get("/healthz")[0] == 200
    second.terminate()
    second.wait()
    with pytest.raises(urllib.error.URLError):
        second.get("/healthz")
