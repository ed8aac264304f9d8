"""OpenTelemetry spans of requesters, broker and workers: off until `TaskferryInstrumentor().instrument()`.

docs/tracing.md shows which spans there are.
"""

from .instrumentor import TaskferryInstrumentor

__all__ = ["TaskferryInstrumentor"]
