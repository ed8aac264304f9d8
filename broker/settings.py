"""The settings of a broker: the table [broker].

Must not know how the settings are used.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

from ..configuration.kinds import Dictionary, Kind, Number, Text, Whole
from ..configuration.schema import Table, setting
from ..loadbalance.choice import StrategyChoice
from ..loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from ..loadbalance.strategy import Chance
from ..protocol import limits
from .core.settings import CoreSettings

STRATEGY_PATTERNS_COUNT_MAX: Final = 100
"""Patterns in the table of strategies. Each command that is new to the broker is matched against all of them."""

HOST_LENGTH_MAX: Final = 255
"""Characters of an address: the longest name that DNS allows."""


def _check_strategy(name: str) -> None:
    from .strategies import StrategyError, strategy_factories  # noqa: PLC0415  looks for plugins

    try:
        strategy_factories({name})
    except StrategyError as error:
        raise ValueError(str(error)) from None


_PORT: Final = Whole(0, 65535)
_STRATEGY: Final = Text(limits.NAME_LENGTH_MAX, length_min=1, check=_check_strategy)
_CORE: Final = CoreSettings()


def _of_core(name: str, kind: Kind, help: str, **facts: Any) -> Any:
    """A setting of the core, by its name there. The core declares the default; a reload changes all of them."""
    return setting(getattr(_CORE, name), kind, help, is_live=True, **facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """All settings of a broker."""

    host: str = setting(
        "127.0.0.1",
        Text(HOST_LENGTH_MAX, length_min=1),
        "Address to listen on. 0.0.0.0 accepts connections from other machines; there is no login yet.",
    )
    worker_port: int = setting(8765, _PORT, "Port for workers (WebSocket). 0 picks a free one.")
    requester_port: int = setting(8766, _PORT, "Port for requesters (WebSocket). 0 picks a free one.")
    http_port: int = setting(
        8767, _PORT, "Port for /metrics, /healthz, /readyz and /api (HTTP). 0 picks a free one."
    )
    strategy: str = setting(
        STRATEGY_DEFAULT,
        _STRATEGY,
        f"How workers are picked: {', '.join(STRATEGIES)}, or a strategy from a plugin.",
        is_live=True,
    )
    strategies: dict[str, str] = setting(  # noqa: RUF009  a field, made by a function of ours
        {},
        Dictionary(Text(limits.NAME_LENGTH_MAX, length_min=1), _STRATEGY, STRATEGY_PATTERNS_COUNT_MAX),
        "Command pattern (*, ?, [abc]) to strategy; the first match applies. Only in the file.",
        option="",
        is_live=True,
    )
    timeout_s: float = _of_core(
        "timeout_s",
        Number(0, limits.TIMEOUT_S_MAX, "seconds", is_low_open=True),
        "Timeout of requests that set none.",
        key="timeout",
    )
    grace_s: float = setting(
        10.0,
        Number(0, 3600, "seconds"),
        "How long requests in flight may take to end when the broker is stopped.",
        key="grace",
        is_live=True,
    )
    message_size_bytes_max: int = setting(
        limits.MESSAGE_SIZE_BYTES_MAX,
        Whole(16 * 1024, 64 * 1024 * 1024, "bytes"),
        "Largest message accepted from a peer.",
    )
    queue_count_max: int = _of_core(
        "queue_count_max",
        Whole(0, 10_000_000),
        "Requests that may wait for a free slot, over all commands.",
    )
    queue_size_bytes_max: int = _of_core(
        "queue_size_bytes_max",
        Whole(0, 2**40, "bytes"),
        "Total size of the data of requests that wait for a free slot.",
    )
    in_flight_count_max: int = _of_core(
        "in_flight_count_max",
        Whole(1, 1_000_000),
        "Requests in flight per requester connection.",
    )
    retries_count_max: int = _of_core(
        "retries_count_max",
        Whole(0, 10),  # each has cost a worker: beyond that the request itself is the suspect
        "Retries of one idempotent request after its worker was lost.",
    )
    retries_share_max: float = _of_core(
        "retries_share_max",
        Number(0, 1),
        "Retries as a share of the requests of the last 20 seconds, plus a reserve of 10. 0 turns them off.",
    )
    hedges_share_max: float = _of_core(
        "hedges_share_max",
        Number(0, 1),
        "Hedges as a share of the requests of the last 20 seconds, plus a reserve of 10. 0 turns them off.",
    )
    connections_count_max: int = setting(
        20_000,
        Whole(1, 1_000_000),
        "Open connections on each of the two WebSocket ports.",
        is_live=True,
    )

    def strategy_choice(self, chance: Chance) -> StrategyChoice:
        """Which strategy picks the workers of each command. Raises StrategyError."""
        from .strategies import strategy_factories  # noqa: PLC0415  as above

        factories = strategy_factories({self.strategy, *self.strategies.values()})
        return StrategyChoice(self.strategy, self.strategies, factories, chance)

    def core_settings(self) -> CoreSettings:
        """The part that governs the core."""
        return CoreSettings(
            **{declared.name: getattr(self, declared.name) for declared in fields(CoreSettings)}
        )


BROKER: Final = Table("broker", BrokerSettings, "TASKFERRY_BROKER_")
