"""The settings of a broker: the table [broker].

Must not know how the settings are used.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Final

from ..configuration.kinds import Dictionary, Kind, List, Number, Switch, Text, Whole
from ..configuration.schema import Table, setting
from ..loadbalance.choice import StrategyChoice
from ..loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from ..loadbalance.strategy import Chance
from ..protocol import limits
from ..protocol.field_types import NAME_PATTERN, NAME_RULE
from .access.hosts import check_host, check_origin
from .access.proxies import check_network
from .core.settings import CoreSettings
from .jobs.settings import JobSettings
from .topics.bounds import TopicSettings

STRATEGY_PATTERNS_COUNT_MAX: Final = 100
"""Patterns in the table of strategies. Each command that is new to the broker is matched against all of them."""

HOST_LENGTH_MAX: Final = 255
"""Characters of an address: the longest name that DNS allows."""

ORIGIN_LENGTH_MAX: Final = HOST_LENGTH_MAX + 40
"""Characters of a web page's origin: a host, a scheme and a port."""

PATH_LENGTH_MAX: Final = 4096
"""Characters of a file's path: what Linux allows."""

ALLOWED_COUNT_MAX: Final = 100
"""Hosts, origins and proxies in each list. Every handshake is compared with them."""


READY_COMMANDS_COUNT_MAX: Final = 100
"""Commands that readiness waits for. Each probe looks at those that are not there yet."""


NO_JOURNAL: Final = "none"
"""In place of a path: keep no jobs."""


def _check_strategy(name: str) -> None:
    from .strategies import StrategyError, strategy_factories  # noqa: PLC0415  looks for plugins

    try:
        strategy_factories({name})
    except StrategyError as error:
        raise ValueError(str(error)) from None


def _check_name(name: str) -> None:
    if re.match(NAME_PATTERN, name) is None:
        raise ValueError(NAME_RULE)


_PORT: Final = Whole(0, 65535)
_STRATEGY: Final = Text(limits.NAME_LENGTH_MAX, length_min=1, check=_check_strategy)
_PATH: Final = Text(PATH_LENGTH_MAX, length_min=1, is_path=True)
_CORE: Final = CoreSettings()
_JOBS: Final = JobSettings()


def _of_core(name: str, kind: Kind, help: str, **facts: Any) -> Any:
    """A setting of the core, by its name there. The core declares the default; a reload changes all of them."""
    return setting(getattr(_CORE, name), kind, help, is_live=True, **facts)


def _of_jobs(name: str, key: str, kind: Kind, help: str) -> Any:
    """The same for a setting of jobs. `key`: its name here."""
    return setting(getattr(_JOBS, name), kind, help, key=key, is_live=True)


MODULE_LENGTH_MAX: Final = 200
PLUGINS_COUNT_MAX: Final = 100
"""Characters of a module's name, and how many there may be: more is a mistake."""


