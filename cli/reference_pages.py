"""Writes docs/configuration.md and docs/log.md from the declarations: `python -m taskferry.cli.reference_pages docs`.

What a page says about a setting or an event must be declared there.
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
from ..log.writer import FLUSH_S_MAX, QUEUE_SIZE_BYTES_MAX
from .check_config import all_tables
from .config_file import toml_value

PROGRAM_OF_TABLE: Final = {
    "broker": "`taskferry broker`. `--config FILE`, or `TASKFERRY_BROKER_CONFIG`.",
    "worker": "`taskferry worker`. `--config FILE`, or `TASKFERRY_WORKER_CONFIG`. A setting that is left out here is "
    "as the module says. Every change needs a restart.",
    "requester": "`taskferry request`. `--config FILE`, or `TASKFERRY_REQUEST_CONFIG`. Options of a single request, "
    "such as its target, are on the command line only.",
    "log": "Every program. Each also has its own variables, which override the shared ones: "
    "`TASKFERRY_BROKER_LOG_LEVEL`, `TASKFERRY_WORKER_LOG_LEVEL`, `TASKFERRY_REQUEST_LOG_LEVEL`, and the same with "
    "`_FORMAT`.",
}

CONFIGURATION_HEAD: Final = """\
# Configuration

<!-- Written by `make docs` from the declarations in the sources. Changes here are lost. -->

Each program takes its settings from four sources. A later one overrides an earlier one:

1. the defaults,
2. a TOML file (`--config FILE`): the program's own table, and `[log]`,
3. the environment,
4. the command line.

All programs can share one file: each reads its own table and ignores the others. A table or key that is not listed here
is an error, and so is a value out of bounds, even if another source overrides it. A nested table, such as
`[broker.strategies]`, is not merged: the last source that has it replaces it. Nor is a list: its flag is repeated, one
text each, and its variable holds all texts with commas between. A relative path in the file starts at the file's
folder; any other path starts where the program was started.

`taskferry check-config FILE` checks all tables and prints every setting in force with its source. With a program and
its options, as in `taskferry check-config FILE broker --timeout 5`, it prints what that program would start with; with
`--json`, one JSON object. If there are errors, it prints a line for each, and its exit code is 2.

`taskferry config init` writes a file to begin with: every setting with its meaning, bounds and default, commented out.

A variable that looks like a setting of a program, and is none, is a warning with the name that may have been meant.

SIGHUP makes a program read its file again. Settings marked *live* change at once, and the log says which; the log also
names changes that need a restart. A file with an error changes nothing, and is reported in one line. Flags and the
environment stay as they were at the start, and still override the file. A program whose terminal was closed stops
instead.
"""

LOG_HEAD: Final = f"""\
# The log

<!-- Written by `make docs` from the declarations in the sources. Changes here are lost. -->

All programs log to standard error: lines for people, or with `--log-format json` one JSON object per line. `--log-level
warning` sets the lowest level to log, `--log-level taskferry.transport=debug` that of one logger; see
[configuration.md](configuration.md).

## Keys

Every object has these keys, in this order, followed by those of its event:

| key | value |
|---|---|
| `time` | ISO 8601, UTC, with microseconds |
| `level` | `debug`, `info`, `warning` or `error` |
| `logger` | the module that logs it, such as `taskferry.broker.run` |
| `event` | one of those below; `message` for a line from a library or a handler |
| `message` | the line for people |
| `pid` | the process |

The fields of the event may be followed by `repeated_count` and `window_s`, and by `traceback`.

## Repetitions are folded

The first line is logged at once. For {WINDOW_S:g} s after it, repetitions are only counted. They are then logged as
one line, with the fields of the last: `repeated N times in the last {WINDOW_S:g} s` (`repeated_count`, `window_s`). Two
events are repetitions if the fields named in the tables below are equal. {KEYS_COUNT_MAX:,} different lines are
remembered (`KEYS_COUNT_MAX`); beyond that, lines are folded by event alone. When a program ends it logs all counts.
What happens to a worker or to a link, such as `worker_joined` and `worker_left`, is never folded: what the log says
last is how things are.

## A log that nobody reads

