"""The URL of a broker as a setting: its kind, and what goes with it in a table.

Imports only what the command line needs for `--help`.
"""

from typing import Final, Protocol

from ..configuration.kinds import Text
from ..credentials.settings import LoginOptions


def _check(url: str) -> None:
    from .connect import ConnectError, check_url  # noqa: PLC0415  as the module's docstring says

    try:
        check_url(url)
    except ConnectError as error:
        raise ValueError(str(error)) from None


BROKER_URL: Final = Text(2000, is_url=True, check=_check)
"""As many characters as browsers and proxies accept, too."""


class ConnectOptions(LoginOptions, Protocol):
    """The settings that [worker] and [requester] share."""

    @property
    def broker(self) -> str: ...


def check_tls(options: ConnectOptions) -> None:
    """The check of a table. Raises ValueError if a setting is for TLS only, and the URL is not."""
    for key in ("ca", "certificate", "key", "insecure_skip_verify"):
        if getattr(options, key) and not options.broker.lower().startswith("wss:"):
            raise ValueError(f"{key}: TLS needs a URL of the form wss://HOST:PORT; ws:// is not encrypted")
