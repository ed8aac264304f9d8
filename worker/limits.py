"""The bounds of a worker program that are not the wire's, each with its name, its value and the reason for it.

Knows numbers and nothing else, so that the command line can show them without loading the worker.
"""

from typing import Final

CONCURRENCY_DEFAULT: Final = 16
"""Slots of a worker that names no number: handlers that wait overlap, and one worker does not swallow a whole queue."""

GRACE_S_DEFAULT: Final = 10.0
GRACE_S_MAX: Final = 3600.0
"""Seconds that running handlers are given when the worker is told to stop. The default is what container platforms
wait before they kill; the largest is the longest deadline that a request can have."""

THREAD_COUNT_DEFAULT_MAX: Final = 128
THREAD_COUNT_MAX: Final = 1000
"""Threads for plain handlers. By default one for each slot up to 128: beyond that, threads cost more in memory and
switching than they win, and whoever knows better says so."""

PROCESS_COUNT_MAX: Final = 256
"""Processes for `executor="process"` handlers, and worker processes of `--processes`: more than cores is a mistake."""

INCOMING_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One message from the broker. The broker bounds what it takes from requesters, by default at 1 MiB; an operator may
raise that to this."""

DISCONNECT_ANSWER_S_MAX: Final = 2.0
"""How long a worker that leaves waits for the broker's word that no assignment follows."""

STOP_S_MAX: Final = 1.0
"""How long cancelled handlers are given to clean up when a worker stops at once."""

DEADLINE_ALLOWANCE_S: Final = 0.1
"""How much later than the deadline a worker cancels by itself. The broker is the judge of deadlines, and its `cancel`
comes first; the worker's own watch is for when it does not come."""

DEADLINE_SWEEP_S_MIN: Final = 0.01
"""Deadlines are looked at no more often than this, however many there are."""

HEARTBEAT_INTERVAL_S_MIN: Final = 0.05
"""A broker that asks for heartbeats faster than this gets them at this pace."""

BLOCKED_S_MAX: Final = 2.0
"""An event loop that does not turn for this long is reported: half a heartbeat, well before the broker gives the
worker up for dead."""
