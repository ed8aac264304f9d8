"""A worker with only `websockets` and `json`. It serves `shout`, one request at a time."""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect


async def send(broker, kind: str, msg_id: str, data: dict) -> None:
    await broker.send(json.dumps({"type": kind, "msg_id": msg_id, "timestamp": time.time(), "data": data}))


async def main(url: str) -> None:
    async with connect(url) as broker:
        await send(broker, "connect", "hello", {"name": "plain-json", "commands": ["shout"]})
        async for text in broker:
            message = json.loads(text)
            if message["type"] == "request":
                try:
                    data = {"success": True, "result": message["data"]["params"]["text"].upper()}
                except Exception as error:
                    data = {"success": False, "error": repr(error)}
                await send(broker, "response", message["msg_id"], data)
            elif message["type"] == "error":
                raise SystemExit(message["data"]["error"])


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765"))
