"""An HTTP port that answers what the test says, whether a broker would or not."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class HttpPort:
    """A server on a free port.

    By path: `answers` are bodies, or what makes one each time; `refusals` are a status and a body; all else is 404.
    `posted` are the paths, types and bodies of POSTs so far, `authorizations` the headers of that name. `redirects_to`:
    where it sends everybody.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Callable[[], bytes]] = {}
        self.refusals: dict[str, tuple[int, bytes]] = {}
        self.posted: list[tuple[str, str | None, Any]] = []
        self.authorizations: list[str | None] = []
        self.redirects_to: str | None = None
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                port.authorizations.append(self.headers["Authorization"])
                if port.redirects_to is not None:
                    self.send_response(302)
                    self.send_header("Location", port.redirects_to + self.path)
                    self.end_headers()
                    return
                answer = port.answers.get(self.path)
                status, body = port.refusals.get(self.path, (404, b""))
                if answer is not None:
                    status, body = 200, answer if isinstance(answer, bytes) else answer()
                self.send_response(status)
                self.end_headers()
                with suppress(ConnectionError):  # whoever asked was interrupted
                    self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                port.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def fake_http_port() -> Iterator[HttpPort]:
    """A port that answers until the block ends."""
    port = HttpPort()
    thread = threading.Thread(target=port.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield port
    finally:
        port.server.shutdown()
        thread.join()
        port.server.server_close()
