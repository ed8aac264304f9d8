"""OpenTelemetry spans of requesters, broker and workers: off until `TaskferryInstrumentor().instrument()`.

Knows how a span is begun, named and ended; must not know what happens between. docs/tracing.md shows what is made.
"""

from .instrumentor import TaskferryInstrumentor

__all__ = ["TaskferryInstrumentor"]
