"""Who a peer is, once that has been proven, and until when."""

from typing import Final, NamedTuple

from .rights import Rights

ANONYMOUS: Final = "anonymous"
"""The name of all peers that have proven nothing. No identity can be configured under it."""


class Identity(NamedTuple):
    """Who is at the other end, and what that may do. `name`: 1 to 128 characters. `expires_at`: seconds on the
    monotonic clock after which the proof is worth nothing; None: never. `proof`: what proved it, for logs, without
    anything secret: `token 3f2a9c01`, `key main`, `certificate`, or `nothing`."""

    name: str
    rights: Rights
    expires_at: float | None = None
    proof: str = "nothing"
