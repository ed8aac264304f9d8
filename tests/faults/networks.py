"""A network of two machines, one of them a Linux network namespace, whose packets can be lost in silence.

The other is the one that the test runs on; a veth pair connects them. Packets are lost because their sender has a wrong
hardware address for the receiver: no error, no reset, and in one direction only if one side has it. That needs root or
CAP_NET_ADMIN, and iproute2. Whatever happens to the test, the kernel removes all of it with the last process in the
namespace, and the process that holds it ends when its standard input does, which is with the test process.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from tests.processes import PATIENCE_S, wait_until

NOWHERE: Final = "02:00:00:00:00:ff"
"""A hardware address that no interface has."""

_numbers: Final = itertools.count()


class Network:
    """`host` is this machine's address, on which a broker may listen, `address` that of the namespace. `wrapper` goes
    before a program that is to run in the namespace. Both addresses are 10.231.N.x, N from the process id, so that
    parallel tests do not meet. Raises AssertionError if the machine does not allow it."""

    def __init__(self) -> None:
        pair = (os.getpid() + next(_numbers)) % 250 + 1
        self.host, self.address = f"10.231.{pair}.1", f"10.231.{pair}.2"
        self._link = f"tf{os.getpid()}-{pair}"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        inside = f"/proc/{self._holder.pid}/ns/net"
        self.wrapper = ("nsenter", f"--net={inside}")
        try:
            own = os.stat("/proc/self/ns/net").st_ino
            wait_until(lambda: os.stat(inside).st_ino != own, "the namespace exists")
            _run(
                "ip",
                "link",
                "add",
                self._link,
                "type",
                "veth",
                "peer",
                "name",
                "far",
                "netns",
                str(self._holder.pid),
            )
            for wrapper, name, address in (((), self._link, self.host), (self.wrapper, "far", self.address)):
                _run(*wrapper, "ip", "address", "add", f"{address}/30", "dev", name)
                _run(*wrapper, "ip", "link", "set", name, "up")
            _run(*self.wrapper, "ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def lose_to_namespace(self) -> None:
        """Lose what this machine sends into the namespace."""
        _run("ip", "neigh", "replace", self.address, "lladdr", NOWHERE, "dev", self._link, "nud", "permanent")

    def lose_from_namespace(self) -> None:
        """Lose what the namespace sends to this machine."""
        arguments = ("ip", "neigh", "replace", self.host, "lladdr", NOWHERE, "dev", "far", "nud", "permanent")
        _run(*self.wrapper, *arguments)

    def heal(self) -> None:
        """Lose nothing from here on. What TCP had not got acknowledged it sends again."""
        _run("ip", "neigh", "flush", "dev", self._link, "nud", "permanent")
        _run(*self.wrapper, "ip", "neigh", "flush", "dev", "far", "nud", "permanent")

    def close(self) -> None:
        assert self._holder.stdin is not None
        # The kernel would remove it too, but some seconds after the last process in the namespace has ended.
        subprocess.run(["ip", "link", "delete", self._link], capture_output=True, check=False)
        self._holder.stdin.close()
        self._holder.wait(PATIENCE_S)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"


@cache
def why_no_network() -> str:
    """Why this machine allows no such network; empty if it does."""
    if sys.platform != "linux":
        return "network namespaces exist on Linux only"
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not found; on Debian and Ubuntu: apt install iproute2 util-linux"
    try:
        Network().close()
    except AssertionError as error:
        return f"no network namespace without root or CAP_NET_ADMIN ({error})"
    return ""


@contextmanager
def two_machines() -> Iterator[Network]:
    """A network for one test."""
    network = Network()
    try:
        yield network
    finally:
        network.close()
