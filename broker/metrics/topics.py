"""Families about topics: subscribers, and events that were published, sent, conflated and dropped."""

from typing import Final

from .family import Family, NumberFamily, total

TOPICS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_subscribers",
        "gauge",
        (),
        "Connections that subscribe to topics.",
        lambda subjects: total(len(subjects.model.hub.subscribers)),
    ),
    NumberFamily(
        "taskferry_topics",
        "gauge",
        (),
        "Topics and patterns that there are subscriptions to, or were in the last minute.",
        lambda subjects: total(subjects.model.hub.channels_count),
    ),
    NumberFamily(
        "taskferry_events_size_bytes",
        "gauge",
        (),
        "What is kept of events for subscribers that come back, or do not read.",
        lambda subjects: total(subjects.model.hub.kept_size_bytes + subjects.model.hub.stalled_size_bytes),
    ),
    NumberFamily(
        "taskferry_events_published_total",
        "counter",
        (),
        "Events of topics that there are subscriptions to.",
        lambda subjects: total(subjects.model.hub.counts.published_count),
    ),
    NumberFamily(
        "taskferry_events_delivered_total",
        "counter",
        (),
        "Events sent, counted once for each subscriber.",
        lambda subjects: total(subjects.model.hub.counts.delivered_count),
    ),
    NumberFamily(
        "taskferry_events_conflated_total",
        "counter",
        (),
        "Events that a later one replaced while they waited for a subscriber.",
        lambda subjects: total(subjects.model.hub.counts.conflated_count),
    ),
    NumberFamily(
        "taskferry_events_dropped_total",
        "counter",
        (),
        "Events that a subscriber did not get: it got a gap.",
        lambda subjects: total(subjects.model.hub.counts.dropped_count),
    ),
    NumberFamily(
        "taskferry_subscribers_closed_total",
        "counter",
        (),
        "Subscribers that were disconnected because they took nothing.",
        lambda subjects: total(subjects.model.hub.counts.closed_count),
    ),
    NumberFamily(
        "taskferry_subscriptions_resumed_total",
        "counter",
        ("outcome",),
        "Topics of subscribers that came back, by outcome.",
        lambda subjects: (
            (("recovered",), subjects.model.hub.counts.recovered_count),
            (("gap",), subjects.model.hub.counts.unrecovered_count),
        ),
    ),
)
