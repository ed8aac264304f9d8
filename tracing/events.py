"""Every line that tracing logs: names, levels and fields. docs/log.md is written from them."""

import logging
from typing import ClassVar

from ..log.event import Event


class TracingFailed(Event, frozen=True):
    """A sampler or a span processor that the program has plugged into OpenTelemetry has failed. The call goes on,
    without that span. With the traceback."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "a span was lost: {exception}"
    same: ClassVar[tuple[str, ...] | None] = ("exception",)
    exception: str
