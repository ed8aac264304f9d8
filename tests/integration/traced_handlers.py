"""Handlers that run in processes, and so must be importable there."""

import os

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span


def current_span() -> list[str]:
    """The process in which it ran, the trace and the current span."""
    context = get_current_span().get_span_context()
    return [str(os.getpid()), format_trace_id(context.trace_id), format_span_id(context.span_id)]
