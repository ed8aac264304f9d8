"""Times and durations as users of the SDK give them, and as they are on the wire: seconds."""

from datetime import datetime, timedelta

from ...protocol.errors import BadRequest

Duration = float | timedelta
"""Seconds, or a timedelta."""

Time = float | datetime
"""Seconds since 1970, or a datetime with a time zone."""


def seconds(name: str, duration: object) -> object:
    """A duration in seconds; anything else stays as it is, for the bounds of the wire to refuse."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def since_1970(name: str, time: object) -> object:
    """A time in seconds since 1970; anything else stays as it is. Raises BadRequest for a datetime without a zone."""
    if not isinstance(time, datetime):
        return time
    if time.tzinfo is None:
        raise BadRequest(f"{name}: {time} has no time zone: use datetime.now(UTC), or astimezone()")
    return time.timestamp()
