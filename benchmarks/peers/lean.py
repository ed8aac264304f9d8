"""The brokers whose cost is compared under the same load, each with a lean client of its own.

One entry per broker; the measuring code names none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..contenders import Contender, Peer, Requester
from ..load import Load
from ..request_stream import RequestStream
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from .gearman import GearmanRequester, GearmanWorker
from .nats import NatsRequester, NatsWorker
from .rabbitmq import RabbitmqRequester, RabbitmqWorker
from .redis import RedisRequester, RedisWorker
from .servers import (
    Server,
    gearmand_server,
    nats_server,
    rabbitmq_server,
    redis_server,
    taskferry_server,
)


@dataclass(frozen=True, slots=True)
class LeanPeer:
    """A broker and its clients."""

    name: str
    make_server: Callable[[], Server]
    make_requester: Callable[[Load, RequestStream], Requester]
    make_worker: Callable[[Load, RequestStream, str], Peer]

    def contender(self) -> Contender:
        """What is measured, good for one measurement: its ports are its own. Raises Missing."""
        server = self.make_server()
        return Contender(
            self.name, server.command, server.find_addresses, self.make_requester, self.make_worker
        )


LEAN_PEERS = (
    LeanPeer("taskferry", taskferry_server, TaskferryRequester, TaskferryWorker),
    LeanPeer("nats-server", nats_server, NatsRequester, NatsWorker),
    LeanPeer("redis-server", redis_server, RedisRequester, RedisWorker),
    LeanPeer("gearmand", gearmand_server, GearmanRequester, GearmanWorker),
    LeanPeer("rabbitmq-server", rabbitmq_server, RabbitmqRequester, RabbitmqWorker),
)
