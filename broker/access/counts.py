"""How often something was refused, over all identities and addresses: what metrics show."""

import enum

from .rights import Action


class Limit(enum.Enum):
    """What can be used up. The values are the names of the broker's settings."""

    ADDRESS_CONNECTIONS = "address_connections_count_max"
    ADDRESS_HANDSHAKES = "address_handshakes_per_s"
    FAILED_LOGINS = "failed_logins"
    """Not a setting: FAILED_LOGINS_COUNT_MAX and FAILED_LOGINS_PER_S in addresses.py."""
    ACCOUNT_CONNECTIONS = "account_connections_count_max"
    ACCOUNT_MESSAGES = "account_messages_per_s"
    ACCOUNT_BYTES = "account_bytes_per_s"
    NEW_COMMANDS = "new_commands"
    """Not a setting: NEW_COMMANDS_PER_S and NEW_COMMANDS_BURST_COUNT in usage.py."""
    DECLARED_COMMANDS = "declared_commands"
    """Not a setting: DECLARED_COMMANDS_PER_S and DECLARED_COMMANDS_BURST_COUNT in usage.py."""


class AccessCounts:
    """`forbidden`: refusals for want of a right, by what was refused. `limited`: refusals by the limit that was
    reached; the core counts what it refuses for an account's requests in flight and bytes waiting."""

    __slots__ = ("forbidden", "limited")

    def __init__(self) -> None:
        self.forbidden: dict[Action, int] = dict.fromkeys(Action, 0)
        self.limited: dict[Limit, int] = dict.fromkeys(Limit, 0)
