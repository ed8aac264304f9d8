"""A worker with only `websockets` and `msgpack`. It serves `reverse`, up to eight requests at once."""

import asyncio
import sys
import time

import msgpack
from websockets.asyncio.client import connect


async def send(broker, kind: str, msg_id: str, data: dict) -> None:
    message = {"type": kind, "msg_id": msg_id, "timestamp": time.time(), "data": data}
    await broker.send(msgpack.packb(message))


async def answer(broker, msg_id: str, params: dict) -> None:
    try:
        await asyncio.sleep(params.get("after_s", 0))
        data = {"success": True, "result": params["value"][::-1]}
    except Exception as error:
        data = {"success": False, "error": repr(error)}
    await send(broker, "response", msg_id, data)


async def main(url: str) -> None:
    hello = {"name": "plain-msgpack", "commands": ["reverse"], "concurrency": 8}
    async with asyncio.TaskGroup() as running, connect(url, subprotocols=["taskferry.v1.msgpack"]) as broker:
        await send(broker, "connect", "hello", hello)
        async for frame in broker:
            message = msgpack.unpackb(frame)
            if message["type"] == "request":
                running.create_task(answer(broker, message["msg_id"], message["data"]["params"]))
            elif message["type"] == "error":
                raise SystemExit(message["data"]["error"])


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765"))
