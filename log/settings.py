"""What can be set on the log of any program: the table [log].

Knows levels by name and which loggers must not be talkative; must not know how lines are written.
"""

from dataclasses import dataclass
from typing import Final

from ..configuration.kinds import Choice, Dictionary, Text
from ..configuration.schema import Table, setting

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("human", "json")

LOGGERS_COUNT_MAX: Final = 100
"""Loggers with a level of their own: there are about thirty in all programs together, and a user's own come on top."""

LOGGER_LENGTH_MAX: Final = 128
"""Characters of a logger's name."""

WIRE_LOGGER: Final = "taskferry.websocket"
"""The WebSocket library's own. At level debug it writes headers and payloads, which no log of ours may hold."""


def _check_levels(levels: dict[str, str]) -> None:
    if levels.get(WIRE_LOGGER) == "debug":
        raise ValueError(
            f'"{WIRE_LOGGER}": debug would log payloads and tokens; info is the least that may be set'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a program logs."""

    level: str = setting(
        "info",
        Choice(LEVELS),
        "The least that is logged, to standard error; where nothing is said, `taskferry request` logs errors alone.",
        is_live=True,
    )
    format: str = setting(
        "human", Choice(FORMATS), "Lines for people, or one JSON object a line (docs/log.md).", is_live=True
    )
    levels: dict[str, str] = setting(  # noqa: RUF009  a field, made by a function of ours
        {},
        Dictionary(
            Text(LOGGER_LENGTH_MAX, length_min=1), Choice(LEVELS), LOGGERS_COUNT_MAX, check=_check_levels
        ),
        "Logger to the least that it logs, instead of `level`; its children do likewise. On the command line "
        "and in the environment: `--log-level LOGGER=LEVEL`.",
        option="",
        is_live=True,
    )


LOG: Final = Table("log", LogSettings, "TASKFERRY_LOG_")
