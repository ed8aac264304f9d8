"""A worker as a separate process, with only `websockets` and `json`: `plain_worker.py URL NAME CONCURRENCY`.

Serves `get_time`, `echo`, `sleep` (`{"seconds"}`) and `hang`, which never answers. Prints `joined` once it is
registered and `ran REQUEST_ID` for each assignment that it gets, so that a test can count what really ran.
"""

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

COMMANDS = ["get_time", "echo", "sleep", "hang"]


async def run(connection: ClientConnection, message: Any) -> None:
    params = message["data"]["params"]
    match message["data"]["action"]:
        case "get_time":
            result = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        case "echo":
            result = f"Echo: {params['message']}"
        case "sleep":
            await asyncio.sleep(params["seconds"])
            result = "slept"
        case _:
            return
    answer = {"success": True, "result": result}
    await connection.send(json.dumps({"type": "response", "msg_id": message["msg_id"], "data": answer}))


async def main(url: str, name: str, concurrency: int) -> None:
    async with websockets.connect(url) as connection:
        hello = {"name": name, "commands": COMMANDS, "concurrency": concurrency}
        await connection.send(json.dumps({"type": "connect", "data": hello}))
        tasks = set()
        async for text in connection:
            message = json.loads(text)
            match message["type"]:
                case "connect":
                    sys.stdout.write("joined\n")
                case "request":
                    sys.stdout.write(f"ran {message['data']['request_id']}\n")
                    task = asyncio.create_task(run(connection, message))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
