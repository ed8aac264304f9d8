"""The settings of the log of any program: the table [log].

Must not know how lines are written.
"""

from dataclasses import dataclass
from typing import Final

from ..configuration.kinds import Choice, Dictionary, Text
from ..configuration.schema import Table, setting

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("human", "json")

LOGGERS_COUNT_MAX: Final = 100
"""Loggers with their own level. All programs together have about thirty, and users have theirs."""

LOGGER_LENGTH_MAX: Final = 128
"""Characters of a logger's name."""

WIRE_LOGGER: Final = "taskferry.websocket"
"""The WebSocket library's logger. At level debug it writes headers and payloads, which a log must not contain."""


def _check_levels(levels: dict[str, str]) -> None:
    if levels.get(WIRE_LOGGER) == "debug":
        raise ValueError(
            f'"{WIRE_LOGGER}": debug would log payloads and tokens; the lowest level allowed is info'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a program logs."""

    level: str = setting(
        "info",
        Choice(LEVELS),
        "Lowest level to log, to standard error. The default of `taskferry request` is `error`.",
        option="--log-level",
        is_live=True,
    )
    format: str = setting(
        "human",
        Choice(FORMATS),
        "Lines for people, or one JSON object per line (see docs/log.md).",
        option="--log-format",
        is_live=True,
    )
    levels: dict[str, str] = setting(  # noqa: RUF009  a field, made by a function of ours
        {},
        Dictionary(
            Text(LOGGER_LENGTH_MAX, length_min=1), Choice(LEVELS), LOGGERS_COUNT_MAX, check=_check_levels
        ),
        "Logger to its lowest level, for it and its children, instead of `level`. On the command line and in the "
        "environment: `--log-level LOGGER=LEVEL`.",
        option="",
        is_live=True,
    )


LOG: Final = Table("log", LogSettings, "TASKFERRY_LOG_")
