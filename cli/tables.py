"""The output of `taskferry workers`, `connections` and `status` for people, and the look of all such tables."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from ..program.fitted_table import Column, empty, fitted

_STATE_STYLES: Final = {
    "healthy": "green",
    "serving": "green",
    "starting": "cyan",
    "joining": "cyan",
    "probing": "cyan",
    "ejected": "red",
}


def workers(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/workers: one row per worker. Raises KeyError or TypeError for any other answer."""
    rows = answer["workers"]
    if not rows:
        return [empty("worker", "state", "commands")]
    reasons = [row.get("reason") or "" for row in rows]
    columns = [
        texts("worker", (row["worker_id"] for row in rows)),
        Column("state", [state_text(row["state"]) for row in rows], rank=1),
        numbers("in flight", (f"{row['in_flight']}/{row['concurrency']}" for row in rows), rank=3),
        numbers("succeeded", (f"{row['succeeded_count']:,}" for row in rows), rank=6),
        numbers("failed", (f"{row['failed_count']:,}" for row in rows), rank=5),
        numbers("weight", (f"{row['weight']:g}" for row in rows), rank=9),
        numbers("speed", (f"{row.get('speed', 1.0):g}" for row in rows), rank=10),
        numbers("ejections", (f"{row.get('ejections_count', 0):,}" for row in rows), rank=11),
        texts("labels", (_labels(row) for row in rows), rank=2),
        texts("peer", (row["peer"] or "" for row in rows), rank=8),
        texts("connected", (duration(row["connected_s"]) for row in rows), rank=7),
        *([texts("why", reasons, rank=4)] if any(reasons) else []),
        texts("commands", map(_commands, rows)),
    ]
    return [fitted(columns, wraps=True, keeps_words=True, names_missing=True)]


def connections(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/connections: one row per connection, those of one client next to each other. Raises KeyError
    or TypeError for any other answer."""
    rows = sorted(answer["connections"], key=lambda row: (row["identity"], _client(row)))
    if not rows:
        return [empty("connection", "port", "identity", "client")]
    columns = [
        texts("connection", (row["connection_id"] for row in rows)),
        texts("port", (row["port"] for row in rows), rank=4),
        texts("identity", (row["identity"] for row in rows), rank=3),
        texts("client", map(_client, rows), rank=1),
        texts("connected", (duration(row["connected_s"]) for row in rows), rank=5),
        texts("heard", (f"{duration(row['heard_s'])} ago" for row in rows), rank=6),
        numbers("in", (f"{row['received_count']:,}" for row in rows), rank=7),
        numbers("out", (f"{row['sent_count']:,}" for row in rows), rank=8),
        texts("peer", (row["peer"] for row in rows), rank=2),
        texts("device", (" ".join(f"{key}={value}" for key, value in row["device"].items()) for row in rows)),
    ]
    return [fitted(columns, wraps=True, names_missing=True)]


def _client(connection: dict[str, Any]) -> str:
    """What a connection calls itself."""
    return connection["client_id"] or connection["worker_id"] or ""


def _labels(worker: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in worker["labels"].items())


def _commands(worker: dict[str, Any]) -> str:
    """Those that the row lists, and how many more there are."""
    names = worker["commands"]
    more_count = worker.get("commands_count", len(names)) - len(names)
    return ", ".join([*names, f"and {more_count:,} more"] if more_count > 0 else names)


def status(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/status: the broker and its commands. Raises KeyError or TypeError for any other answer."""
    facts: dict[str, str | Text] = {
        "version": answer["version"],
        "state": state_text(answer["state"]),
        "up": duration(answer["uptime_s"]),
        "strategy": answer["strategy"],
    }
    for name in ("worker", "requester", "submitted", "in_flight", "queued"):
        title = {"worker": "workers", "requester": "requesters"}.get(name, name.replace("_", " "))
        facts[title] = f"{answer[f'{name}_count']:,}"
    if answer.get("unready_commands"):
        facts["not ready for"] = Text(", ".join(answer["unready_commands"]), style="cyan")
    for outcome, count in answer["outcomes"].items():
        if count:
            facts[f"  {outcome}"] = f"{count:,}"
    for name, count in answer.get("counts", {}).items():
        if count:
            facts[name.replace("_", " ")] = f"{count:,}"
    shown = [facts_table(facts)]
    if answer.get("jobs") is not None:
        shown.append(facts_table(_jobs(answer["jobs"])))
    elif answer.get("jobs_error") is not None:
        shown.append(facts_table({"jobs": Text(f"none are kept: {answer['jobs_error']}", style="red")}))
    rows = answer["commands"]
    if rows:
        columns = (
            texts("command", (row["command"] for row in rows)),
            numbers("workers", (f"{row['worker_count']:,}" for row in rows)),
            numbers("queued", (f"{row['queued_count']:,}" for row in rows)),
        )
        shown.append(fitted(columns, wraps=False))
    return shown


def _jobs(jobs: dict[str, Any]) -> dict[str, str | Text]:
    """The lines about jobs and their journal."""
    states, journal = jobs["states"], jobs["journal"]
    facts: dict[str, str | Text] = {"jobs submitted": f"{jobs['submitted_count']:,}"}
    if jobs["duplicates_count"]:
        facts["  duplicates"] = f"{jobs['duplicates_count']:,}"
    for name in (*jobs["ended"], *(f"refused: {code}" for code in jobs["refused"])):
        count = jobs["ended"].get(name) or jobs["refused"].get(name.removeprefix("refused: "))
        facts[f"  {name}"] = f"{count:,}"
    facts["jobs now"] = ", ".join(f"{count:,} {state}" for state, count in states.items() if count) or "none"
    if jobs["oldest_ready_s"] is not None:
        facts["  oldest ready"] = f"for {duration(jobs['oldest_ready_s'])}"
    for name, count in jobs["counts"].items():
        if count:
            facts[f"  {name.replace('_', ' ')}"] = f"{count:,}"
    free = "" if journal["free_bytes"] is None else f", {size(journal['free_bytes'])} free on its disk"
    facts["journal"] = f"{journal['path']}: {size(journal['size_bytes'])}{free}"
    if journal["error"] is not None:
        facts["  failing"] = Text(f"no job is accepted: {journal['error']}", style="red")
    return facts


def facts_table(facts: Mapping[str, str | Text]) -> Table:
    """Names and their values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(Text(name), fact if isinstance(fact, Text) else Text(fact))
    return table


def texts(title: str, cells: Iterable[str], rank: int = 0) -> Column:
    """A column of texts that are printable."""
    return Column(title, [Text(cell) for cell in cells], rank)


def numbers(title: str, cells: Iterable[str], rank: int = 0) -> Column:
    """A column of numbers."""
    return Column(title, [Text(cell) for cell in cells], rank, is_number=True)


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STATE_STYLES.get(state, "yellow"))


def duration(duration_s: float) -> str:
    """A time for people: `12 s`, `3.5 h`."""
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if duration_s >= size_s:
            return f"{duration_s / size_s:.1f} {unit}"
    return f"{duration_s:.0f} s"


def size(size_bytes: int) -> str:
    """A size for people: `512 B`, `3.5 MiB`."""
    number, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
