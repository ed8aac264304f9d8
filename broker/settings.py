"""What an operator can set on a broker: names, types, bounds, defaults and help in one place.

The command line's options, the environment's variables and the configuration file's keys all come from this
structure, in rising order of precedence: default, file, environment, command line. A table stands in the file alone.
Knows nothing of how they are used.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ..loadbalance.choice import StrategyChoice
from ..loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from ..loadbalance.strategy import Chance
from ..protocol import limits
from .core.settings import CoreSettings
from .strategies import StrategyError, strategy_factories

STRATEGY_PATTERNS_COUNT_MAX: Final = 100
"""Patterns in the table of strategies. Each command that is new to the broker is compared with all of them."""

Port = Annotated[int, Meta(ge=0, le=65535)]


class SettingsError(Exception):
    """A setting that cannot be: one line that names the source, the key and the bound."""


class BrokerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of a broker. The description of each field is its help text."""

    host: Annotated[
        str, Meta(description="Address to listen on. 0.0.0.0 lets other machines in; there is no login yet.")
    ] = "127.0.0.1"
    worker_port: Annotated[Port, Meta(description="Port for workers (WebSocket). 0 picks a free one.")] = 8765
    requester_port: Annotated[
        Port, Meta(description="Port for requesters (WebSocket). 0 picks a free one.")
    ] = 8766
    http_port: Annotated[
        Port, Meta(description="Port for /metrics, /healthz, /readyz and /api (HTTP). 0 picks a free one.")
    ] = 8767
    strategy: Annotated[
        str,
        Meta(description=f"How a worker is picked: {', '.join(STRATEGIES)}, or one that a plugin registers."),
    ] = STRATEGY_DEFAULT
    strategies: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)], str],
        Meta(
            max_length=STRATEGY_PATTERNS_COUNT_MAX,
            description="Command pattern (*, ?, [abc]) to strategy; the first that fits counts. In the file alone.",
        ),
    ] = {}
    timeout: Annotated[
        float,
        Meta(
            gt=0, le=limits.TIMEOUT_S_MAX, description="Deadline, in seconds, of a request that names none."
        ),
    ] = limits.TIMEOUT_S_DEFAULT
    grace: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds that requests in flight are given when the broker is told to stop.",
        ),
    ] = 10.0
    message_size_bytes_max: Annotated[
        int,
        Meta(ge=16 * 1024, le=64 * 1024 * 1024, description="Largest message taken from a peer, in bytes."),
    ] = limits.MESSAGE_SIZE_BYTES_MAX
    queue_count_max: Annotated[
        int,
        Meta(ge=0, le=10_000_000, description="Requests that may wait for a free slot, over all commands."),
    ] = CoreSettings().queue_count_max
    queue_size_bytes_max: Annotated[
        int,
        Meta(ge=0, le=2**40, description="Bytes of data that may wait for a free slot, over all commands."),
    ] = CoreSettings().queue_size_bytes_max
    in_flight_count_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests in flight on one requester connection.")
    ] = limits.IN_FLIGHT_COUNT_MAX
    connections_count_max: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Connections open at once on each of the two WebSocket ports."),
    ] = 20_000

    def strategy_choice(self, chance: Chance) -> StrategyChoice:
        """Which strategy picks the workers of which command. Raises StrategyError."""
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


def read_file(path: Path) -> dict[str, Any]:
    """The `[broker]` table of the TOML file at `path`. Raises SettingsError."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    table = document.get("broker")
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: there is no table [broker]")
    settings_from(table, source=str(path))
    return table


def settings_from(values: Mapping[str, Any], *, source: str) -> BrokerSettings:
    """Check `values` against the bounds. Raises SettingsError, whose text begins with `source`."""
    try:
        settings = msgspec.convert(values, BrokerSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_describe(str(error))}") from None
    named = {"strategy": settings.strategy}
    named |= {f'strategies: "{pattern}"': name for pattern, name in settings.strategies.items()}
    try:
        strategy_factories(named.values())
    except StrategyError as error:
        where = next((where for where, name in named.items() if name == error.name), "strategy")
        raise SettingsError(f"{source}: {where}: {error}") from None
    return settings


def _describe(text: str) -> str:
    what, _, path = text.partition(" - at ")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown is None:
        # msgspec points to `$.timeout`, `key` in `$.strategies` or `$.strategies[...]`.
        where = path.replace("key` in `", "a key of ").replace("[...]", ": a value").replace("$.", "")
        return f"{where.strip('`')}: {what}"
    near = difflib.get_close_matches(unknown[1], BrokerSettings.__struct_fields__, n=1)
    return f"{unknown[1]}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
