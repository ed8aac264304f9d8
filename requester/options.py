"""The settings of `taskferry request`: the table [requester].

What concerns a single request, such as its target or its priority, is an option of the command line only (see cli.py).
Imports only what the command line needs for `--help`.
"""

from dataclasses import dataclass
from typing import Final

from ..configuration.kinds import Choice, Number, Switch, Whole
from ..configuration.schema import Table, setting
from ..credentials.settings import (
    ca_setting,
    certificate_setting,
    insecure_skip_verify_setting,
    key_setting,
    token_file_setting,
)
from ..protocol import limits
from ..transport.url_setting import BROKER_URL, check_tls

BROKER_URL_DEFAULT: Final = "ws://localhost:8766"
"""A broker on this machine, on its default requester port."""

COUNT_MAX: Final = 10_000_000
"""Requests in one run of `taskferry request`. Their durations are kept for exact percentiles, eight bytes each."""

CONCURRENCY_DEFAULT: Final = 100
"""Requests at once, of many: enough to keep a fleet of ordinary size busy over any network, and no flood."""

RETRIES_COUNT_MAX: Final = 100
"""How often one request may be sent again. Its timeout ends it in any case."""

LOG_LEVEL_DEFAULT: Final = "error"
"""A request that fails ends with an error line; warnings would repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequesterOptions:
    """The settings of `taskferry request`."""

    broker: str = setting(BROKER_URL_DEFAULT, BROKER_URL, "Requester port of the broker.")
    timeout_s: float = setting(
        limits.TIMEOUT_S_DEFAULT,
        Number(0, limits.TIMEOUT_S_MAX, "seconds", is_low_open=True),
        "Timeout of each request.",
        key="timeout",
    )
    wait: bool = setting(
        False, Switch(), "Keep trying to connect until the timeout, if there is no broker yet."
    )
    retries: int = setting(
        0,
        Whole(0, RETRIES_COUNT_MAX),
        "How often what the broker refuses for now (overloaded, rate_limited) is sent again within the timeout.",
    )
    encoding: str = setting("json", Choice(("json", "msgpack")), "Encoding of messages.")
    as_json: bool = setting(
        False,
        Switch(),
        "Print the whole response as one line of JSON; with --count, the summary.",
        key="json",
    )
    raw: bool = setting(False, Switch(), "Print a result that is a text without JSON's quotes.")
    token_file: str | None = token_file_setting()
    ca: str | None = ca_setting()
    certificate: str | None = certificate_setting()
    key: str | None = key_setting()
    insecure_skip_verify: bool = insecure_skip_verify_setting()


REQUESTER: Final = Table("requester", RequesterOptions, "TASKFERRY_REQUEST_", check_tls)