def check_module(name: str) -> None:
    """Raise ValueError unless it can be the name of a module."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError("expected the name of a Python module: package.module")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """All settings of a broker."""

    host: str = setting(
        "127.0.0.1",
        Text(HOST_LENGTH_MAX, length_min=1),
        "Address to listen on. 0.0.0.0 accepts connections from other machines, and :: by IPv6 as well: set access, "
        "too.",
    )
    worker_port: int = setting(8765, _PORT, "Port for workers (WebSocket). 0 picks a free one.")
    requester_port: int = setting(8766, _PORT, "Port for requesters (WebSocket). 0 picks a free one.")
    http_port: int = setting(
        8767, _PORT, "Port for /metrics, /healthz, /readyz and /api (HTTP). 0 picks a free one."
    )
    api_port: int = setting(
        8768, _PORT, "Port for web pages, and programs like them (WebSocket at /ws). 0 picks a free one."
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
        "Requests that may wait for a free slot, over all commands. At the bound, whoever has most waiting gives way.",
    )
    queue_size_bytes_max: int = _of_core(
        "queue_size_bytes_max",
        Whole(0, 2**40, "bytes"),
        "Total size of the data of requests that wait for a free slot; at the bound the same.",
    )
    assigned_size_bytes_max: int = _of_core(
        "assigned_size_bytes_max",
        Whole(0, 2**40, "bytes"),
        "Total size of the data that is kept for idempotent requests which workers have. Beyond it the oldest of who "
        "keeps most go on without the chance of another run.",
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
    start_wait_s: float = _of_core(
        "start_wait_s",
        Number(0, 300, "seconds"),
        "How long after its start requests wait for a command that no worker serves yet, instead of failing. Workers "
        "come back within 3 seconds: the default adds time to connect. 0: they fail at once.",
        key="start_wait",
    )
    ready_commands: tuple[str, ...] = setting(
        (),
        List(
            Text(limits.NAME_LENGTH_MAX, length_min=1, check=_check_name),
            READY_COMMANDS_COUNT_MAX,
        ),
        "Command that a worker must have served once before /readyz says that this broker is ready. May be repeated.",
        option="--ready-command",
    )
    connections_count_max: int = setting(
        20_000,
        Whole(1, 1_000_000),
        "Open connections on each WebSocket port.",
        is_live=True,
    )
    unsent_size_bytes_max: int = setting(
        256 * 1024 * 1024,
        Whole(0, 2**40, "bytes"),
        "Total size of what waits for workers and requesters that do not read it. Beyond it those are disconnected for "
        "which most waits and which have taken nothing for longest. For one of them at most 64 MiB may wait.",
        is_live=True,
    )
    event_batch_count_max: int = setting(
        limits.BATCH_COUNT_DEFAULT,
        Whole(1, 1000),
        "Most events of topics in one message to a subscriber. As many are sent without waiting for more.",
        is_live=True,
    )
    event_batch_s: float = setting(
        limits.BATCH_S_DEFAULT,
        Number(0, 10, "seconds"),
        "How long after the last events for a subscriber the next ones are sent, if there are fewer. The first after a "
        "quiet time are sent at once; with 0 all are.",
        key="event_batch",
        is_live=True,
    )
    access: str | None = setting(
        None,
        _PATH,
        "File that says who may do what. Without it, anyone who can connect may do everything. SIGHUP reads it again.",
        instead="none",
        is_live=True,
    )
    insecure: bool = setting(
        False,
        Switch(),
        "Log no warning if the broker listens beyond loopback and access is not set.",
    )
    tls_certificate: str | None = setting(
        None,
        _PATH,
        "PEM file with the certificate and those of its issuers. All ports then speak TLS only, 1.2 or newer. SIGHUP "
        "reads it again.",
        instead="none",
    )
    tls_key: str | None = setting(
        None,
        _PATH,
        "PEM file with the certificate's private key, not encrypted. SIGHUP reads it again.",
        instead="none",
    )
    tls_client_ca: str | None = setting(
        None,
        _PATH,
        "PEM file with the authorities whose client certificates prove an identity. Clients may connect without one. "
        "SIGHUP reads it again.",
        instead="none",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        List(Text(HOST_LENGTH_MAX, length_min=1, check=check_host), ALLOWED_COUNT_MAX),
        "Name by which clients address the broker, or *.DOMAIN for all below one. Addresses, loopback names, this "
        "machine's name and the setting host are always allowed; all others are refused, because a web page can give "
        "its own name any address. May be repeated.",
        option="--allowed-host",
        is_live=True,
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        List(Text(ORIGIN_LENGTH_MAX, length_min=1, check=check_origin), ALLOWED_COUNT_MAX),
        "Origin of web pages that may connect, such as https://app.example.com. Pages that this machine serves to "
        "itself (http://localhost:3000) are always allowed. May be repeated.",
        option="--allowed-origin",
        is_live=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        List(Text(HOST_LENGTH_MAX, length_min=1, check=check_network), ALLOWED_COUNT_MAX),
        "Address or network of proxies whose X-Forwarded-For is believed: limits and logs then see the client behind "
        "them. May be repeated.",
        option="--trusted-proxy",
        is_live=True,
    )
    address_connections_count_max: int = setting(
        10_000,
        Whole(1, 1_000_000),
        "Open connections from one address, on all WebSocket ports together. The default leaves half of a port to "
        "others.",
        is_live=True,
    )
    address_handshakes_per_s: int = setting(
        500,
        Whole(0, 1_000_000),
        "Handshakes per second from one address, with a burst of 10 seconds' worth: by default 5,000 clients behind "
        "one address may come back at once. 0: no bound.",
        is_live=True,
    )
    account_connections_count_max: int = setting(
        10_000,
        Whole(1, 1_000_000),
        "Open connections of one identity. The default leaves half of a port to others.",
        is_live=True,
    )
    api_messages_per_s: int = setting(
        100,
        Whole(0, 1_000_000),
        "Messages per second from one connection of the API port; more are answered rate_limited, and if it goes on, "
        "the connection is closed. 0: no bound.",
        is_live=True,
    )
    account_messages_per_s: int = setting(
        0,
        Whole(0, 10_000_000),
        "Messages per second from one identity, over all its connections; more are answered rate_limited. 0, the "
        "default, is no bound: what is too much depends on the commands.",
        is_live=True,
    )
    account_bytes_per_s: int = setting(
        0,
        Whole(0, 2**40, "bytes"),
        "The same for the bytes of its messages.",
        is_live=True,
    )
    account_in_flight_count_max: int = setting(
        50_000,
        Whole(1, 10_000_000),
        "Requests in flight of one identity, over all its connections. The default is half of what may wait by "
        "default (queue_count_max).",
        is_live=True,
    )
    account_waiting_size_bytes_max: int = setting(
        128 * 1024 * 1024,
        Whole(0, 2**40, "bytes"),
        "Total size of the data of one identity's requests that wait for a free slot. The default is half of "
        "queue_size_bytes_max.",
        is_live=True,
    )

    plugins: tuple[str, ...] = setting(
        (),
        List(Text(MODULE_LENGTH_MAX, length_min=1, check=check_module), PLUGINS_COUNT_MAX),
        "Python module that adds to the broker: handlers of messages that are sent to it. May be repeated.",
        option="--plugin",
    )
    journal: str | None = setting(
        None,
        Text(PATH_LENGTH_MAX, length_min=1, is_path=True, no_path=NO_JOURNAL),
        "File in which jobs are kept, made with the first one. The default is journal.db in systemd's STATE_DIRECTORY, "
        "else taskferry/journal.db in the user's state directory. none: this broker keeps no jobs.",
        instead="in the state directory",
    )
    open_count_max: int = _of_jobs(
        "open_count_max",
        "open_count_max",
        Whole(0, 100_000_000),
        "Open jobs, of all identities.",
    )
    account_open_count_max: int = _of_jobs(
        "account_open_count_max",
        "account_open_count_max",
        Whole(0, 100_000_000),
        "Open jobs of one identity. The default is half of open_count_max.",
    )
    open_size_bytes_max: int = _of_jobs(
        "open_size_bytes_max",
        "open_size_bytes_max",
        Whole(0, 2**50, "bytes"),
        "Total size of the data of open jobs, which are on disk.",
    )
    keep_done_s: float = _of_jobs(
        "keep_done_s",
        "keep_done",
        Number(0, limits.KEEP_S_MAX, "seconds"),
        "How long a job that is done, or was cancelled, is kept with its result, if it does not say itself.",
    )
    keep_dead_s: float = _of_jobs(
        "keep_dead_s",
        "keep_dead",
        Number(0, limits.KEEP_S_MAX, "seconds"),
        "How long a dead job is kept, if it does not say itself.",
    )
    kept_size_bytes_max: int = _of_jobs(
        "kept_size_bytes_max",
        "kept_size_bytes_max",
        Whole(0, 2**50, "bytes"),
        "Total size of the data and results of ended jobs. Beyond it those that would be removed next go early.",
    )
    schedules_count_max: int = _of_jobs(
        "schedules_count_max",
        "schedules_count_max",
        Whole(0, 100_000),
        "Schedules, of all identities.",
    )
    inbox_count_max: int = _of_jobs(
        "inbox_count_max",
        "inbox_count_max",
        Whole(1, 1_000_000),
        "Messages in the inbox of one client. Beyond it the oldest are dropped, and the client is told.",
    )
    adoption_s: float = _of_jobs(
        "adoption_s",
        "adoption",
        Number(0, 3600, "seconds"),
        "How long a worker whose connection was lost, or a broker that has restarted, has to come back before its "
        "attempts of jobs are lost.",
    )

    def strategy_choice(self, chance: Chance) -> StrategyChoice:
        """Which strategy picks the workers of each command. Raises StrategyError."""
        from .strategies import strategy_factories  # noqa: PLC0415  as above

        factories = strategy_factories({self.strategy, *self.strategies.values()})
        return StrategyChoice(self.strategy, self.strategies, factories, chance)

    def job_settings(self) -> JobSettings:
        """The part that governs jobs."""
        return JobSettings(
            **{declared.name: getattr(self, declared.name) for declared in fields(JobSettings)}
        )

    def topic_settings(self) -> TopicSettings:
        """The part that governs topics."""
        return TopicSettings(self.event_batch_count_max, self.event_batch_s)

    def core_settings(self) -> CoreSettings:
        """The part that governs the core."""
        return CoreSettings(
            **{declared.name: getattr(self, declared.name) for declared in fields(CoreSettings)}
        )


def _check(settings: BrokerSettings) -> None:
    """What settings must be together. Raises ValueError."""
    used: dict[int, str] = {}
    for key in ("worker_port", "requester_port", "http_port", "api_port"):
        number = getattr(settings, key)
        if number in used:
            raise ValueError(f"{key}: {number} is {used[number]} already; each needs a number of its own")
        if number:
            used[number] = key
    if settings.tls_key is None and settings.tls_certificate is not None:
        raise ValueError("tls_certificate: needs tls_key, the file with its private key")
    for key in ("tls_key", "tls_client_ca"):
        if getattr(settings, key) is not None and settings.tls_certificate is None:
            raise ValueError(f"{key}: needs tls_certificate, the file with the broker's own certificate")


BROKER: Final = Table("broker", BrokerSettings, "TASKFERRY_BROKER_", _check)
