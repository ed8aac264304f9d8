"""A worker that joins again and again: `joining.py URL COMMANDS_COUNT RATE [PREFIX]`, each time with other commands, or
with those of that PREFIX.

It tries at most RATE times in a second, one after the other, and leaves as soon as it has its answer; it does not care
when it was told to come back. Prints `N joined, M refused` after every tenth attempt. Ends at SIGTERM."""

import json
import secrets
import sys
import time
from typing import Final

from tests.faults.raw_peer import TEXT, RawPeer, frame

PATH: Final = __file__


def joins(url: str, commands_count: int, prefix: str) -> bool:
    """Whether the broker takes it."""
    commands = [f"{prefix}-{number}" for number in range(commands_count)]
    hello = {"type": "connect", "data": {"name": secrets.token_hex(8), "commands": commands}}
    with RawPeer(url) as peer:
        peer.send(frame(TEXT, json.dumps(hello).encode()))
        answer = json.loads(peer.receive().payload)
    if answer["type"] == "connect":
        return True
    assert answer["data"]["code"] == "rate_limited", answer
    assert answer["data"]["retry_after"] > 0, answer
    return False


def main(url: str, commands_count: int, rate: int, prefix: str | None) -> None:
    joined_count = refused_count = 0
    due_at = time.monotonic()
    while True:
        if joins(url, commands_count, prefix or secrets.token_hex(8)):
            joined_count += 1
        else:
            refused_count += 1
        if not (joined_count + refused_count) % 10:
            sys.stdout.write(f"{joined_count} joined, {refused_count} refused\n")
            sys.stdout.flush()
        due_at = max(due_at + 1 / rate, time.monotonic() - 1 / rate)
        time.sleep(max(0.0, due_at - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
