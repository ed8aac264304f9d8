"""What can be set on `taskferry request` for good: the table [requester], with names, types, bounds, defaults and help
in one place. What is said of one request alone (its target, its priority ...) stands on the command line only.

Knows numbers and words alone, so that the command line can show them without loading the requester.
"""

from dataclasses import dataclass
from typing import Final

from ..configuration.kinds import Choice, Number, Switch, Text
from ..configuration.schema import Table, setting
from ..protocol import limits

BROKER_URL_DEFAULT: Final = "ws://localhost:8766"
"""A broker on this machine, on the requester port that it has by default."""

COUNT_MAX: Final = 10_000_000
"""Requests in one run of `taskferry request`: each one's duration is kept, eight bytes, for exact percentiles."""

URL_LENGTH_MAX: Final = 2000
"""Characters of a URL: what browsers and proxies take as well."""

LOG_LEVEL_DEFAULT: Final = "error"
"""What matters of a request's fate is in its error line; warnings would say it twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequesterOptions:
    """What `taskferry request` is started with."""

    broker: str = setting(
        BROKER_URL_DEFAULT, Text(URL_LENGTH_MAX, is_url=True), "The broker's requester port."
    )
    timeout_s: float = setting(
        limits.TIMEOUT_S_DEFAULT,
        Number(0, limits.TIMEOUT_S_MAX, "seconds", is_low_open=True),
        "Timeout of each request.",
        key="timeout",
    )
    wait: bool = setting(
        False, Switch(), "Keep trying to connect, within the timeout, if there is no broker yet."
    )
    encoding: str = setting("json", Choice(("json", "msgpack")), "How messages are written.")
    as_json: bool = setting(
        False, Switch(), "Print the whole response (with --count: the summary) as one line.", key="json"
    )
    raw: bool = setting(False, Switch(), "Print a text as it is, without the quotes of JSON.")


REQUESTER: Final = Table("requester", RequesterOptions, "TASKFERRY_REQUEST_")
