"""The bounds of the wire, each with its name, its value and the reason for it.

A bound that an operator may change is a broker setting, whose default is here; every other one is part of the protocol
and the same everywhere. PROTOCOL.md lists them, and a test compares the two.
"""

from typing import Final

MESSAGE_SIZE_BYTES_MAX: Final = 1024 * 1024
"""One WebSocket message, envelope included: the default that WebSocket libraries themselves accept."""

ENVELOPE_SIZE_BYTES_MAX: Final = 4096
"""Room for everything but `data` in one message. `data` and results may take the message bound less this, so that
a broker's envelope never pushes a message over the bound that its receiver accepts."""

NAME_LENGTH_MAX: Final = 128
"""Characters of a command's or a worker's name: they become metric labels and table columns."""

REQUEST_ID_LENGTH_MAX: Final = 128
"""Characters of a request_id: a UUID takes 36, a namespaced one fits too."""

TRACE_LENGTH_MAX: Final = 256
"""Characters of `trace`: a W3C traceparent takes 55 today, later versions may take more."""

AFFINITY_LENGTH_MAX: Final = 128
"""Characters of an affinity key."""

TEXT_LENGTH_MAX: Final = 4096
"""Characters of an error text or a reason; a longer one is cut by the SDK that makes it or the broker that passes it
on."""

CODE_LENGTH_MAX: Final = 64
"""Characters of an error code."""

TIMEOUT_S_DEFAULT: Final = 30.0
"""The timeout of a request that gives none."""

TIMEOUT_S_MAX: Final = 3600.0
"""The longest timeout: what waits longer than an hour is a job, not a request."""

PRIORITY_DEFAULT: Final = 5
PRIORITY_MAX: Final = 9
"""Priorities are 0 (lowest) to 9 (highest)."""

COMMANDS_COUNT_MAX: Final = 1000
"""Commands that one worker may serve; each costs an entry in the broker's tables."""

CONCURRENCY_DEFAULT: Final = 1
"""Slots of a worker that gives no number: one assignment at a time is what a ten-line worker can handle."""

CONCURRENCY_MAX: Final = 10_000
"""Slots of one worker; each may keep an assignment in the broker's memory."""

WEIGHT_MIN: Final = 0.01
WEIGHT_DEFAULT: Final = 1.0
WEIGHT_MAX: Final = 100.0
"""A worker's share relative to the others; a factor over 10,000 between two workers is an error."""

LABELS_COUNT_MAX: Final = 32
LABEL_LENGTH_MAX: Final = 128
"""Labels of one worker, and the characters of a label's key or value."""

LABEL_VALUES_COUNT_MAX: Final = 32
TARGET_VALUES_COUNT_MAX: Final = 64
"""Values of one label of a target, any of which matches, and of all of its labels: each is hashed for each request."""

DEVICE_FACTS_COUNT_MAX: Final = 16
DEVICE_FACT_LENGTH_MAX: Final = 256
DEVICE_LENGTH_MAX: Final = 2048
"""Facts that a program gives about the device that it runs on; the characters of a fact's name or value, long enough
for what a browser calls itself; and those of all facts together. Each connection keeps its own, and lists of
connections have them all."""

HEDGE_S_MIN: Final = 0.001
"""The shortest wait before a request is hedged: the resolution of the broker's timers."""

IN_FLIGHT_COUNT_MAX: Final = 10_000
"""Requests in flight on one requester connection; one more is `overloaded`."""

HEARTBEAT_INTERVAL_S: Final = 4.0
"""A side that has received nothing for this long sends a heartbeat."""

SILENCE_S_MAX: Final = 8.0
"""A link that has been silent for this long is dead: two heartbeats missed. Links are checked every half second, so a
worker that was stopped is out of rotation within 10 s."""

TOKEN_LENGTH_MAX: Final = 8000
"""Characters of a token. The line of a request's head that carries it may have 8 KiB, everywhere."""

EXPIRY_NOTICE_S: Final = 30.0
"""How long before a login runs out its connection gets `expiring`: time enough to fetch a token and send it."""

HANDSHAKE_S_MAX: Final = 10.0
"""From accepting a connection to the end of its WebSocket handshake, and from there to a worker's `connect`."""

FAULTS_COUNT_MAX: Final = 1000
"""Messages in a row that do not decode, after which a connection is closed. Each is answered, which costs more than a
request; a program that sends so many of them does not read the answers."""

JOB_ID_LENGTH_MAX: Final = 128
"""Characters of a job_id, a client_id, a schedule's name, a `unique` or a `key`: as of a request_id."""

JOB_TIMEOUT_S_DEFAULT: Final = 3600.0
JOB_TIMEOUT_S_MAX: Final = 604_800.0
"""The time for one attempt of a job: an hour, as for the longest request, and at most a week."""

ATTEMPTS_COUNT_DEFAULT: Final = 10
ATTEMPTS_COUNT_MAX: Final = 100
"""How often a job is tried before it is dead. With the usual waits ten attempts take seven hours: long enough for a
night's outage to be noticed and ended. Each failed attempt is kept."""

LOSSES_COUNT_MAX: Final = 3
"""How many workers a job may cost before it is dead: it is then itself the suspect."""

BACKOFF_COUNT_MAX: Final = 20
"""Waits that a job may list; the last one is repeated."""

AFTER_COUNT_MAX: Final = 100
"""Jobs that one job may wait for."""

KEY_LIMIT_MAX: Final = 10_000
"""Jobs of one key that may run at once: as many as one worker has slots."""

KEEP_S_MAX: Final = 7_776_000.0
"""The longest time that an ended job may be kept: 90 days."""

DELAY_S_MAX: Final = 31_536_000.0
"""How far ahead a job may be put off: a year."""

LIST_COUNT_DEFAULT: Final = 100
LIST_COUNT_MAX: Final = 1000
"""Jobs in one answer to `list`."""

RUNNING_COUNT_MAX: Final = 20_000
"""Attempts that a worker may claim when it connects: those that it runs, and as many whose results were not settled."""

GATHER_COUNT_MAX: Final = 10_000
"""Workers of one gather: as many as connections on one port, by default."""

CUSTOM_SIZE_BYTES_MAX: Final = 65_536
"""The data of a message of the user's own: a broadcast is sent to thousands."""

PROGRESS_SIZE_BYTES_MAX: Final = 4096
"""What an attempt reports of its progress: a number and a text. The broker keeps the last report of each."""

STREAM_CHUNKS_COUNT_MAX: Final = 64
STREAM_SIZE_BYTES_MAX: Final = 256 * 1024
"""Chunks of one stream, and the bytes of their `data`, that were sent and not yet taken: at 2 ms to the reader and back
still 128 MiB/s. 10,000 streams whose readers are slow hold 2.5 GiB. One chunk of any size may be sent if none is
untaken."""

TOPIC_LENGTH_MAX: Final = 160
"""Characters of a topic, or of a pattern: an id of 128, with what is before it."""

TOPICS_COUNT_MAX: Final = 100
"""Topics and patterns of one subscriber, and of one `subscribe`. Each of them may have a ring of events."""

EVENT_SIZE_BYTES_MAX: Final = 65_536
"""The data of an event that is published. It is sent to many, and kept for those that come back."""

BATCH_COUNT_DEFAULT: Final = 10
BATCH_S_DEFAULT: Final = 0.1
"""Events for one subscriber are sent when there are so many, or so long after the last were sent."""
