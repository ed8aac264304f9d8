"""autobahn on a crossbar node: a callee that registers a procedure, a caller that calls it (WAMP's routed calls).

Chosen for speed: autobahn's asyncio side on uvloop; RawSocket with MessagePack, the leanest of its transports and
serializers; one router worker, as a realm is in one. Heartbeats and authentication at their defaults.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run

REALM = "benchmark"

Part = Callable[[Any], Awaitable[bool]]
"""What a session does once it has joined; true when it is done."""


def router(port: int, folder: Path) -> None:
    """Becomes the broker: a crossbar node whose files are in `folder`."""
    everything = {"call": True, "register": True, "publish": False, "subscribe": False}
    permission = {"uri": "", "match": "prefix", "allow": everything, "cache": True}
    worker = {
        "type": "router",
        "realms": [{"name": REALM, "roles": [{"name": "anonymous", "permissions": [permission]}]}],
        "transports": [
            {
                "type": "rawsocket",
                "endpoint": {"type": "tcp", "port": port, "interface": "127.0.0.1"},
                "serializers": ["msgpack"],
            }
        ],
    }
    config = folder / "config.json"
    config.write_text(json.dumps({"version": 2, "workers": [worker]}))
    program = Path(sys.executable).with_name("crossbar")
    os.execv(
        program, [str(program), "start", "--cbdir", str(folder), "--config", str(config), "--color", "false"]
    )


async def join(part: Part) -> None:
    """A session that plays `part`; returns when that is done, or the session has ended."""
    from autobahn.asyncio.component import Component  # noqa: PLC0415  # it picks its framework when it is imported

    host, port = broker_address().split(":")
    transport = {
        "type": "rawsocket",
        "url": f"rs://{host}:{port}",
        "endpoint": {"type": "tcp", "host": host, "port": int(port)},
        "serializer": "msgpack",
    }
    component = Component(transports=[transport], realm=REALM)
    is_over = asyncio.get_running_loop().create_future()

    async def joined(session: Any, _details: Any) -> None:
        try:
            if await part(session):
                is_over.set_result(None)
        except Exception as error:
            is_over.set_exception(error)  # autobahn would log it, and carry on

    component.on_join(joined)
    ended = component.start(loop=asyncio.get_running_loop())
    await asyncio.wait({is_over, ended}, return_when=asyncio.FIRST_COMPLETED)
    if is_over.done():
        is_over.result()
    else:
        ended.result()


async def serve(session: Any) -> bool:
    """The worker's part, which never ends."""

    async def echo(message: str) -> dict[str, str]:
        return {"message": message}

    await session.register(echo, "echo")
    return False


async def request(session: Any) -> bool:
    """The requester's part: measures and reports."""
    report(await measure(lambda: session.call("echo", **DATA), plan()))
    return True


if __name__ == "__main__":
    match sys.argv[1]:
        case "router":
            router(int(sys.argv[2]), Path(sys.argv[3]))
        case "worker":
            run(join(serve))
        case "requester":
            run(join(request))
