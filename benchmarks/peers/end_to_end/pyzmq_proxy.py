"""pyzmq: a proxy process between a ROUTER and a DEALER, the broker of ZeroMQ's guide; both ends are a DEALER.

Chosen for speed: `zmq.proxy`, which is C and no Python in the middle; zmq.asyncio on uvloop at both ends; the worker
answers what arrives without a task for each; msgspec for the JSON. No heartbeats, no repeat of a lost request: ZeroMQ
leaves those to its user, so this is the least that a broker can do.
"""

import asyncio
import sys
from itertools import count

from msgspec.json import decode, encode
from zmq import DEALER, ROUTER, Context
from zmq import proxy as forward
from zmq.asyncio import Context as AsyncContext

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run

HOST = "127.0.0.1"


def proxy() -> None:
    """The broker: prints where it listens, and forwards until it is killed."""
    context = Context()
    requesters, workers = context.socket(ROUTER), context.socket(DEALER)
    requester_port = requesters.bind_to_random_port(f"tcp://{HOST}")
    worker_port = workers.bind_to_random_port(f"tcp://{HOST}")
    print(f"requesters {HOST}:{requester_port} workers {HOST}:{worker_port}", flush=True)
    forward(requesters, workers)


async def serve() -> None:
    """The worker."""
    socket = AsyncContext().socket(DEALER)
    socket.connect(f"tcp://{broker_address()}")
    while True:
        *route, data = await socket.recv_multipart()
        await socket.send_multipart([*route, encode(decode(data))])


async def request() -> None:
    """The requester: measures and reports."""
    socket = AsyncContext().socket(DEALER)
    socket.connect(f"tcp://{broker_address()}")
    waiting: dict[bytes, asyncio.Future[bytes]] = {}
    numbers = count()

    async def take_answers() -> None:
        while True:
            number, data = await socket.recv_multipart()
            waiting.pop(number).set_result(data)

    async def call() -> object:
        number = b"%d" % next(numbers)
        answer = waiting[number] = asyncio.get_running_loop().create_future()
        await socket.send_multipart([number, encode(DATA)])
        return decode(await answer)

    taking = asyncio.create_task(take_answers())
    report(await measure(call, plan()))
    taking.cancel()
    socket.close(linger=0)


if __name__ == "__main__":
    match sys.argv[1]:
        case "proxy":
            proxy()
        case "worker":
            run(serve())
        case "requester":
            run(request())
