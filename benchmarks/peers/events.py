"""The brokers that events are published to, one entry each, with a lean publisher and subscriber for each.

Nothing else in the measurement names a broker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..contenders import TASKFERRY, Contender, Peer
from ..event_stream import EventStream
from ..load import Load
from ..running import Program
from ..taskferry_topics import TaskferryPublisher, TaskferrySubscriber
from .nats import NatsPublisher, NatsSubscriber
from .redis import RedisPublisher, RedisSubscriber
from .servers import nats_server, redis_server


class Publisher(Peer, Protocol):
    """A peer that publishes events on demand."""

    def publish(self, event_count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class EventPeer:
    """A broker and its clients. `make_program` is passed the Taskferry broker of this run. Raises Missing."""

    name: str
    make_program: Callable[[Contender], Program]
    make_publisher: Callable[[Load, EventStream], Publisher]
    make_subscriber: Callable[[Load, EventStream], Peer]


EVENT_PEERS: Final = (
    EventPeer(TASKFERRY, lambda broker: broker, TaskferryPublisher, TaskferrySubscriber),
    EventPeer("nats-server", lambda _: nats_server(), NatsPublisher, NatsSubscriber),
    EventPeer("redis-server", lambda _: redis_server(), RedisPublisher, RedisSubscriber),
)
