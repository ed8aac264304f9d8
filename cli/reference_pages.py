"""docs/configuration.md and docs/log.md, written from what is declared: `python -m taskferry.cli.reference_pages docs`.

Knows the tables and the events of all programs, and Markdown. Must not know anything that is not declared there.
"""

import importlib
import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from ..configuration.kinds import Text
from ..configuration.schema import Setting, Table
from ..log.event import Event
from ..log.folding import KEYS_COUNT_MAX, WINDOW_S
from .check_config import all_tables

PROGRAM_OF_TABLE: Final = {
    "broker": "`taskferry broker`. `--config FILE`, or `TASKFERRY_BROKER_CONFIG`.",
    "worker": "`taskferry worker`. `--config FILE`, or `TASKFERRY_WORKER_CONFIG`. What is not said here is the "
    "module's to say. Nothing of it changes without a restart.",
    "requester": "`taskferry request`. `--config FILE`, or `TASKFERRY_REQUEST_CONFIG`. What is said of one request "
    "alone, such as its target, stands on the command line.",
    "log": "Every program. Each also has variables of its own, which come before the shared ones: "
    "`TASKFERRY_BROKER_LOG_LEVEL`, `TASKFERRY_WORKER_LOG_LEVEL`, `TASKFERRY_REQUEST_LOG_LEVEL`, and the same with "
    "`_FORMAT`.",
}

CONFIGURATION_HEAD: Final = """\
# Configuration

<!-- Written by `make docs` from the declarations in the sources. Changes here are lost. -->

Each program takes its settings from four places; what stands further down comes before what stands above:

1. the defaults,
2. a TOML file (`--config FILE`): the program's own table, and `[log]`,
3. the environment,
4. the command line.

One file can serve all programs: each reads its own table and leaves the others alone. A table or key that is not listed
here is an error, and so is a value out of its bounds, also where another one comes before it. A table within a table,
such as `[broker.strategies]`, is taken whole from the place that counts.

`taskferry check-config FILE` checks all tables and prints every setting in force with its source; with a program and
its options behind it, as in `taskferry check-config FILE broker --timeout 5`, what that program would start with; with
`--json` it prints an object. Exit code 2 where something is wrong, with a line for each fault.

SIGHUP has a program read its file anew. What is marked *live* changes at once, and the log says what has; the rest is
named, and counts from the next start on. A file with a fault changes nothing, and is reported in one line. Flags and
the environment stay as they were at the start, and still come first. A program whose terminal has been closed stops
instead.
"""

LOG_HEAD: Final = f"""\
# The log

<!-- Written by `make docs` from the declarations in the sources. Changes here are lost. -->

All programs log to standard error: lines for people, or with `--log-format json` one JSON object a line. `--log-level
warning` sets the least that is logged, `--log-level taskferry.transport=debug` that of one logger; see
[configuration.md](configuration.md).

## Keys

Every object has these keys, in this order, and those of its event behind them:

| key | value |
|---|---|
| `time` | ISO 8601, UTC, with microseconds |
| `level` | `debug`, `info`, `warning` or `error` |
| `logger` | the module that tells it, as `taskferry.broker.run` |
| `event` | one of those below; `message` for a line of a library, or of a handler's own |
| `message` | the line for people |
| `pid` | the process |

Behind the fields of the event there may be `repeated_count` and `window_s`, and `traceback`.

## What repeats is folded

The first line is told at once. For {WINDOW_S:g} s after it its like are counted, and then told once, with the fields of
the last one: `repeated N times in the last {WINDOW_S:g} s` (`repeated_count`, `window_s`). Which events are alike is in
the tables below: those with equal values of the fields named. {KEYS_COUNT_MAX:,} different lines are remembered
(`KEYS_COUNT_MAX`); what is beyond is folded by event. At the end of a program all counts are told.

## What is never logged

Data of requests and results, a handler's own words (the text of its exceptions; a traceback shows places and types),
what headers hold, and of URLs user, password, query and fragment. The logger `taskferry.websocket` cannot be set to
`debug`, at which the library would write all of these. A program of your own that runs a worker or a requester and sets
up logging itself gets records with their exceptions, as Python's logging has them.
"""

EVENTS_OF: Final = {
    "Every program": "log.events",
    "The broker": "broker.events",
    "Workers": "worker.events",
    "Requesters": "requester.events",
}


def configuration_page() -> str:
    """docs/configuration.md."""
    parts = [CONFIGURATION_HEAD]
    for table in all_tables():
        parts.append(f"## [{table.name}]\n\n{PROGRAM_OF_TABLE[table.name]}\n")
        parts.append("| key | values | default | flag, variable | live | |\n|---|---|---|---|---|---|")
        parts += [_setting_row(setting) for setting in table.settings.values()]
        parts.append("")
    return "\n".join([*parts, _example(all_tables())])


def log_page() -> str:
    """docs/log.md."""
    parts = [LOG_HEAD]
    for title, module in EVENTS_OF.items():
        parts.append(f"## {title}\n\n| event | level | fields | alike by | |\n|---|---|---|---|---|")
        parts += [_event_row(event) for event in _events(importlib.import_module(f"taskferry.{module}"))]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _setting_row(setting: Setting) -> str:
    option = [f"`{setting.option}`", f"`{setting.variable}`"] if setting.option else []
    live = "live" if setting.is_live else ""
    default = setting.default_text if setting.default is None else f"`{setting.default_text}`"
    expected = "a URL" if isinstance(setting.kind, Text) and setting.kind.is_url else setting.kind.expected
    cells = (f"`{setting.key}`", expected, default, " ".join(option), live, setting.help)
    return _row(cells)


def _events(module: ModuleType) -> Iterator[type[Event]]:
    for found in vars(module).values():
        if isinstance(found, type) and issubclass(found, Event) and found is not Event:
            yield found


def _event_row(event: type[Event]) -> str:
    fields = ", ".join(f"`{name}`" for name in event.__struct_fields__)
    alike = "never" if event.same is None else ", ".join(f"`{name}`" for name in event.same)
    level = logging.getLevelName(event.level).lower()
    meaning = " ".join((inspect.getdoc(event) or "").split())
    return _row((f"`{event.name}`", level, fields, alike, meaning))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _example(tables: list[Table[Any]]) -> str:
    """A file that says of every setting what holds without it."""
    lines = ["## A file with everything\n", "Each line says what holds where it is left out.\n", "```toml"]
    for table in tables:
        inner = [setting for setting in table.settings.values() if isinstance(setting.default, dict)]
        lines.append(f"[{table.name}]")
        for setting in table.settings.values():
            if setting.default is None:
                lines.append(f"# {setting.key}: {setting.instead}")
            elif setting not in inner:
                lines.append(f"{setting.key} = {_toml(setting.default)}")
        lines += [f"\n[{table.name}.{setting.key}]" for setting in inner]
        lines.append("")
    return "\n".join([*lines[:-1], "```", ""])


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:_}" if isinstance(value, int) else str(value)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Write both pages into FOLDER."""
    for name, text in (("configuration.md", configuration_page()), ("log.md", log_page())):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
