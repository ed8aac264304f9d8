"""The sockets of a port, for whatever listens on them."""

import errno
import socket
from typing import Any, Final

_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A machine's hosts file may name an address, mostly ::1, that this machine has not got."""


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, bound to `port` (0: any free one, the same for all); at least one. `::` is
    every address, those of IPv4 included. Blocks to look up a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            number = listeners[0].getsockname()[1] if listeners else port
            try:
                listeners.append(_bound(family, kind, protocol, (address[0], number, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if missing is not None and not listeners:
            raise missing
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bound(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Systems differ in what they do by themselves; two sockets could not share `::` with 0.0.0.0.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
