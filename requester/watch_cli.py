"""`taskferry watch`: the events of topics as lines, until Ctrl-C."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .command_line import about_jobs, client_of, epilog, run

if TYPE_CHECKING:
    from .client import Requester
    from .options import RequesterOptions
    from .topic_events import Gap, TopicEvent


@about_jobs()
@click.command("watch", short_help="Show what happens to requests, jobs and workers.")
@click.argument("topics", metavar="PATTERN...", nargs=-1, required=True)
@click.pass_context
def watch(context: click.Context, /, *, topics: tuple[str, ...], **_: Any) -> None:
    """Show the events of topics, a line for each, until Ctrl-C.

    \b
    taskferry watch 'task:*'               each step of each request, and its progress
    taskferry watch task:progress          progress alone
    taskferry watch 'worker:*' 'broker:*'  workers that come and go, overload
    taskferry watch job:nightly-7          one job
    taskferry watch news                   what programs publish there

    In a PATTERN each * stands for any text. If the connection is lost it is made again, and what was missed comes
    first; a line says so if some of it is lost.
    """
    from .subscription import check_topics  # noqa: PLC0415  for a quick --help

    try:
        check_topics(topics)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    client = client_of(context)
    run(context, client, lambda requester: _watch(requester, topics, client.settings))


watch.epilog = epilog(exit_codes.WATCH_MEANINGS)


async def _watch(requester: "Requester", topics: tuple[str, ...], settings: "RequesterOptions") -> int:
    line_of = _json_line if settings.as_json else _line
    async with requester.subscribe(*topics) as events:
        while ones := await events.next_ones():
            click.echo("\n".join(map(line_of, ones)))
    return 0


def _json_line(one: "TopicEvent | Gap") -> str:
    if hasattr(one, "offset"):
        return json.dumps(one._asdict(), ensure_ascii=False, default=str)
    return json.dumps({"type": "gap", **one._asdict()}, ensure_ascii=False)


def _line(one: "TopicEvent | Gap") -> str:
    """For people: when, what, and of what."""
    from ..log.printable import printable  # noqa: PLC0415  for a quick --help
    from .topic_events import Gap  # noqa: PLC0415

    if isinstance(one, Gap):
        count = "" if one.dropped is None else f"{one.dropped} "
        return printable(f"-- {count}events of {one.topic} are missing ({one.reason})")
    at = time.strftime("%H:%M:%S", time.localtime(one.timestamp)) + f".{int(one.timestamp * 1000) % 1000:03}"
    return printable(f"{at}  {one.topic}  {one.type}  {_words(one.data)}".rstrip())


def _words(data: Any) -> str:
    if not isinstance(data, Mapping):
        return "" if data is None else json.dumps(data, ensure_ascii=False, default=str)
    return "  ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for key, value in data.items()
    )
