"""Requests to the HTTP port of a running broker: the options, one request, and the errors.

Must not know what is requested, nor what an answer looks like. Uses the standard library only: this is no hot path.
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

from ..log.printable import printable, printable_json
from ..program.exit_codes import FAILED, NO_CONNECTION, USAGE
from ..program.table_options import notes

Function = TypeVar("Function", bound=Callable[..., Any])

HTTP_URL_DEFAULT: Final = "http://localhost:8767"
HTTP_VARIABLE: Final = "TASKFERRY_HTTP"

ANSWER_S_MAX: Final = 5.0
"""How long a broker may take to answer, which it does between two requests."""

ANSWER_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of an answer that are read. That of 10,000 workers with many commands is far smaller."""


class HttpPortError(Exception):
    """There was no answer, or not the one requested: one line for people, and the exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def http_options(function: Function) -> Function:
    """The options `--http URL` and `--json`."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print the broker's answer as one line of JSON."
    )
    url = click.option(
        "--http",
        "url",
        metavar="URL",
        default=HTTP_URL_DEFAULT,
        envvar=HTTP_VARIABLE,
        help="HTTP port of the broker." + notes(HTTP_URL_DEFAULT, None, HTTP_VARIABLE),
    )
    return url(as_json(function))


def ask(url: str, path: str, body: object = None) -> Any:
    """The decoded answer of the broker at `url` to GET, or with a `body` to POST. Raises HttpPortError."""
    if not _is_http_url(url):
        raise HttpPortError(f"--http: {url!r} is not a URL of the form http://HOST:PORT", USAGE)
    request = urllib.request.Request(url.rstrip("/") + path)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # No proxy: a broker's HTTP port is for its own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_S_MAX) as response:
            return json.loads(response.read(ANSWER_SIZE_BYTES_MAX))
    except urllib.error.HTTPError as error:
        raise HttpPortError(_refusal(error), FAILED) from None
    except (OSError, http.client.HTTPException) as error:
        reason = _describe(error.reason if isinstance(error, urllib.error.URLError) else error)
        hint = "Is a broker running there? Start one with: taskferry broker"
        raise HttpPortError(f"cannot connect to {url}: {reason}. {hint}", NO_CONNECTION) from None
    except ValueError:
        raise not_understood(url) from None


def not_understood(url: str) -> HttpPortError:
    """The error for an answer that is not a broker's."""
    text = f"cannot read the answer of {url}: is it the HTTP port of a Taskferry broker?"
    return HttpPortError(text, FAILED)


def print_json(answer: Any) -> None:
    """What `--json` prints."""
    sys.stdout.write(printable_json(json.dumps(answer, ensure_ascii=False, separators=(",", ":"))) + "\n")


def fail(context: click.Context, error: HttpPortError) -> None:
    """Print the error, and exit with its code."""
    click.echo(f"error: {printable(str(error))}", err=True)
    context.exit(error.exit_code)


def _is_http_url(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _refusal(error: urllib.error.HTTPError) -> str:
    """The broker's error text if there is one, else the status."""
    with error:
        try:
            return " ".join(str(json.loads(error.read(ANSWER_SIZE_BYTES_MAX))["error"]).split())
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return f"{error.url} answered {error.code} {error.reason}"


def _describe(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {ANSWER_S_MAX:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return " ".join(str(reason).split())  # what another kind of server sent may have line ends
