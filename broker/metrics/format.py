"""In which of the two text formats a scrape is answered: the one that its client likes better.

What we write is OpenMetrics 1.0 or Prometheus' text format 0.0.4, whatever newer version a client names; so its label
says one of these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of

from ..http.accepting import preferences


@dataclass(frozen=True, slots=True)
class Format:
    """`encode` writes what prometheus_client has collected."""

    content_type: str
    is_openmetrics: bool
    encode: Callable[[CollectorRegistry], bytes]


TEXT: Final = Format("text/plain; version=0.0.4; charset=utf-8", False, text_of)
OPENMETRICS: Final = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", True, openmetrics_of
)


def choose(accept: str) -> Format:
    """By the header Accept. OpenMetrics is for those that name it, in a version that has what ours has; the text format
    is for all others, even for those that accept neither."""
    weights = {TEXT: 0.0, OPENMETRICS: 0.0}
    for name, parameters, weight in preferences(accept):
        if name == "text/plain":
            weights[TEXT] = max(weights[TEXT], weight)
        elif name == "application/openmetrics-text" and parameters.get("version", "1.").startswith("1."):
            weights[OPENMETRICS] = max(weights[OPENMETRICS], weight)
    return OPENMETRICS if 0 < weights[OPENMETRICS] >= weights[TEXT] else TEXT
