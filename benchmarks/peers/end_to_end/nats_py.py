"""nats-py on a nats-server: a worker in a queue group that responds, a requester that calls `request`.

Chosen for speed: uvloop, as nats-py's own benchmarks have it; msgspec for the JSON, which is what Taskferry uses; the
default inbox of `request`, one subscription for all replies (the documented fast way; `old_style` makes one for
each); the subscription's own task runs the handler, so no task is made per message. No JetStream: an echo needs no
storage.
"""

import asyncio
import sys

import nats
from msgspec.json import decode, encode

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run

TIMEOUT_S = 30.0


async def serve() -> None:
    """The worker."""
    connection = await nats.connect(f"nats://{broker_address()}")

    async def echo(message: nats.aio.msg.Msg) -> None:
        await message.respond(encode(decode(message.data)))

    await connection.subscribe("echo", queue="workers", cb=echo)
    await asyncio.Event().wait()


async def request() -> None:
    """The requester: measures and reports."""
    connection = await nats.connect(f"nats://{broker_address()}")

    async def call() -> object:
        reply = await connection.request("echo", encode(DATA), timeout=TIMEOUT_S)
        return decode(reply.data)

    report(await measure(call, plan()))
    await connection.close()


if __name__ == "__main__":
    run({"worker": serve, "requester": request}[sys.argv[1]]())
