"""What a broker logs of the keys that it fetches."""

import logging
from typing import ClassVar

from ...log.event import Event


class KeysFetched(Event, frozen=True):
    """The keys of an issuer differ from those before, or were fetched again after a failure. `url`: without secrets."""

    text: ClassVar[str] = "keys of {url}: {keys_count}"
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str
    keys_count: int


class KeysNotFetched(Event, frozen=True):
    """The keys of an issuer could not be fetched or read; those before, `keys_count` of them, stay in force. `url`:
    without secrets."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "keys of {url} not fetched, {keys_count} from before stay in force: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str
    keys_count: int
    reason: str
