"""A subscriber to topics as a plain socket: a thousand of them take next to nothing."""

import base64
import json
import os
import socket
import urllib.parse
from typing import Any


class PlainSubscriber:
    """A WebSocket connection in JSON. `events`: those that came, out of batches."""

    def __init__(self, url: str, *topics: str) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.socket = socket.create_connection((parts.hostname, parts.port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET / HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        self._data = answer.partition(b"\r\n\r\n")[2]
        self.messages: list[Any] = []
        self.events: list[Any] = []
        self.is_closed = False
        if topics:
            self.send({"type": "subscribe", "data": {"topics": list(topics)}})

    def send(self, message: object) -> None:
        """One masked text frame, with a mask of zeros."""
        payload = json.dumps(message).encode()
        size = len(payload)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self.socket.sendall(head + bytes(4) + payload)

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        self.is_closed = not data
        self._data += data
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 8:
                self.is_closed = True
            if opcode != 1:
                continue
            message = json.loads(payload)
            self.messages.append(message)
            ones = message["messages"] if message["type"] == "batch" else [message]
            self.events += [one for one in ones if "id" in one and "offset" in one]

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of a server."""
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size or (start > 2 and len(data) < start):
            return None
        self._data = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]
