"""A broker, and a coroutine that loads it, each on its core."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from .broker_process import Addresses, BrokerProcess, running_broker
from .cores import Cores, pinned_to
from .loop import new_event_loop

R = TypeVar("R")


class Program(Protocol):
    """What starts a broker, and reads from what it prints where it listens."""

    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def find_addresses(self) -> Callable[[str], Addresses | None]: ...


def run_beside(
    program: Program, cores: Cores, loading: Callable[[BrokerProcess], Coroutine[Any, Any, R]]
) -> R:
    """What `loading` returns, run beside a fresh process of `program`. Raises BrokerFailed, and what it raises."""
    with (
        running_broker(program.command, program.find_addresses, cores.broker) as broker,
        pinned_to(cores.load),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(loading(broker))
