"""The types of the fields that messages have in common, each with its bound."""

from typing import Annotated, Final

from msgspec import Meta

from . import limits

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]*\Z"
NAME_RULE: Final = "only letters, digits and _ . : @ / - may be used, a letter or digit first"
"""NAME_PATTERN for people."""

Token = Annotated[str, Meta(min_length=1, max_length=limits.TOKEN_LENGTH_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=NAME_PATTERN)]
CommandName = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
RequestId = Annotated[str, Meta(min_length=1, max_length=limits.REQUEST_ID_LENGTH_MAX)]
MessageId = Annotated[str, Meta(max_length=limits.REQUEST_ID_LENGTH_MAX)]
Timeout = Annotated[float, Meta(gt=0, le=limits.TIMEOUT_S_MAX)]
Priority = Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)]
Affinity = Annotated[str, Meta(max_length=limits.AFFINITY_LENGTH_MAX)]
Trace = Annotated[str, Meta(max_length=limits.TRACE_LENGTH_MAX)]
Label = Annotated[str, Meta(max_length=limits.LABEL_LENGTH_MAX)]
Labels = Annotated[dict[Label, Label], Meta(max_length=limits.LABELS_COUNT_MAX)]
Fact = Annotated[str, Meta(max_length=limits.DEVICE_FACT_LENGTH_MAX)]
Device = Annotated[dict[Fact, Fact], Meta(max_length=limits.DEVICE_FACTS_COUNT_MAX)]
"""What a program says of the device that it runs on, for people."""
LabelValues = Annotated[list[Label], Meta(min_length=1, max_length=limits.LABEL_VALUES_COUNT_MAX)]
Target = Annotated[dict[Label, Label | LabelValues], Meta(min_length=1, max_length=limits.LABELS_COUNT_MAX)]
"""Labels that a worker must have: every key, with the value or any one of the values."""
HEDGE_PATTERN: Final = r"^p[1-9][0-9]?\Z"
HEDGE_RULE: Final = "a number of seconds, or a percentile: p1 to p99"
"""HEDGE_PATTERN for people."""

Hedge = (
    Annotated[float, Meta(ge=limits.HEDGE_S_MIN, le=limits.TIMEOUT_S_MAX)]
    | Annotated[str, Meta(pattern=HEDGE_PATTERN)]
)
"""When a request is hedged: after this many seconds, or once it has taken longer than that percentile of the command's
requests (`p1` to `p99`)."""


JobId = Annotated[str, Meta(min_length=1, max_length=limits.JOB_ID_LENGTH_MAX)]
Seconds = Annotated[float, Meta(ge=0, le=limits.DELAY_S_MAX)]
Backoff = Annotated[float, Meta(ge=0, le=limits.JOB_TIMEOUT_S_MAX)]
Backoffs = Annotated[list[Backoff], Meta(min_length=1, max_length=limits.BACKOFF_COUNT_MAX)]
Attempts = Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_COUNT_MAX)]
JobTimeout = Annotated[float, Meta(gt=0, le=limits.JOB_TIMEOUT_S_MAX)]
ListCount = Annotated[int, Meta(ge=1, le=limits.LIST_COUNT_MAX)]
