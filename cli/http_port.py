"""Requests to the HTTP port of a running broker: the options, one request, and the errors.

Must not know what is requested, nor what an answer looks like. Uses the standard library only: this is no hot path.
"""

import functools
import http.client
import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

import click

from ..configuration.url import without_secrets
from ..credentials.settings import (
    CA_HELP,
    CERTIFICATE_HELP,
    KEY_HELP,
    SKIP_VERIFY_HELP,
    TOKEN_FILE_HELP,
    login_from,
    unprotected,
    unverified,
)
from ..log.printable import printable, printable_json
from ..program.environment import unknown_variables
from ..program.exit_codes import FAILED, NO_CONNECTION, RATE_LIMITED, REFUSED, USAGE
from ..program.table_options import notes

if TYPE_CHECKING:
    import ssl

    from ..credentials.token import Token

Function = TypeVar("Function", bound=Callable[..., Any])

HTTP_URL_DEFAULT: Final = "http://localhost:8767"
HTTP_VARIABLE: Final = "TASKFERRY_HTTP"

ANSWER_S_MAX: Final = 5.0
"""How long a broker may take to answer, which it does between two requests."""

PAGE_COUNT_MAX: Final = 1000
"""Rows that are asked for at once: as many as a broker gives."""

PAGES_COUNT_MAX: Final = 100
"""Pages of a list that are asked for: of more workers or commands than a broker can have."""

ANSWER_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of an answer that are read. That of 10,000 workers with many commands is far smaller."""


_LOGIN_OPTIONS: Final = {
    "token_file": TOKEN_FILE_HELP,
    "ca": CA_HELP,
    "certificate": CERTIFICATE_HELP,
    "key": KEY_HELP,
    "insecure_skip_verify": SKIP_VERIFY_HELP,
}

_EXIT_CODES: Final[dict[int, int]] = {
    HTTPStatus.UNAUTHORIZED: REFUSED,
    HTTPStatus.FORBIDDEN: REFUSED,
    HTTPStatus.TOO_MANY_REQUESTS: RATE_LIMITED,
}


_OF_A_WEBSOCKET_PORT: Final = frozenset({HTTPStatus.UPGRADE_REQUIRED, HTTPStatus.METHOD_NOT_ALLOWED})
_OTHER_PORT: Final = "is it the port of workers or requesters? The HTTP port of a broker is by default 8767"


class LoginFlags(NamedTuple):
    """The options of a login."""

    token_file: str | None
    ca: str | None
    certificate: str | None
    key: str | None
    insecure_skip_verify: bool


class HttpPortError(Exception):
    """There was no answer, or not the one requested: one line for people, and the exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class HttpPort:
    """The HTTP port of the broker at `url`, and how to log in there."""

    def __init__(self, url: str, token: "Token | None", tls: "ssl.SSLContext | None") -> None:
        self.url = url
        self._token = token
        # No proxy: a broker's HTTP port is for its own network.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, path: str, body: object = None) -> Any:
        """The decoded answer to GET, or with a `body` to POST. Raises HttpPortError."""
        url = self.url
        request = urllib.request.Request(url.rstrip("/") + path)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self._token is not None:
            # Not for wherever a server redirects to.
            request.add_unredirected_header("Authorization", f"Bearer {self._token.reveal()}")
        try:
            with self._opener.open(request, timeout=ANSWER_S_MAX) as response:
                return json.loads(response.read(ANSWER_SIZE_BYTES_MAX))
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = self._describe(error.reason if isinstance(error, urllib.error.URLError) else error)
            raise HttpPortError(f"cannot connect to {url}: {reason}", NO_CONNECTION) from None
        except ValueError:
            raise not_understood(url) from None

    def ask_pages(self, path: str, list_path: str, key: str) -> Any:
        """The same, where the answer has the first page of a list as `key`: with all pages, of which the others are at
        `list_path`. Raises HttpPortError."""
        answer = page = self.ask(path)
        try:
            for _ in range(PAGES_COUNT_MAX):
                after = page.get("next")
                if after is None:
                    break
                page = self.ask(
                    f"{list_path}?limit={PAGE_COUNT_MAX}&after={urllib.parse.quote(after, safe='')}"
                )
                answer[key] += page[key]
                answer["next"] = page["next"]
        except (KeyError, TypeError, AttributeError):
            raise not_understood(self.url) from None
        return answer

    def _refusal(self, error: urllib.error.HTTPError) -> HttpPortError:
        """The broker's error text if there is one, else the status."""
        with error:
            try:
                text = " ".join(str(json.loads(error.read(ANSWER_SIZE_BYTES_MAX))["error"]).split())
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
                text = f"{without_secrets(error.url)} answered {error.code} {error.reason}"
                if error.code in _OF_A_WEBSOCKET_PORT:
                    text = f"{text}: {_OTHER_PORT}"
        if self._token is not None:
            text = text.replace(self._token.reveal(), "...")
        elif error.code == HTTPStatus.UNAUTHORIZED:
            from ..credentials.source import NO_TOKEN  # noqa: PLC0415  imports asyncio, which --help can do without

            text = f"{text}; {NO_TOKEN}"
        return HttpPortError(text, _EXIT_CODES.get(error.code, FAILED))

    def _describe(self, reason: object) -> str:
        import ssl  # noqa: PLC0415  loaded by urllib, if it is needed

        if isinstance(reason, ssl.SSLError):
            from ..credentials.tls import describe_tls, speaks_no_tls  # noqa: PLC0415  likewise

            text = describe_tls(reason, urllib.parse.urlsplit(self.url).hostname or "")
            return f"{text}; a broker without TLS has a URL with http://" if speaks_no_tls(reason) else text
        if isinstance(reason, http.client.RemoteDisconnected) and self.url.startswith("http:"):
            return "it closed the connection without an answer; a broker with TLS has a URL with https://"
        if isinstance(reason, socket.gaierror):
            return f"{_describe(reason)}; check the name in the URL, and the name server of this machine"
        if isinstance(reason, TimeoutError):
            return f"{_describe(reason)}; check host and port, and whether a firewall is in between"
        return f"{_describe(reason)}. Is a broker running there? Start one with: taskferry broker"


