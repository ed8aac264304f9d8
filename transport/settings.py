"""The bounds of one link. The defaults are those of the worker port; each program decides which of its ports differ."""

from dataclasses import dataclass

from ..protocol import limits


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Bounds in seconds and bytes.

    `message_size_bytes_max`: one incoming message (125 or more). `unsent_size_bytes_max`: what may be queued here for a
    peer that reads too slowly; 64 MiB hold a burst of the largest messages. `heartbeat_interval_s`: silence before the
    peer is pinged; `silence_s_max`: how long it may be silent, or not read, before it is dropped. `handshake_s_max`,
    `handshake_size_bytes_max`: the opening handshake (a browser's head with cookies stays under 16 KiB).
    `close_s_max`: the closing handshake. `reads_only_while_writable`: read nothing from a peer while it does not read
    what is queued for it.
    """

    message_size_bytes_max: int = limits.MESSAGE_SIZE_BYTES_MAX
    unsent_size_bytes_max: int = 64 * 1024 * 1024
    heartbeat_interval_s: float = limits.HEARTBEAT_INTERVAL_S
    silence_s_max: float = limits.SILENCE_S_MAX
    handshake_s_max: float = limits.HANDSHAKE_S_MAX
    handshake_size_bytes_max: int = 16 * 1024
    close_s_max: float = 2.0
    reads_only_while_writable: bool = False
