"""A broker, and a coroutine that loads it, each on its core."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .broker_process import BrokerProcess, running_broker
from .contenders import Contender
from .cores import Cores, pinned_to
from .loop import new_event_loop

R = TypeVar("R")


def run_beside(
    contender: Contender, cores: Cores, loading: Callable[[BrokerProcess], Coroutine[Any, Any, R]]
) -> R:
    """What `loading` returns, run beside a fresh process of `contender`. Raises BrokerFailed, and what it raises."""
    with (
        running_broker(contender.command, contender.find_addresses, cores.broker) as broker,
        pinned_to(cores.load),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(loading(broker))
