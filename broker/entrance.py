"""What every connection and every HTTP request passes before the broker accepts anything of it.

Checked in this order: the name that it was sent to, and the web page that it comes from; the rate of its address; its
login; the right to use the port; the connections of its address and of its account. A connection that was admitted is
judged again when the access file changes, and closed when its login ends.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from ..log.event import log_event
from ..protocol import errors
from ..protocol.close_codes import KICKED, LOGIN_ENDED, RIGHT_LOST
from ..protocol.errors import TaskferryError
from ..protocol.limits import EXPIRY_NOTICE_S
from ..protocol.messages import Login as LoginReport
from ..transport.admission import HandshakeRequest, Refusal, RefusalReason
from .access.addresses import Address, Addresses
from .access.counts import AccessCounts
from .access.gate import Gate
from .access.hosts import Hosts
from .access.identity import ANONYMOUS, Identity
from .access.limits import Limits
from .access.proxies import Networks, client_address
from .access.rights import Action
from .access.usage import Usage, Usages
from .bearer import BadToken, token_in
from .connections import Connections
from .entrance_counts import Ended, EntranceCounts, Proof, presented
from .entrant import Entrant
from .events import HandshakeRefused, LoginEnded
from .expiries import Expiries
from .identity.authenticator import Authenticator
from .identity.login import Credential, Login, LoginRefused
from .identity.policy import Policy

logger = logging.getLogger(__name__)

WORKER_PORT: Final = "worker"
REQUESTER_PORT: Final = "requester"
API_PORT: Final = "api"
HTTP_PORT: Final = "http"

NEEDED: Final[Mapping[str, tuple[Action, ...]]] = {
    WORKER_PORT: (Action.SERVE,),
    REQUESTER_PORT: (Action.CALL, Action.WATCH, Action.PUBLISH),
    API_PORT: (Action.WATCH, Action.PUBLISH),
}
"""The actions of which some must be granted to connect to a port at all. To publish is none of them for whoever may
serve: workers publish over their own port."""

STRANGER_PREFIX: Final = f"{ANONYMOUS} at "
"""Starts the account of a stranger; its address follows. The name of an identity has no spaces."""

CONNECTIONS_RETRY_S: Final = 5.0
"""Sent to those whose address or account has too many connections: how long such things take to change."""

SLICE_COUNT_MAX: Final = 64
"""Logins that end, or are judged again, before the event loop does anything else: to close a link takes up to 0.1 ms,
and no request is to wait longer than a few milliseconds for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntranceSettings:
    """What the configuration says of the entrance. `limits`: those of accounts for which the access file has no
    others."""

    hosts: Hosts
    trusted_proxies: Networks
    address_connections_count_max: int
    address_handshakes_per_s: float
    limits: Limits


