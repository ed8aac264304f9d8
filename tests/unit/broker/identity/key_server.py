"""A real HTTP or HTTPS server that answers as an issuer's URL of keys would, well or badly."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

Answer = Callable[[BaseHTTPRequestHandler], None]


class KeyServer:
    """`url`; `answer` answers each request; `count`: requests so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.count = 0
        self.answer: Answer = says(b"")


def says(content: bytes, status: int = 200, **headers: str) -> Answer:
    """Answers with this."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


@contextlib.contextmanager
def key_server(authority: trustme.CA | None = None) -> Iterator[KeyServer]:
    """A server on a free port; with TLS if there is an `authority`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.count += 1
            with contextlib.suppress(OSError):  # the other side may have had enough
                server.answer(self)

        def log_message(self, *_: Any) -> None:
            """Not on the terminal of the tests."""

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that does not trust it says so itself."""

    listener = Listener(("127.0.0.1", 0), Handler)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    scheme = "http" if authority is None else "https"
    server = KeyServer(f"{scheme}://localhost:{listener.server_port}/keys")
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
