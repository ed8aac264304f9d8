"""Many requester clients in one process, each as small as possible: `returning.py URL COUNT`.

Each connects, sends an echo, and waits for its response. When its connection is lost it is back at once, without a
pause: worse than any client that waits a random time, as ours do. Prints `all answered N` when all of them have a
response over their N-th connection.
"""

import asyncio
import json
import sys
from typing import Final

from taskferry.program.open_files import raise_open_files_limit
from taskferry.protocol.encodings import Encoding
from taskferry.transport.connect import ConnectError, connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings

PATH: Final = __file__
SETTINGS: Final = LinkSettings(handshake_s_max=60.0)
RETRY_S: Final = 0.05
"""Between two attempts while nothing listens."""


class Client:
    """One client. `rounds_count`: connections over which it has had a response."""

    def __init__(self, number: int) -> None:
        self.rounds_count = 0
        self._request = json.dumps(
            {"command": "echo", "request_id": f"c{number}", "data": {"message": number}}
        )
        self._number = number
        self._gone = asyncio.Event()

    async def run(self, url: str, group: LinkGroup) -> None:
        while True:
            self._gone.clear()
            try:
                await connect(url, self, group, SETTINGS, Encoding.JSON)
            except ConnectError:
                await asyncio.sleep(RETRY_S)
            else:
                await self._gone.wait()

    def link_opened(self, link: Link) -> None:
        self._link = link
        link.send(self._request.encode())

    def messages_received(self, payloads: list[bytes]) -> None:
        (payload,) = payloads
        response = json.loads(payload)
        if response["success"]:
            assert response["data"] == self._number, "the response of another client"
            self.rounds_count += 1
            return
        assert response["code"] == "no_available_workers", response
        asyncio.get_running_loop().call_later(RETRY_S, self._send_again, self._link)

    def _send_again(self, link: Link) -> None:
        if link is self._link:
            link.send(self._request.encode())

    def wrong_kind_received(self) -> None:
        raise AssertionError("a broker speaks what was agreed")

    def link_closed(self, reason: str) -> None:
        self._gone.set()


async def _main(url: str, count: int) -> None:
    raise_open_files_limit()
    group = LinkGroup()
    clients = [Client(number) for number in range(count)]
    running = asyncio.gather(*(client.run(url, group) for client in clients))
    reported = 0
    while not running.done():
        rounds_count = min(client.rounds_count for client in clients)
        if rounds_count > reported:
            reported = rounds_count
            sys.stdout.write(f"all answered {reported}\n")
            sys.stdout.flush()
        await asyncio.sleep(0.05)
    running.result()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
