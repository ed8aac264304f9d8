"""The bounds of one link. Which ones differ by port is the shell's business; the defaults are the worker port's."""

from dataclasses import dataclass

from ..protocol import limits


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Bounds in seconds and bytes.

    `message_size_bytes_max`: one incoming message (125 or more). `unsent_size_bytes_max`: what may wait here for a peer
    that reads too slowly; 64 MiB hold a burst of the largest messages. `heartbeat_interval_s`: silence before the peer
    is pinged; `silence_s_max`: silence, or refusal to read, after which it is given up. `handshake_s_max`,
    `handshake_size_bytes_max`: the opening handshake (a browser's head with cookies stays under 16 KiB).
    `close_s_max`: the closing handshake. `reads_only_while_writable`: take nothing from a peer while it does not
    take what is meant for it.
    """

    message_size_bytes_max: int = limits.MESSAGE_SIZE_BYTES_MAX
    unsent_size_bytes_max: int = 64 * 1024 * 1024
    heartbeat_interval_s: float = limits.HEARTBEAT_INTERVAL_S
    silence_s_max: float = limits.SILENCE_S_MAX
    handshake_s_max: float = limits.HANDSHAKE_S_MAX
    handshake_size_bytes_max: int = 16 * 1024
    close_s_max: float = 2.0
    reads_only_while_writable: bool = False
