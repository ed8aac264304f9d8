"""What an operator can set on a broker: names, types, bounds, defaults and help in one place.

The command line's options, the environment's variables and the configuration file's keys all come from this
structure, in rising order of precedence: default, file, environment, command line. Knows nothing of how they are
used.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from ..protocol import limits
from .core.settings import CoreSettings

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
    strategy: Annotated[str, Meta(description=f"How a worker is picked: {', '.join(STRATEGIES)}.")] = (
        STRATEGY_DEFAULT
    )
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
    if settings.strategy not in STRATEGIES:
        raise SettingsError(
            f"{source}: strategy: {settings.strategy!r} is unknown; one of {', '.join(STRATEGIES)}"
        )
    return settings


def _describe(text: str) -> str:
    what, _, path = text.partition(" - at ")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown is None:
        return f"{path.strip('`').removeprefix('$.')}: {what}"
    near = difflib.get_close_matches(unknown[1], BrokerSettings.__struct_fields__, n=1)
    return f"{unknown[1]}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