Lines are written by a thread, from a queue of {QUEUE_SIZE_BYTES_MAX // 1024:,} KiB: a pipe that is not read, or a disk
that hangs, stops no program. Lines for which there is no room are dropped. Their number is logged where they are
missing (`log_lines_dropped`), and counted by the broker's metric `taskferry_log_lines_dropped_total`. At its end a
program waits up to {FLUSH_S_MAX:g} s until its last lines are written.

## What is never logged

Tokens, keys and certificates (a token is named by the first 8 digits of its SHA-256); data of requests and results; the
text of a handler's exceptions (a traceback shows places and types), unless a worker has `--log-handler-errors`; values
of HTTP headers; user, password, query and fragment of URLs. The logger `taskferry.websocket` cannot be set to `debug`,
because the library would then log all of these. If your own program runs a worker or a requester and sets up logging
itself, it gets records with their exceptions, as usual in Python.
"""

EVENTS_OF: Final = {
    "Every program": "program.events",
    "The log itself": "log.events",
    "The broker": "broker.events",
    "The keys that a broker fetches": "broker.identity.events",
    "Workers": "worker.events",
    "Requesters": "requester.events",
    "Logins of workers and requesters": "credentials.events",
    "Tracing": "tracing.events",
}


def configuration_page() -> str:
    """docs/configuration.md."""
    parts = [CONFIGURATION_HEAD]
    for table in all_tables():
        parts.append(f"## [{table.name}]\n\n{PROGRAM_OF_TABLE[table.name]}\n")
        parts.append(
            "| key | values | default | flag, variable | live | meaning |\n|---|---|---|---|---|---|"
        )
        parts += [_setting_row(setting) for setting in table.settings.values()]
        parts.append("")
    return "\n".join([*parts, _example(all_tables())])


def log_page() -> str:
    """docs/log.md."""
    parts = [LOG_HEAD]
    for title, module in EVENTS_OF.items():
        parts.append(
            f"## {title}\n\n| event | level | fields | repeats if equal | meaning |\n|---|---|---|---|---|"
        )
        parts += [_event_row(event) for event in _events(importlib.import_module(f"taskferry.{module}"))]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _setting_row(setting: Setting) -> str:
    option = [f"`{setting.option}`", f"`{setting.variable}`"] if setting.option else []
    live = "live" if setting.is_live else ""
    default = setting.default_text if setting.default is None else f"`{setting.default_text}`"
    expected = setting.kind.expected
    if isinstance(setting.kind, Text) and (setting.kind.is_url or setting.kind.is_path):
        expected = "a URL" if setting.kind.is_url else "a path"
    cells = (f"`{setting.key}`", expected, default, " ".join(option), live, setting.help)
    return _row(cells)


def _events(module: ModuleType) -> Iterator[type[Event]]:
    for found in vars(module).values():
        if isinstance(found, type) and issubclass(found, Event) and found is not Event:
            yield found


def _event_row(event: type[Event]) -> str:
    fields = ", ".join(f"`{name}`" for name in event.__struct_fields__)
    same = "never folded" if event.same is None else ", ".join(f"`{name}`" for name in event.same)
    level = logging.getLevelName(event.level).lower()
    meaning = " ".join((inspect.getdoc(event) or "").split())
    return _row((f"`{event.name}`", level, fields, same, meaning))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _example(tables: list[Table[Any]]) -> str:
    """A file with every setting at its default."""
    lines = [
        "## A file with everything\n",
        "Each line is the default: the same as leaving it out.\n",
        "```toml",
    ]
    for table in tables:
        inner = [setting for setting in table.settings.values() if isinstance(setting.default, dict)]
        lines.append(f"[{table.name}]")
        for setting in table.settings.values():
            if setting.default is None:
                lines.append(f"# {setting.key}: {setting.instead}")
            elif setting not in inner:
                lines.append(f"{setting.key} = {toml_value(setting.default)}")
        lines += [f"\n[{table.name}.{setting.key}]" for setting in inner]
        lines.append("")
    return "\n".join([*lines[:-1], "```", ""])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Write both pages into FOLDER."""
    for name, text in (("configuration.md", configuration_page()), ("log.md", log_page())):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
