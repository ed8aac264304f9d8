"""Fetches key sets from the URLs of issuers, in a thread, and keeps what it has while an issuer is unreachable."""

import ipaddress
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from ...configuration.url import without_secrets
from ...log.event import log_event
from .events import KeysFetched, KeysNotFetched
from .jwt_terms import KeyUrl, VerificationKey
from .keys import set_keys

REFRESH_INTERVAL_S: Final = 300.0
"""How often a set is fetched: issuers announce a key long before they use it, and withdraw one after a theft."""

RETRY_INTERVAL_S: Final = 30.0
"""How soon after a failure it is tried again."""

HURRY_INTERVAL_S_MIN: Final = 10.0
"""How often a set may be fetched because of tokens with an unknown key, which any stranger can send."""

FETCH_S_MAX: Final = 10.0
"""How long an answer may take."""

SOCKET_S_MAX: Final = 5.0
"""How long an issuer may be silent meanwhile."""

SET_SIZE_BYTES_MAX: Final = 256 * 1024
"""Bytes of a set: SET_KEYS_COUNT_MAX keys with a certificate each."""

logger = logging.getLogger(__name__)


class _Attempt:
    """One answer of a URL, in a thread of its own: a server that sends the head of its answer letter by letter would
    take as long as it likes, and hold up the keys of all others."""

    __slots__ = ("_outcome", "_thread", "_url")

    def __init__(self, url: str) -> None:
        self._url = url
        self._outcome: bytes | Exception | None = None
        self._thread = threading.Thread(target=self._run, name="taskferry-keys-answer", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> bytes:
        """The answer, at the latest after FETCH_S_MAX. Raises OSError, ValueError and HTTPException."""
        self._thread.join(FETCH_S_MAX)
        outcome = self._outcome
        if outcome is None:
            raise TimeoutError
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _run(self) -> None:
        try:
            self._outcome = _fetched(self._url)
        except Exception as error:
            self._outcome = error


class _Source:
    """The keys of one URL. `next_at`: when they are fetched; `tried_at`: when they last were. `attempt`: the last one;
    there is no other before it is over."""

    __slots__ = ("attempt", "has_failed", "keys", "next_at", "place", "tried_at")

    def __init__(self, place: KeyUrl) -> None:
        self.place = place
        self.attempt: _Attempt | None = None
        self.keys: tuple[VerificationKey, ...] = ()
        self.next_at = 0.0
        self.tried_at = float("-inf")
        self.has_failed = False


class KeyUrls:
    """`keys`: what all URLs have. `withdrawn` is called, in the thread, when one has withdrawn a key."""

    def __init__(self, withdrawn: Callable[[], None]) -> None:
        self._withdrawn = withdrawn
        self._sources: dict[KeyUrl, _Source] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._is_stopping = False

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        return tuple(key for source in self._sources.values() for key in source.keys)

    def take(self, places: tuple[KeyUrl, ...]) -> None:
        """Fetch from these. The keys of those that were there before stay."""
        self._sources = {place: self._sources.get(place) or _Source(place) for place in places}
        self._wake.set()

    def start(self) -> None:
        """Start fetching. Does nothing if it is started, or if there is no URL."""
        if self._thread is None and self._sources:
            self._thread = threading.Thread(target=self._run, name="taskferry-keys", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop fetching. Does not wait for an answer that is under way."""
        self._is_stopping = True
        self._wake.set()

    def hurry(self, now: float) -> bool:
        """A token has a key that is not here: fetch again, but not too often. Whether another attempt may succeed soon:
        a fetch starts now, or has never succeeded."""
        is_hopeful = False
        for source in self._sources.values():
            soonest_at = source.tried_at + HURRY_INTERVAL_S_MIN
            is_hopeful |= soonest_at <= now or not source.keys
            if soonest_at < source.next_at:
                source.next_at = soonest_at
                self._wake.set()
        return is_hopeful

    def fetch_due(self, now: float) -> float:
        """Fetch what is due. Blocks. When the next is due."""
        for source in list(self._sources.values()):
            if source.next_at <= now:
                self._fetch(source, now)
        return min((source.next_at for source in self._sources.values()), default=now + REFRESH_INTERVAL_S)

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            next_at = self.fetch_due(time.monotonic())
            self._wake.wait(max(0.0, next_at - time.monotonic()))

    def _fetch(self, source: _Source, now: float) -> None:
        source.tried_at = now
        source.next_at = now + REFRESH_INTERVAL_S
        name, algorithm, url = source.place
        try:
            if source.attempt is None or source.attempt.is_over:
                source.attempt = _Attempt(url)
            keys = set_keys(name, algorithm, source.attempt.wait())
        except (
            Exception
        ) as error:  # whatever it is, such as no thread for the attempt: the next one may do better
            source.next_at = now + RETRY_INTERVAL_S
            source.has_failed = True
            reason = _reason(error)
            log_event(logger, KeysNotFetched(without_secrets(url), len(source.keys), reason))
            return
        before, source.keys = source.keys, keys
        if keys != before or source.has_failed:
            log_event(logger, KeysFetched(without_secrets(url), len(keys)))
        source.has_failed = False
        gone = {key.fingerprint for key in before} - {key.fingerprint for key in keys}
        if gone and not self._is_stopping:
            self._withdrawn()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to a host, or to a protocol, that nobody has configured."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetched(url: str) -> bytes:
    """What the URL answers. Raises OSError, ValueError and HTTPException."""
    ends_at = time.monotonic() + FETCH_S_MAX
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    handlers: list[Any] = [_NoRedirect, urllib.request.HTTPSHandler(context=ssl.create_default_context())]
    if not url.startswith("https:"):
        handlers.append(urllib.request.ProxyHandler({}))  # plain HTTP must not leave this machine
    opener = urllib.request.build_opener(*handlers)
    content = b""
    with opener.open(request, timeout=SOCKET_S_MAX) as response:
        while part := response.read1(SET_SIZE_BYTES_MAX):
            content += part
            if len(content) > SET_SIZE_BYTES_MAX:
                raise ValueError(f"over {SET_SIZE_BYTES_MAX} bytes (SET_SIZE_BYTES_MAX)")
            if time.monotonic() > ends_at:
                raise TimeoutError
    return content


def _reason(error: BaseException) -> str:
    match error:
        case urllib.error.HTTPError(code=code):
            error.close()
            return (
                f"it answered {code}; redirects are not followed"
                if 300 <= code < 400
                else f"it answered {code}"
            )
        case urllib.error.URLError(reason=BaseException() as reason):
            return _reason(reason)
        case TimeoutError():
            return f"no answer within {FETCH_S_MAX:g} s"
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"its certificate is not trusted: {message}"
        case OSError(strerror=str(text)) if text:
            return text
        case ValueError():
            return str(error)
        case _:
            return type(error).__name__


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_fault(url: str) -> str | None:
    """Why keys cannot be fetched from this URL. None if they can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "expected a URL such as https://issuer.example/.well-known/jwks.json"
    if parts.username is not None or parts.password is not None:
        return "a URL with a user or a password is not accepted, because URLs are logged"
    if parts.scheme == "https" and host:
        return None
    if parts.scheme == "http" and _is_loopback(host):
        return None
    return (
        "expected a URL with https; http is accepted for this machine only, because keys must come unaltered"
    )
