"""The bounds of a worker program that are not the wire's, each with its name, its value and the reason for it.

Imports nothing, so that the command line can show them without loading the worker.
"""

from typing import Final

CONCURRENCY_DEFAULT: Final = 16
"""Slots of a worker that gives no number: handlers that wait overlap, and one worker does not swallow a whole queue."""

GRACE_S_DEFAULT: Final = 10.0
GRACE_S_MAX: Final = 3600.0
"""Seconds that running handlers get when the worker is asked to stop. The default is what container platforms wait
before they kill; the maximum is the longest timeout that a request can have."""

THREAD_COUNT_DEFAULT_MAX: Final = 128
THREAD_COUNT_MAX: Final = 1000
"""Threads for plain handlers. By default one per slot up to 128: beyond that, threads cost more in memory and switching
than they gain; an operator who knows better can set more."""

PROCESS_COUNT_MAX: Final = 256
"""Processes for `executor="process"` handlers, and worker processes of `--processes`: more than cores is an error."""

TASKS_PER_PROCESS_COUNT_MAX: Final = 1_000_000
"""The most that `max_tasks_per_process` can be. A handler that leaks so little that more makes sense needs no bound."""

PROCESS_GRACE_S: Final = 0.5
"""How long a handler in a process gets to clean up when it is cancelled, before its process is killed; and a process,
to end by itself when it has nothing more to do. Half of STOP_S_MAX, so that it is over within that."""

PROCESSES_CLOSING_S_MAX: Final = 1.0
"""How long a worker that ends waits for the processes that it has killed. They end at once, unless the system is
busy."""

CHANNEL_READ_SIZE_BYTES: Final = 1024 * 1024
"""What a process takes of a call in one read."""

INCOMING_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One message from the broker. The broker bounds what it accepts from requesters, by default at 1 MiB; an operator may
raise that to this."""

DISCONNECT_ANSWER_S_MAX: Final = 2.0
"""How long a worker that leaves waits for the broker to confirm that no assignment follows."""

STOP_S_MAX: Final = 1.0
"""How long cancelled handlers get to clean up when a worker stops at once."""

LEAVING_S_MAX: Final = 7.0
"""How much longer than its grace a worker may take that ends in order: attempts are given back (STOP_S_MAX), the last
results settled (SETTLED_S_MAX), handlers stopped and the link closed (STOP_S_MAX each), processes ended (1 s). Whatever
blocks it then, its process ends."""

STOPPING_S_MAX: Final = 3.0
"""The same of one that stops at once: handlers are stopped, the link closed, processes ended."""

CLOSING_S_MAX: Final = 1.0
"""How long the event loop may take to close, once the worker has ended: a coroutine that refuses to be cancelled would
hold it for ever."""

FLUSH_S_MAX: Final = 1.0
"""How long exit functions, and whoever reads the standard streams, may take when the process ends without its
threads."""

DEADLINE_ALLOWANCE_S: Final = 0.1
"""How much later than the deadline a worker cancels by itself. The broker decides on deadlines, and its `cancel` comes
first; the worker's own check is for when it does not come."""

DEADLINE_SWEEP_S_MIN: Final = 0.01
"""Deadlines are checked no more often than this, however many there are."""

HEARTBEAT_INTERVAL_S_MIN: Final = 0.05
"""A broker that asks for heartbeats more often than this gets them at this interval."""

BLOCKED_S_MAX: Final = 2.0
"""An event loop that is blocked for this long is reported: half a heartbeat interval, well before the broker considers
the worker dead."""

KEPT_RESULTS_COUNT_MAX: Final = 10_000
"""Results of jobs that wait for the broker to settle them. A worker may claim 20,000 attempts (RUNNING_COUNT_MAX) when
it connects, and can run 10,000 of them."""

KEPT_RESULTS_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The same results in bytes: half of what a link may have queued, as all are sent again when the broker is back."""

SETTLED_S_MAX: Final = 2.0
"""How long a worker that leaves waits for the broker to settle the last results: many times an fsync."""

PROGRESS_INTERVAL_S: Final = 0.1
"""Progress is sent no more often than this: more often than anybody can read it."""

PROGRESS_TEXT_LENGTH_MAX: Final = 256
"""Characters of the text that goes with progress: a line."""
