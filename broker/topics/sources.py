"""The topics that are the broker's own, and which of their sources a pattern needs: the others are not attached."""

import enum
from typing import Final

from .channels import ANY, literal_of

TASK_LIST: Final = "task:list"
TASK_STATUS: Final = "task:status"
TASK_PROGRESS: Final = "task:progress"
BROKER_STATUS: Final = "broker:status"

FAMILIES: Final = ("task:", "chunk:", "worker:", "job:", "broker:")
"""What the broker's own topics begin with. Nobody else publishes there."""


class Source(enum.Enum):
    """Where events come from."""

    STEPS = "steps"
    """Each step of each request, and of each attempt of a job."""
    PROGRESS = "progress"
    """What handlers report."""
    CHUNKS = "chunks"
    """What handlers send before they end."""
    WORKERS = "workers"
    JOBS = "jobs"
    BROKER = "broker"


def sources_of(pattern: str) -> list[Source]:
    """Which of them publish what this topic, or pattern, may match."""
    sources: list[Source] = []
    if _may_match(pattern, "task:"):
        if pattern != TASK_PROGRESS:
            sources.append(Source.STEPS)
        if pattern not in (TASK_LIST, TASK_STATUS):
            sources.append(Source.PROGRESS)
    for family, source in (
        ("chunk:", Source.CHUNKS),
        ("worker:", Source.WORKERS),
        ("job:", Source.JOBS),
        ("broker:", Source.BROKER),
    ):
        if _may_match(pattern, family):
            sources.append(source)
    return sources


def is_of_broker(topic: str) -> bool:
    """Nobody but the broker publishes there."""
    return topic.startswith(FAMILIES)


def _may_match(pattern: str, family: str) -> bool:
    literal = literal_of(pattern)
    return literal.startswith(family) or (ANY in pattern and family.startswith(literal))
