"""What an operator can set on a broker: the table [broker], with names, types, bounds, defaults and help in one place.

The file's keys, the environment's variables, the command line's options and the documentation all come from this
declaration. Knows nothing of how the settings are used.
"""

from dataclasses import dataclass
from typing import Final

from ..configuration.kinds import Dictionary, Number, Text, Whole
from ..configuration.schema import Table, setting
from ..loadbalance.choice import StrategyChoice
from ..loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from ..loadbalance.strategy import Chance
from ..protocol import limits
from .core.settings import CoreSettings

STRATEGY_PATTERNS_COUNT_MAX: Final = 100
"""Patterns in the table of strategies. Each command that is new to the broker is compared with all of them."""

HOST_LENGTH_MAX: Final = 255
"""Characters of an address: the longest name that the domain name system knows."""


def _check_strategy(name: str) -> None:
    from .strategies import StrategyError, strategy_factories  # noqa: PLC0415  looks for plugins

    try:
        strategy_factories({name})
    except StrategyError as error:
        raise ValueError(str(error)) from None


_PORT: Final = Whole(0, 65535)
_STRATEGY: Final = Text(limits.NAME_LENGTH_MAX, length_min=1, check=_check_strategy)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """All settings of a broker."""

    host: str = setting(
        "127.0.0.1",
        Text(HOST_LENGTH_MAX, length_min=1),
        "Address to listen on. 0.0.0.0 lets other machines in; there is no login yet.",
    )
    worker_port: int = setting(8765, _PORT, "Port for workers (WebSocket). 0 picks a free one.")
    requester_port: int = setting(8766, _PORT, "Port for requesters (WebSocket). 0 picks a free one.")
    http_port: int = setting(
        8767, _PORT, "Port for /metrics, /healthz, /readyz and /api (HTTP). 0 picks a free one."
    )
    strategy: str = setting(
        STRATEGY_DEFAULT,
        _STRATEGY,
        f"How a worker is picked: {', '.join(STRATEGIES)}, or one that a plugin registers.",
        is_live=True,
    )
    strategies: dict[str, str] = setting(  # noqa: RUF009  a field, made by a function of ours
        {},
        Dictionary(Text(limits.NAME_LENGTH_MAX, length_min=1), _STRATEGY, STRATEGY_PATTERNS_COUNT_MAX),
        "Command pattern (*, ?, [abc]) to strategy; the first that fits counts. In the file alone.",
        option="",
        is_live=True,
    )
    timeout: float = setting(
        limits.TIMEOUT_S_DEFAULT,
        Number(0, limits.TIMEOUT_S_MAX, "seconds", is_low_open=True),
        "Deadline, in seconds, of a request that names none.",
        is_live=True,
    )
    grace: float = setting(
        10.0,
        Number(0, 3600, "seconds"),
        "Seconds that requests in flight are given when the broker is told to stop.",
        is_live=True,
    )
    message_size_bytes_max: int = setting(
        limits.MESSAGE_SIZE_BYTES_MAX,
        Whole(16 * 1024, 64 * 1024 * 1024, "bytes"),
        "Largest message taken from a peer, in bytes.",
    )
    queue_count_max: int = setting(
        CoreSettings().queue_count_max,
        Whole(0, 10_000_000),
        "Requests that may wait for a free slot, over all commands.",
        is_live=True,
    )
    queue_size_bytes_max: int = setting(
        CoreSettings().queue_size_bytes_max,
        Whole(0, 2**40, "bytes"),
        "Bytes of data that may wait for a free slot, over all commands.",
        is_live=True,
    )
    in_flight_count_max: int = setting(
        limits.IN_FLIGHT_COUNT_MAX,
        Whole(1, 1_000_000),
        "Requests in flight on one requester connection.",
        is_live=True,
    )
    connections_count_max: int = setting(
        20_000,
        Whole(1, 1_000_000),
        "Connections open at once on each of the two WebSocket ports.",
        is_live=True,
    )

    def strategy_choice(self, chance: Chance) -> StrategyChoice:
        """Which strategy picks the workers of which command. Raises StrategyError."""
        from .strategies import strategy_factories  # noqa: PLC0415  as above

        factories = strategy_factories({self.strategy, *self.strategies.values()})
        return StrategyChoice(self.strategy, self.strategies, factories, chance)

    def core_settings(self) -> CoreSettings:
        """The part that governs the core."""
        return CoreSettings(
            timeout_s=self.timeout,
            queue_count_max=self.queue_count_max,
            queue_size_bytes_max=self.queue_size_bytes_max,
            in_flight_count_max=self.in_flight_count_max,
        )


BROKER: Final = Table("broker", BrokerSettings, "TASKFERRY_BROKER_")