def http_options(function: Function) -> Function:
    """The options of the HTTP port and of the login there, which the command gets as `port`; and `--json`."""

    @functools.wraps(function)
    def with_port(*args: Any, **options: Any) -> Any:
        context = click.get_current_context()
        for unknown in unknown_variables(context):
            click.echo(f"warning: {printable(str(unknown))}", err=True)
        given = LoginFlags(**{name: options.pop(name) for name in LoginFlags._fields})
        try:
            port = port_at(options.pop("url"), given)
        except HttpPortError as error:
            fail(context, error)
        return function(*args, port=port, **options)

    command: Callable[..., Any] = click.option(
        "--json", "as_json", is_flag=True, help="Print the broker's answer as one line of JSON."
    )(with_port)
    for name, help in reversed(_LOGIN_OPTIONS.items()):
        flag = f"--{name.replace('_', '-')}"
        variable = f"{HTTP_VARIABLE}_{name.upper()}"
        is_switch = name == "insecure_skip_verify"
        command = click.option(
            flag,
            metavar=None if is_switch else "FILE",
            is_flag=is_switch,
            envvar=variable,
            help=help + notes("", None, variable),
        )(command)
    return click.option(  # type: ignore[return-value]  # click's commands are made of any function
        "--http",
        "url",
        metavar="URL",
        default=HTTP_URL_DEFAULT,
        envvar=HTTP_VARIABLE,
        help="HTTP port of the broker." + notes(HTTP_URL_DEFAULT, None, HTTP_VARIABLE),
    )(command)


def port_at(url: str, given: LoginFlags) -> HttpPort:
    """The port for these options. Raises HttpPortError. Prints what is unsafe about it."""
    from ..credentials.source import token_now  # noqa: PLC0415  as above

    if not _is_http_url(url):
        text = f"--http: {without_secrets(url)!r} is not a URL of the form http://HOST:PORT"
        raise HttpPortError(text, USAGE)
    try:
        login = login_from(given)
        if login.tls is not None and not url.startswith("https:"):
            raise ValueError("TLS needs a URL of the form https://HOST:PORT; http:// is not encrypted")
        token = token_now(login.token)
    except ValueError as error:
        raise HttpPortError(str(error), USAGE) from None
    warnings = unverified(given, url) + (unprotected(url) if token is not None else [])
    for warning in warnings:
        click.echo(f"warning: {printable(str(warning))}", err=True)
    return HttpPort(url, token, login.tls)


def not_understood(url: str) -> HttpPortError:
    """The error for an answer that is not a broker's."""
    text = f"cannot read the answer of {url}: is it the HTTP port of a Taskferry broker?"
    return HttpPortError(text, FAILED)


def print_json(answer: Any) -> None:
    """What `--json` prints."""
    sys.stdout.write(printable_json(json.dumps(answer, ensure_ascii=False, separators=(",", ":"))) + "\n")


def fail(context: click.Context, error: HttpPortError) -> NoReturn:
    """Print the error, and exit with its code."""
    click.echo(f"error: {printable(str(error))}", err=True)
    context.exit(error.exit_code)


def _is_http_url(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _describe(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {ANSWER_S_MAX:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return " ".join(str(reason).split())  # what another kind of server sent may have line ends
