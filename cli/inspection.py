"""`taskferry workers` and `taskferry status`: what a running broker says of itself over HTTP, as a table or as JSON.

Knows the addresses of the broker's HTTP port; what the answers look like is in tables.py. Uses what Python brings
along: this is no hot path.
"""

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

HTTP_URL_DEFAULT: Final = "http://localhost:8767"
ANSWER_S_MAX: Final = 5.0
"""How long a broker may take to answer: it does so between two requests."""

ANSWER_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""What is read at most: 10,000 workers with many commands stay far below."""

FAILED: Final = 1
USAGE: Final = 2
NO_CONNECTION: Final = 5
"""Exit codes, the same as those of `taskferry request`."""


class InspectionError(Exception):
    """No answer, or none that can be read: one line for people, and the exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def _options(function: Function) -> Function:
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print what the broker answers, on one line."
    )
    url = click.option(
        "--http",
        "url",
        metavar="URL",
        default=HTTP_URL_DEFAULT,
        show_default=True,
        envvar="TASKFERRY_HTTP",
        show_envvar=True,
        help="The broker's HTTP port.",
    )
    return url(as_json(function))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_options
@click.pass_context
def workers(context: click.Context, url: str, as_json: bool) -> None:
    """List the workers of a running broker.

    Exit codes: 0 success, 1 no answer that can be read, 2 wrong options, 5 cannot connect.
    """
    _show(context, url, "/api/workers", as_json=as_json)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_options
@click.pass_context
def status(context: click.Context, url: str, as_json: bool) -> None:
    """Show what a running broker is doing: workers, requests, outcomes, queues.

    Exit codes: 0 success, 1 no answer that can be read, 2 wrong options, 5 cannot connect.
    """
    _show(context, url, "/api/status", as_json=as_json)


def _show(context: click.Context, url: str, path: str, *, as_json: bool) -> None:
    try:
        answer = _get(url, path)
        if as_json:
            sys.stdout.write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")) + "\n")
        else:
            _print_tables(url, path, answer)
    except InspectionError as error:
        click.echo(f"error: {error}", err=True)
        context.exit(error.exit_code)


def _get(url: str, path: str) -> Any:
    """What the broker answers there, decoded. Raises InspectionError."""
    if not _is_http_url(url):
        raise InspectionError(f"--http: {url!r} is not a URL of the form http://HOST:PORT", USAGE)
    # No proxy: a broker's HTTP port is for the network that it is in.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url.rstrip("/") + path, timeout=ANSWER_S_MAX) as response:
            return json.loads(response.read(ANSWER_SIZE_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            raise InspectionError(f"{error.url} answered {error.code} {error.reason}", FAILED) from None
    except (OSError, http.client.HTTPException) as error:
        reason = _describe(error.reason if isinstance(error, urllib.error.URLError) else error)
        hint = "Is a broker running there? Start one with: taskferry broker"
        raise InspectionError(f"cannot connect to {url}: {reason}. {hint}", NO_CONNECTION) from None
    except ValueError:
        raise _not_understood(url) from None


def _is_http_url(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _print_tables(url: str, path: str, answer: Any) -> None:
    from . import tables  # noqa: PLC0415 - rich is slow to load, and --json needs none of it

    try:
        found = tables.workers(answer) if path == "/api/workers" else tables.status(answer)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise _not_understood(url) from None
    tables.show(found)


def _not_understood(url: str) -> InspectionError:
    text = f"the answer of {url} cannot be read: is that a Taskferry broker's HTTP port?"
    return InspectionError(text, FAILED)


def _describe(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {ANSWER_S_MAX:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return " ".join(str(reason).split())  # what a strange port said may have line ends in it
