"""A requester without the SDK, on any WebSocket library. Needs a broker and a worker:

taskferry broker
taskferry worker
"""

# ruff: noqa: E401, I001
# fmt: off
import asyncio, websockets, json, uuid
async def send_request():
    async with websockets.connect("ws://localhost:8766") as ws:
        await ws.send(json.dumps({"request_id": str(uuid.uuid4()), "command": "get_time", "data": {}}))
        result = json.loads(await ws.recv())
        print(result["success"], result["data"], result["processed_by"])
asyncio.run(send_request())
