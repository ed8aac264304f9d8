"""What one account uses of the broker, against its limits: connections, messages, bytes, and the core's account.

An account is an identity, whatever number of connections it has, or one stranger's address. Its requests in flight and
its waiting bytes are bounded in the core; its connections and rates here.
"""

import math
from collections.abc import Callable
from typing import Final

from ...protocol.errors import NOT_DELIVERED, RateLimited
from ..core.account import Account
from ..core.failure import Failure
from .bucket import Bucket
from .counts import AccessCounts, Limit
from .limits import Limits
from .recent import Recent

BURST_S: Final = 2.0
"""An account that has been quiet may use this many seconds' worth of its rates at once: requests arrive in bursts, as
do those that waited for a broken link."""

NEW_COMMANDS_PER_S: Final = 10_000
"""New commands in a second that the workers of an account may bring, beyond NEW_COMMANDS_BURST_COUNT. Each costs the
broker some 10 us when it comes and goes, so that workers that join again and again with ever new names take a tenth of
a core, however often they try."""

NEW_COMMANDS_BURST_COUNT: Final = 50_000
"""New commands that the workers of an account may bring at once, after a pause: fifty workers with the most that one
may serve. Of a hundred that the broker has never seen, the last is in after 5 s."""

DECLARED_COMMANDS_PER_S: Final = 25_000
"""Commands in a second, known or new, that the workers of an account may join with, beyond
DECLARED_COMMANDS_BURST_COUNT. Each costs the broker some 3 us when its worker comes and goes, so that workers that join
again and again take a tenth of a core, however often they try."""

DECLARED_COMMANDS_BURST_COUNT: Final = 200_000
"""Commands that the workers of an account may join with at once, after a pause: two hundred workers with the most that
one may serve, or ten thousand with twenty. So a fleet is back at once after its broker has started again; of three
hundred with the most, the last after 4 s."""

IDLE_COUNT_MAX: Final = 10_000
"""Accounts without connections whose use is remembered, about 5 MB. It is worth something for a few seconds only: then
an account's rates are whole again, and so are its commands."""


class Usage:
    """One account's use. `is_metered`: it has a rate, so that `spend` has to be asked for each message."""

    __slots__ = (
        "_bytes",
        "_declared_commands",
        "_messages",
        "_new_commands",
        "_recent",
        "account",
        "connections_count",
        "counts",
        "is_metered",
        "limits",
        "name",
    )

    def __init__(self, name: str, limits: Limits, counts: AccessCounts, recent: "Recent[Usage]") -> None:
        self.name = name
        self.limits = limits
        self.counts = counts
        self.connections_count = 0
        self.account = Account(name, limits.in_flight_count_max, limits.waiting_size_bytes_max)
        self.is_metered = bool(limits.messages_per_s or limits.bytes_per_s)
        self._messages = Bucket(limits.messages_per_s, BURST_S)
        self._bytes = Bucket(limits.bytes_per_s, BURST_S)
        self._new_commands = Bucket(NEW_COMMANDS_PER_S, NEW_COMMANDS_BURST_COUNT / NEW_COMMANDS_PER_S)
        burst_s = DECLARED_COMMANDS_BURST_COUNT / DECLARED_COMMANDS_PER_S
        self._declared_commands = Bucket(DECLARED_COMMANDS_PER_S, burst_s)
        self._recent = recent

    def take_connection(self) -> bool:
        """One more connection. False, and counted, if the account has as many as it may."""
        if self.connections_count >= self.limits.connections_count_max:
            self.counts.limited[Limit.ACCOUNT_CONNECTIONS] += 1
            return False
        self.connections_count += 1
        if self.connections_count == 1:
            self._recent.use(self.name, self)
        return True

    def release_connection(self) -> None:
        """A connection that was taken has closed."""
        self.connections_count -= 1
        if not self.connections_count:
            self._recent.release(self.name, self)

    def spend(self, size_bytes: int, now: float) -> Failure | None:
        """Count a message of that size. If a rate is used up, counts nothing: the failure to answer it with."""
        wait_s = self._messages.wait_s(1.0, now)
        if wait_s:
            text = f"{self.name} sends over {self.limits.messages_per_s:g} messages a second"
            return self._limited(Limit.ACCOUNT_MESSAGES, text, wait_s)
        wait_s = self._bytes.wait_s(size_bytes, now)
        if wait_s:
            text = f"{self.name} sends over {self.limits.bytes_per_s:g} bytes a second"
            return self._limited(Limit.ACCOUNT_BYTES, text, wait_s)
        self._messages.take(1.0)
        self._bytes.take(size_bytes)
        return None

    def declare(self, count: int, new_count: int, now: float) -> Failure | None:
        """Count the commands of a worker that wants to join, of which `new_count` are new. If that is too many now,
        counts nothing: the failure to refuse the worker with."""
        wait_s = self._new_commands.wait_s(new_count, now)
        if wait_s:
            text = f"workers of {self.name} bring over {NEW_COMMANDS_PER_S} new commands a second"
            return self._limited(Limit.NEW_COMMANDS, text, wait_s)
        wait_s = self._declared_commands.wait_s(count, now)
        if wait_s:
            text = f"workers of {self.name} join with over {DECLARED_COMMANDS_PER_S} commands a second"
            return self._limited(Limit.DECLARED_COMMANDS, text, wait_s)
        self._new_commands.take(new_count)
        self._declared_commands.take(count)
        return None

    def reconfigure(self, limits: Limits, now: float) -> None:
        """Change the limits and keep the counts. What exceeds a lowered limit stays; nothing is added to it until there
        is room again."""
        if limits == self.limits:
            return
        self.limits = limits
        self.account.in_flight_count_max = limits.in_flight_count_max
        self.account.waiting_size_bytes_max = limits.waiting_size_bytes_max
        self.is_metered = bool(limits.messages_per_s or limits.bytes_per_s)
        self._messages.reconfigure(limits.messages_per_s, now)
        self._bytes.reconfigure(limits.bytes_per_s, now)

    def _limited(self, limit: Limit, text: str, wait_s: float) -> Failure:
        self.counts.limited[limit] += 1
        return Failure(RateLimited.code, f"{text} ({limit.value})", retry_after_s(wait_s), NOT_DELIVERED)


class Usages:
    """The usage of each account, by its name. `counts` are shared by all."""

    __slots__ = ("_recent", "counts")

    def __init__(self, counts: AccessCounts) -> None:
        self.counts = counts
        self._recent: Recent[Usage] = Recent(IDLE_COUNT_MAX)

    def __len__(self) -> int:
        return len(self._recent)

    def of(self, name: str, limits: Limits, now: float) -> Usage:
        """The usage of this account, under these limits."""
        usage = self._recent.find(name)
        if usage is None:
            usage = Usage(name, limits, self.counts, self._recent)
            self._recent.add(name, usage)
        else:
            usage.reconfigure(limits, now)
        return usage

    def reconfigure(self, limits_of: Callable[[str], Limits], now: float) -> None:
        """Change the limits of all accounts, each to those that `limits_of` gives for its name."""
        for usage in self._recent:
            usage.reconfigure(limits_of(usage.name), now)


def retry_after_s(wait_s: float) -> float:
    """A wait in whole milliseconds, rounded up so that a retry after it finds what it waited for."""
    return math.ceil(wait_s * 1000.0) / 1000.0
