"""A span around each call of a requester, whose context travels as the request's `trace`.

Loaded only if tracing is on.
"""

import asyncio
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, Tracer

from ..protocol.errors import Cancelled, TaskferryError
from ..protocol.job_messages import Submit
from ..tracing import spans
from .response import Response
from .wire import OutgoingRequest

Traced = OutgoingRequest | Submit


class CallSpan:
    """The span of a call to the broker at `url`. If `message` has a `trace`, it keeps it, and the span is its child;
    otherwise it gets the span's."""

    __slots__ = ("_message", "_span")

    def __init__(self, tracer: Tracer, message: Traced, url: str) -> None:
        self._message = message
        parent = None if message.trace is None else spans.context_of(message.trace)
        self._span = spans.begin(tracer, message.command, SpanKind.CLIENT, parent, _server(url))
        if message.trace is None:
            message.trace = spans.trace_of(self._span)

    def end(self, outcome: object) -> None:
        """The call has ended: with a result or a whole response, or with an error."""
        if self._message.request_id is not None:  # set meanwhile, if the caller gave none
            self._span.set_attribute(spans.REQUEST_ID, self._message.request_id)
        match outcome:
            case Response():
                spans.end_client(self._span, outcome.code or spans.SUCCESS, outcome.processed_by)
            case TaskferryError():
                spans.end_client(self._span, outcome.code, outcome.processed_by)
            case BaseException():  # its task was cancelled, or Ctrl-C
                spans.end_client(self._span, Cancelled.code)
            case _:
                spans.end_client(self._span, spans.SUCCESS)


def follow(tracer: Tracer, message: Traced, url: str, waiter: "asyncio.Future[Any]") -> None:
    """Put a span around what `waiter` waits for."""
    span = CallSpan(tracer, message, url)

    def end(done: "asyncio.Future[Any]") -> None:
        span.end(asyncio.CancelledError() if done.cancelled() else done.exception() or done.result())

    waiter.add_done_callback(end)


@lru_cache(maxsize=64)
def _server(url: str) -> dict[str, str | int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}
