"""Durations and times as people write them on a command line, and how they are shown."""

import re
from datetime import datetime
from typing import Any, Final

import click

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

DURATION_FORM: Final = "a number of seconds, or as in 500ms, 90s, 10m, 1h30m, 2d, 1w"
TIME_FORM: Final = (
    "a date and time as in 2026-12-01T08:00 (here), 2026-12-01T08:00Z or 2026-12-01T08:00+02:00"
)


def duration_s(text: str) -> float:
    """The seconds that `text` stands for: `90`, `10m`, `1h30m`. Raises ValueError."""
    word = text.strip().lower()
    if _NUMBER.fullmatch(word):
        return float(word)
    parts = _PART.findall(word)
    if not parts or "".join(number + unit for number, unit in parts) != word:
        raise ValueError(f"{text!r} is not {DURATION_FORM}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def time_s(text: str) -> float:
    """The time that `text` stands for, in seconds since 1970; without a zone it is local. Raises ValueError."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is not {TIME_FORM}") from None


class Duration(click.ParamType["float"]):
    """A duration, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        try:
            return value if isinstance(value, float) else duration_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Durations(click.ParamType["list[float]"]):
    """Durations with commas between them, in seconds."""

    name = "durations"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """The seconds of each."""
        try:
            return value if isinstance(value, list) else [duration_s(word) for word in str(value).split(",")]
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType["float"]):
    """A time, in seconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        try:
            return value if isinstance(value, float) else time_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def shown_time(seconds: float | None) -> str:
    """A time of this machine's zone; "" for None."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):  # of another program
        return f"{seconds:g} s since 1970"


def shown_duration(seconds: float) -> str:
    """A duration in its largest unit: `1.5 h`, `40 ms`."""
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
