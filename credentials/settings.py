"""The settings of a client's login, for the tables [worker] and [requester], and what follows from them.

Imports only what the command line needs for `--help`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ..configuration.kinds import Switch, Text
from ..configuration.schema import setting
from ..configuration.url import without_secrets

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ..log.event import Event

PATH_LENGTH_MAX: Final = 4096
"""Characters of a file's name: what Linux accepts."""

TOKEN_FILE_HELP: Final = "File with the token that proves who this is. Comes before TASKFERRY_TOKEN."
CA_HELP: Final = "PEM file of the certificate authorities to trust, for wss:// and https://."
CERTIFICATE_HELP: Final = "PEM file of the certificate that proves who this is."
KEY_HELP: Final = "PEM file of the certificate's key."
SKIP_VERIFY_HELP: Final = "Do not check the broker's certificate, and warn of it. For tests only."

_PATH: Final = Text(PATH_LENGTH_MAX, length_min=1, is_path=True)


def token_file_setting() -> Any:
    """`token_file`."""
    return setting(None, _PATH, TOKEN_FILE_HELP, instead="the token is TASKFERRY_TOKEN, if it is set")


def ca_setting() -> Any:
    """`ca`."""
    return setting(None, _PATH, CA_HELP, instead="those of the system")


def certificate_setting() -> Any:
    """`certificate`."""
    return setting(None, _PATH, CERTIFICATE_HELP, instead="none")


def key_setting() -> Any:
    """`key`."""
    return setting(None, _PATH, KEY_HELP, instead="in the file of the certificate")


def insecure_skip_verify_setting() -> Any:
    """`insecure_skip_verify`."""
    return setting(False, Switch(), SKIP_VERIFY_HELP)


class LoginOptions(Protocol):
    """The settings that the tables share."""

    @property
    def token_file(self) -> str | None: ...
    @property
    def ca(self) -> str | None: ...
    @property
    def certificate(self) -> str | None: ...
    @property
    def key(self) -> str | None: ...
    @property
    def insecure_skip_verify(self) -> bool: ...


class Login(NamedTuple):
    """What a program passes on as `token` and `tls`."""

    token: "Callable[[], str] | None"
    tls: "ssl.SSLContext | None"


def login_from(options: LoginOptions) -> Login:
    """What these options say. Raises ValueError: one line that names the option."""
    from .source import TokenSource, token_file  # noqa: PLC0415  as the module's docstring says

    path = options.token_file
    if path is None:
        TokenSource().check()
        token = None
    elif os.access(path, os.R_OK):  # not read: it may be a pipe
        token = token_file(Path(path))
    else:
        raise ValueError(f"--token-file: {path}: there is no such file, or it cannot be read")
    return Login(token, _context(options))


def _context(options: LoginOptions) -> "ssl.SSLContext | None":
    if not (options.ca or options.certificate or options.key or options.insecure_skip_verify):
        return None
    from .tls import TlsError, client_context  # noqa: PLC0415  as above

    try:
        return client_context(
            ca=options.ca,
            certificate=options.certificate,
            key=options.key,
            skips_verification=options.insecure_skip_verify,
        )
    except TlsError as error:
        raise ValueError(str(error)) from None


def unverified(options: LoginOptions, url: str) -> "list[Event]":
    """The warning that the certificate of `url` is not checked, if so."""
    from .events import CertificateUnverified  # noqa: PLC0415  as above

    return [CertificateUnverified(without_secrets(url))] if options.insecure_skip_verify else []


def unprotected(url: str) -> "list[Event]":
    """The warning that a token is sent to `url` unencrypted, if so: to another machine than this.

    It is no error, because what is between may be as good as TLS: a service mesh, a VPN, one host's containers.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415  as above

    from .events import TokenUnprotected  # noqa: PLC0415

    try:
        parts = urlsplit(url)
        secure = {"ws": "wss", "http": "https"}.get(parts.scheme)
        if secure is None or is_loopback(parts.hostname or ""):
            return []
    except ValueError:  # not a URL: its own error follows
        return []
    return [TokenUnprotected(without_secrets(url), secure)]


def is_loopback(host: str) -> bool:
    """Whether it names this machine, so that what is sent there stays in it (RFC 6761, 6.3 for the names)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    import ipaddress  # noqa: PLC0415  as above

    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