class _NotIn(Exception):
    """Internal: a refusal on its way to the one place that logs it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Entrance:
    """The entrance of one broker. `counts`, `access_counts`: what has happened here and at all gates. `connections`:
    those that are open."""

    def __init__(
        self,
        authenticator: Authenticator,
        settings: EntranceSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = EntranceCounts()
        self.access_counts = AccessCounts()
        self.connections = Connections()
        self._authenticator = authenticator
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._addresses = Addresses(
            settings.address_connections_count_max, settings.address_handshakes_per_s, self.access_counts
        )
        self._usages = Usages(self.access_counts)
        self._entrants: dict[Entrant, None] = {}
        self._expiries: Expiries[Entrant] = Expiries()
        self._to_judge: deque[Entrant] = deque()
        self._to_end: deque[tuple[Entrant, Ended, int, str]] = deque()
        """Those whose login is over. They leave when all others have been judged: what a worker leaves behind must not
        be given to another one that is about to leave."""

    @property
    def is_open(self) -> bool:
        """There is no access file: everyone may do everything."""
        return self._authenticator.policy.is_open

    # --- coming in ---

    def admit(self, port: str, request: HandshakeRequest) -> Entrant | Refusal:
        """A handshake on `port`: the peer that was admitted, to be `left` once its link has closed; or why it was
        refused, logged."""
        now = self._clock()
        address = self._address(request.peer_host, request.headers)
        try:
            login = self._login(address, request.headers, request.certificate, now)
            name = login.identity.name
            if not self._may_enter(port, login):
                raise _NotIn(self._forbidden(login, f"{name} has no rights on the {port} port"))
            usage = self._take_connection(address, name, now)
        except _NotIn as error:
            return self._refused(port, address, error.refusal)
        self.counts.login_accepted(login)
        entrant = Entrant(self, port, address, login, Gate(login.identity, usage))
        self._entrants[entrant] = None
        self._schedule(entrant, now)
        return entrant

    def admit_http(
        self,
        headers: Mapping[str, str],
        peer_host: str,
        certificate: Mapping[str, Any] | None,
        action: Action | None,
    ) -> Gate | Refusal:
        """A request to the HTTP port that needs the right to `action`: the gate for all else that it does; or why it is
        refused, logged. Without `action` only its host and origin are checked, and it counts as a stranger's.

        `headers` by lower-case name, repeated ones joined with ", ".
        """
        now = self._clock()
        address = self._address(peer_host, headers)
        try:
            if action is None:
                self._check_foreign(headers)
                stranger = Identity(ANONYMOUS, self._authenticator.policy.anonymous)
                return Gate(stranger, self._usage(address, ANONYMOUS, now))
            login = self._login(address, headers, certificate, now)
            gate = Gate(login.identity, self._usage(address, login.identity.name, now))
            forbidden = gate.refusal(action)
            if forbidden is not None:
                raise _NotIn(self._forbidden(login, forbidden.text))
            limited = gate.usage.spend(0, now)
            if limited is not None:
                raise _NotIn(_too_often(limited.text, limited.retry_after_s or 0.0))
        except _NotIn as error:
            self.counts.http_refused[error.refusal.reason] += 1
            return self._refused(HTTP_PORT, address, error.refusal)
        self.counts.login_accepted(login)
        return gate

    def refused(self, port: str, request: HandshakeRequest, refusal: Refusal) -> Refusal:
        """A handshake that is not worth to be judged, for what is at its path: `refusal`, logged."""
        return self._refused(port, self._address(request.peer_host, request.headers), refusal)

    def left(self, entrant: Entrant) -> None:
        """Its link has closed."""
        if entrant in self._entrants:
            del self._entrants[entrant]
            self.connections.closed(entrant.connection_id)
            self._expiries.remove(entrant)
            entrant.gate.usage.release_connection()
            entrant.address.release_connection()

    def renew(self, entrant: Entrant, token: str) -> LoginReport:
        """See Entrant.renew. Once there is no access file any more, whoever asks becomes a stranger, whose login never
        runs out."""
        now = self._clock()
        before = entrant.login.identity
        try:
            if entrant.is_over:
                raise errors.Unauthenticated("the login of this connection has ended")
            login = self._verify(entrant.address, Credential(token), now)
            if login.identity.name != before.name and not self.is_open:
                text = f"token: it is of {login.identity.name}, and this connection of {before.name}"
                raise errors.Forbidden(text)
            lost = entrant.gate.lost(login.identity.rights)
            if lost is not None:
                raise errors.Forbidden(f"token: it lacks a right that this connection uses: {lost}")
        except TaskferryError as error:
            if error.retry_after_s is None:  # else nobody has looked at the token yet
                entrant.failed_renewals_count += 1
            return LoginReport(False, code=error.code, error=error.text)
        entrant.failed_renewals_count = 0
        self.counts.login_accepted(login)
        self._take(entrant, login, now)
        expires_at = login.identity.expires_at
        return LoginReport(
            True,
            identity=login.identity.name,
            expires_in=None if expires_at is None else round(max(0.0, expires_at - now), 3),
        )

    def not_renewed(self, entrant: Entrant) -> None:
        """See Entrant.renewal_answered."""
        if not entrant.is_over:
            self._end(entrant, Ended.FAILED_RENEWALS, LOGIN_ENDED, "the login could not be renewed")

    def kick(self, connection_id: str, reason: str) -> Entrant | None:
        """Close a connection, whose peer may connect again. None if none that is open has this id."""
        entrant = self.connections.get(connection_id)
        if entrant is None or entrant.is_over:
            return None
        entrant.is_over = True
        self.counts.kicked[entrant.port] += 1
        self.connections.closed(connection_id)
        self._expiries.remove(entrant)
        entrant.session.login_ends()
        entrant.session.login_ended(KICKED, reason)
        return entrant

    # --- what changes while they are here ---

    def reconfigure(self, settings: EntranceSettings) -> None:
        """Other settings are in force. What is open stays open."""
        now = self._clock()
        self._settings = settings
        self._addresses.reconfigure(
            settings.address_connections_count_max, settings.address_handshakes_per_s, now
        )
        self._usages.reconfigure(self._limits_of, now)

    def take(self, policy: Policy) -> None:
        """Another access file is in force: for new connections at once, for open ones by `check`, which is to be called
        now."""
        self._authenticator.take(policy)
        self._usages.reconfigure(self._limits_of, self._clock())
        self.judge_all()

    def judge_all(self) -> None:
        """What proves identities has changed: `check`, which is to be called now, judges all logins again."""
        self._to_judge = deque(self._entrants)

    def check(self, now: float) -> bool:
        """Notify those whose login runs out soon, end the logins that have, and judge by a new access file. Does so for
        at most SLICE_COUNT_MAX links; True if it is to be called again at once."""
        for _ in range(SLICE_COUNT_MAX):
            entrant = self._expiries.pop(now)
            if entrant is not None:
                self._expire(entrant, now)
            elif self._to_judge:
                self._judge(self._to_judge.popleft(), now)
            elif self._to_end:
                self._end(*self._to_end.popleft())
            else:
                return False
        return bool(self._to_judge or self._to_end) or self._expiries.is_due(now)

    # --- inside: coming in ---

    def _address(self, peer_host: str, headers: Mapping[str, str]) -> Address:
        trusted = self._settings.trusted_proxies
        return self._addresses.of(client_address(peer_host, headers.get("x-forwarded-for"), trusted))

    def _check_foreign(self, headers: Mapping[str, str]) -> None:
        hosts = self._settings.hosts
        text = hosts.host_refusal(headers.get("host"))
        if text is not None:
            raise _NotIn(Refusal(HTTPStatus.FORBIDDEN, text, RefusalReason.FOREIGN_HOST))
        text = hosts.origin_refusal(headers.get("origin"))
        if text is not None:
            raise _NotIn(Refusal(HTTPStatus.FORBIDDEN, text, RefusalReason.FOREIGN_ORIGIN))

    def _login(
        self,
        address: Address,
        headers: Mapping[str, str],
        certificate: Mapping[str, Any] | None,
        now: float,
    ) -> Login:
        """The login that these headers, or this certificate, prove."""
        self._check_foreign(headers)
        wait_s = address.handshake(now)
        if wait_s:
            bound = self._settings.address_handshakes_per_s
            text = f"{address.name} connects over {bound:g} times a second (address_handshakes_per_s)"
            raise _NotIn(_too_often(text, wait_s))
        if self.is_open:
            return self._authenticator.login(Credential(), now, self._wall_clock())
        try:
            return self._verify(address, Credential(token_in(headers), certificate), now)
        except BadToken as error:
            self.counts.login_refused(Proof.TOKEN)
            address.login_failed(now)
            raise _NotIn(_unauthenticated(str(error), error.status)) from None
        except TaskferryError as error:
            raise _NotIn(_refusal_of(error)) from None

    def _verify(self, address: Address, credential: Credential, now: float) -> Login:
        """The login that this credential proves. Raises RateLimited and Unauthenticated."""
        is_known = self._authenticator.is_known(credential)
        if not is_known:
            wait_s = address.login_wait_s(now)
            if wait_s:
                raise _later(errors.RateLimited(f"too many logins from {address.name} have failed"), wait_s)
        try:
            return self._authenticator.login(credential, now, self._wall_clock())
        except LoginRefused as refused:
            self.counts.login_refused(presented(credential))
            if refused.retry_after_s:
                raise _later(errors.Unauthenticated(str(refused)), refused.retry_after_s) from None
            if not is_known:
                address.login_failed(now)
            raise errors.Unauthenticated(str(refused)) from None

    def _may_enter(self, port: str, login: Login) -> bool:
        rights = login.identity.rights
        is_worker = rights.has_any(Action.SERVE)
        return any(
            rights.has_any(action) for action in NEEDED[port] if action is not Action.PUBLISH or not is_worker
        )

    def _forbidden(self, login: Login, text: str) -> Refusal:
        """The refusal of an identity that lacks a right. A stranger may have it once it has logged in."""
        if login.identity.name == ANONYMOUS:
            return _unauthenticated("a token is needed: Authorization: Bearer TOKEN")
        return Refusal(HTTPStatus.FORBIDDEN, text, RefusalReason.FORBIDDEN)

    def _usage(self, address: Address, name: str, now: float) -> Usage:
        account = f"{STRANGER_PREFIX}{address.name}" if name == ANONYMOUS else name
        return self._usages.of(account, self._limits_of(account), now)

    def _limits_of(self, account: str) -> Limits:
        name = ANONYMOUS if account.startswith(STRANGER_PREFIX) else account
        others = self._authenticator.policy.limits_of(name)
        return replace(self._settings.limits, **dict[str, Any](others)) if others else self._settings.limits

    def _take_connection(self, address: Address, name: str, now: float) -> Usage:
        """The usage of the account that the connection counts for."""
        if not address.take_connection():
            text = f"{address.name} has {address.connections_count_max} connections (address_connections_count_max)"
            raise _NotIn(_too_many(text))
        usage = self._usage(address, name, now)
        if not usage.take_connection():
            address.release_connection()
            count_max = usage.limits.connections_count_max
            raise _NotIn(
                _too_many(f"{usage.name} has {count_max} connections (account_connections_count_max)")
            )
        return usage

    def _refused(self, port: str, address: Address, refusal: Refusal) -> Refusal:
        log_event(logger, HandshakeRefused(port, address.name, refusal.text))
        return refusal

    # --- inside: being here ---

    def _take(self, entrant: Entrant, login: Login, now: float) -> None:
        """Put `login` in force for `entrant`."""
        entrant.login = login
        entrant.gate.renew(login.identity)
        self._schedule(entrant, now)

    def _schedule(self, entrant: Entrant, now: float) -> None:
        """Look at `entrant` when its login runs out, and once before to notify it."""
        expires_at = entrant.login.identity.expires_at
        if expires_at is None:
            self._expiries.remove(entrant)
        else:
            self._expiries.set(entrant, max(now, expires_at - EXPIRY_NOTICE_S))

    def _expire(self, entrant: Entrant, now: float) -> None:
        if entrant.is_over:
            return
        expires_at = entrant.login.identity.expires_at
        assert expires_at is not None, "only such are scheduled"
        if now < expires_at:
            self._expiries.set(entrant, expires_at)
            entrant.session.login_expires(round(expires_at - now, 3))
        else:
            self._end_soon(entrant, Ended.EXPIRED, LOGIN_ENDED, "the login has run out")

    def _judge(self, entrant: Entrant, now: float) -> None:
        """What an entrant of the policy before is worth under this one."""
        if entrant.is_over or entrant not in self._entrants:
            return
        before = entrant.login.identity
        login = self._authenticator.judge_again(entrant.login, now, self._wall_clock())
        if login is None:
            self._end_soon(entrant, Ended.REVOKED, LOGIN_ENDED, "the login was revoked")
            return
        if not self._may_enter(entrant.port, login):
            if before.name == ANONYMOUS:
                self._end_soon(entrant, Ended.REVOKED, LOGIN_ENDED, "a token is needed now")
            else:
                text = f"{before.name} has lost all rights on the {entrant.port} port"
                self._end_soon(entrant, Ended.RIGHT_LOST, RIGHT_LOST, text)
            return
        lost = entrant.gate.lost(login.identity.rights)
        if lost is not None:
            self._end_soon(entrant, Ended.RIGHT_LOST, RIGHT_LOST, f"a right was lost: {lost}")
            return
        self._take(entrant, login, now)

    def _end_soon(self, entrant: Entrant, cause: Ended, code: int, reason: str) -> None:
        entrant.is_over = True
        entrant.session.login_ends()
        self._to_end.append((entrant, cause, code, reason))

    def _end(self, entrant: Entrant, cause: Ended, code: int, reason: str) -> None:
        if entrant not in self._entrants:
            return
        entrant.is_over = True
        self.counts.ended[cause] += 1
        identity = entrant.login.identity
        log_event(
            logger, LoginEnded(entrant.port, identity.name, identity.proof, entrant.address.name, reason)
        )
        self._expiries.remove(entrant)
        entrant.session.login_ended(code, reason)


def _later(error: TaskferryError, wait_s: float) -> TaskferryError:
    """The error, with the time after which the same may succeed."""
    error.retry_after_s = wait_s
    return error


def _refusal_of(error: TaskferryError) -> Refusal:
    """RateLimited, or Unauthenticated: to be tried again later only if it says when."""
    if isinstance(error, errors.RateLimited):
        return _too_often(error.text, error.retry_after_s or 0.0)
    if error.retry_after_s is None:
        return _unauthenticated(error.text)
    headers = {"Retry-After": _whole(error.retry_after_s)}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.text, RefusalReason.UNAUTHENTICATED, headers)


def _unauthenticated(text: str, status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> Refusal:
    headers = {"WWW-Authenticate": 'Bearer realm="taskferry"'} if status is HTTPStatus.UNAUTHORIZED else {}
    return Refusal(status, text, RefusalReason.UNAUTHENTICATED, headers)


def _too_often(text: str, wait_s: float) -> Refusal:
    headers = {"Retry-After": _whole(wait_s)}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, RefusalReason.RATE_LIMITED, headers)


def _too_many(text: str) -> Refusal:
    headers = {"Retry-After": _whole(CONNECTIONS_RETRY_S)}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, RefusalReason.TOO_MANY_CONNECTIONS, headers)


def _whole(seconds: float) -> str:
    """Retry-After takes whole seconds (RFC 9110, 10.2.3)."""
    return str(max(1, math.ceil(seconds)))
