"""One span, by OpenTelemetry's conventions for remote procedure calls: its name, parent, attributes and end.

Source: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/ (release candidate; `rpc.system.name` and the names
next to it). Of a request, only its command, its id and its outcome are in a span: no data, no results, no texts of
errors. Needs OpenTelemetry's API, so it is loaded only if tracing is on.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..log.event import log_event
from ..protocol.errors import REGISTRY
from .events import TracingFailed

logger = logging.getLogger(__name__)

SYSTEM: Final = "taskferry"
UNKNOWN_METHOD: Final = "_OTHER"
"""The conventions' name for a command that no worker is known to serve: names from outside must not become span
names."""

SUCCESS: Final = "success"

REQUEST_ID: Final = "taskferry.request.id"
WORKER_ID: Final = "taskferry.worker.id"
ATTEMPT: Final = "taskferry.attempt"
HEDGE: Final = "taskferry.hedge"

NOT_FAILURES: Final = frozenset(
    {
        SUCCESS,
        "answered",
        "requester_gone",
        *(code for code, error in REGISTRY.items() if error.blame == "requester"),
    }
)
"""Outcomes that are not the server's fault: as with gRPC's CANCELLED or INVALID_ARGUMENT, its span is not an error."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"
_UNSAMPLED: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][02468ace]")


def begin(
    tracer: Tracer,
    command: str,
    kind: SpanKind,
    parent: Context | None,
    attributes: Mapping[str, str | int | bool],
) -> Span:
    """A span for one call of `command`, under `parent`; None: under the current span."""
    name = SYSTEM if command == UNKNOWN_METHOD else command
    return start(tracer, name, parent, kind, {"rpc.system.name": SYSTEM, "rpc.method": command, **attributes})


def start(
    tracer: Tracer,
    name: str,
    parent: Context | None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str | int | bool] | None = None,
) -> Span:
    """A span. If what the program has plugged into OpenTelemetry fails, one that records nothing: a call must not fail
    because it is traced."""
    try:
        return tracer.start_span(name, parent, kind, attributes)
    except Exception as error:
        log_event(logger, TracingFailed(type(error).__name__), error=error)
        return INVALID_SPAN


def end(span: Span) -> None:
    """End it, whatever is plugged in there."""
    try:
        span.end()
    except Exception as error:
        log_event(logger, TracingFailed(type(error).__name__), error=error)


def end_client(span: Span, outcome: str, worker_id: str | None = None) -> None:
    """The call has ended as its caller sees it: every failure is an error."""
    if worker_id is not None:
        span.set_attribute(WORKER_ID, worker_id)
    _end(span, outcome, is_failure=outcome != SUCCESS)


def end_server(span: Span, outcome: str, error_type: str | None = None) -> None:
    """The call has ended as the side that served it sees it. `error_type`: the class of the exception, if one ended
    it."""
    _end(span, outcome, is_failure=outcome not in NOT_FAILURES, error_type=error_type)


def _end(span: Span, outcome: str, *, is_failure: bool, error_type: str | None = None) -> None:
    span.set_attribute("rpc.response.status_code", outcome)
    if is_failure:
        span.set_attribute("error.type", error_type or outcome)
        span.set_status(Status(StatusCode.ERROR))
    end(span)


def context_of(trace: str | None) -> Context:
    """The context for a request's `trace`; if that is None, or is no traceparent, an empty one, where a span is a
    root."""
    return Context() if trace is None else _PROPAGATOR.extract({_HEADER: trace})


def is_left_out(trace: str | None) -> bool:
    """`trace` is a traceparent whose sender does not record it: its sampled flag is 0."""
    return trace is not None and _UNSAMPLED.fullmatch(trace) is not None


def trace_of(span: Span) -> str | None:
    """`span` as the `trace` of a request; None for an invalid span, such as every one without an SDK."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return carrier.get(_HEADER)


def run_under(trace: str | None, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Call `function` with the span of `trace` as the current one, in any process: this is what another one is sent."""
    token = attach(context_of(trace))
    try:
        return function(*arguments, **keywords)
    finally:
        detach(token)
