"""Floor: a bare relay on picows, which reads frames in C; its answers are joined in one write, as in all relays."""

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from .relay import HOST, Relay, serve
from .server_frame import frame_head


class Connection(WSListener):  # type: ignore[misc]  # mypy does not look into picows, see pyproject.toml
    """One connection."""

    def __init__(self, relay: Relay, is_worker: bool) -> None:
        super().__init__()
        self._relay = relay
        self._is_worker = is_worker
        self._pass_on = relay.to_requester if is_worker else relay.to_workers
        self._transport: asyncio.Transport
        self.outgoing: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport.underlying_transport
        if self._is_worker:
            self._relay.worker_joined(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            payload = frame.get_payload_as_bytes()
            self._pass_on(self, (frame_head(len(payload)), payload))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._is_worker:
            self._relay.worker_left(self)

    def flush(self) -> None:
        pieces, self.outgoing = self.outgoing, []
        self._transport.write(b"".join(pieces))


async def listen(relay: Relay, is_worker: bool) -> asyncio.Server:
    """A server for connections of one kind."""

    def make_connection(request: WSUpgradeRequest) -> Connection:
        return Connection(relay, is_worker)

    server: asyncio.Server = await ws_create_server(make_connection, HOST, 0, backlog=1_024)
    return server


if __name__ == "__main__":
    serve(listen)
