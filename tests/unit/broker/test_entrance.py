"""Who comes in, who does not and why, and how a login ends: with a clock of the test's, and no sockets."""

import datetime
import logging
from http import HTTPStatus
from typing import Any, Final

import pytest
from jwt import encode
from taskferry.broker.access.addresses import FAILED_LOGINS_COUNT_MAX
from taskferry.broker.access.gate import Gate
from taskferry.broker.access.hosts import Hosts
from taskferry.broker.access.limits import Limits
from taskferry.broker.access.proxies import networks
from taskferry.broker.access.rights import Action
from taskferry.broker.entrance import (
    HTTP_PORT,
    REQUESTER_PORT,
    SLICE_COUNT_MAX,
    WORKER_PORT,
    Entrance,
    EntranceSettings,
)
from taskferry.broker.entrance_counts import Ended, Proof
from taskferry.broker.entrant import FAILED_RENEWALS_COUNT_MAX, Entrant
from taskferry.broker.events import HandshakeRefused
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.policy import OPEN, Policy
from taskferry.transport.admission import HandshakeRequest, Refusal, RefusalReason

from tests.unit.broker.access_files import bearer, expiring, policy, token_of

WALL_START_S: Final = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC).timestamp()
RIGHTS: Final = {
    "alice": 'call = ["resize-*"]',
    "resizer": 'serve = ["*"]',
    "olga": 'roles = ["operator"]',
}


class Session:
    """Records what its login does."""

    def __init__(self) -> None:
        self.expires_in_s: list[float] = []
        self.is_ending = False
        self.ended: list[tuple[int, str]] = []

    def login_expires(self, expires_in_s: float) -> None:
        self.expires_in_s.append(expires_in_s)

    def login_ends(self) -> None:
        self.is_ending = True

    def login_ended(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))


class World:
    """An entrance, and a clock that only the test moves."""

    def __init__(self, access: Policy = OPEN, **settings: Any) -> None:
        self.now = 1000.0
        self.wall_ahead_s = 0.0
        self.settings: dict[str, Any] = {
            "hosts": Hosts((), ()),
            "trusted_proxies": (),
            "address_connections_count_max": 100,
            "address_handshakes_per_s": 0.0,
            "limits": Limits(),
            **settings,
        }
        self.authenticator = Authenticator(access)
        self.entrance = Entrance(
            self.authenticator,
            EntranceSettings(**self.settings),
            clock=lambda: self.now,
            wall_clock=lambda: WALL_START_S + self.now - 1000.0 + self.wall_ahead_s,
        )

    def handshake(
        self,
        headers: dict[str, str] | None = None,
        port: str = REQUESTER_PORT,
        *,
        peer_host: str = "10.0.0.7",
        certificate: Any = None,
    ) -> Entrant | Refusal:
        request = HandshakeRequest("/", {"host": "localhost"} | (headers or {}), peer_host, certificate)
        entrant = self.entrance.admit(port, request)
        if isinstance(entrant, Entrant):
            entrant.session = Session()
        return entrant

    def enter(self, name: str = "", port: str = REQUESTER_PORT, **options: Any) -> tuple[Entrant, Session]:
        entrant = self.handshake(bearer(name) if name else None, port, **options)
        assert isinstance(entrant, Entrant), entrant
        assert isinstance(entrant.session, Session)
        return entrant, entrant.session

    def refused(
        self, headers: dict[str, str] | None = None, port: str = REQUESTER_PORT, **options: Any
    ) -> Refusal:
        refusal = self.handshake(headers, port, **options)
        assert isinstance(refusal, Refusal)
        return refusal

    def move(self, seconds: float) -> None:
        """Time passes, and the entrance checks as often as it has to."""
        self.now += seconds
        while self.entrance.check(self.now):
            pass

    def take(self, access: Policy) -> None:
        self.entrance.take(access)
        self.move(0.0)


# --- who comes in ---------------------------------------------------------------------------------------------------


def test_without_an_access_file_everyone_is_a_stranger_who_may_do_everything() -> None:
    world = World()
    for headers in ({}, bearer("alice"), {"authorization": "Basic abc"}, {"authorization": "Bearer a b"}):
        for port in (REQUESTER_PORT, WORKER_PORT):
            entrant = world.handshake(headers, port)
            assert isinstance(entrant, Entrant)
            assert entrant.gate.identity.name == "anonymous"
            assert entrant.gate.usage.name == "anonymous at 10.0.0.7"
            assert entrant.gate.allowed is None


def test_a_token_decides_who_this_is_and_all_its_connections_are_one_account() -> None:
    world = World(policy(**RIGHTS))
    first, _ = world.enter("alice")
    second, _ = world.enter("alice", peer_host="10.0.0.8")
    assert first.gate.identity.name == "alice"
    assert first.gate.usage is second.gate.usage
    assert first.gate.usage.connections_count == 2
    first.left()
    first.left()
    second.left()
    assert first.gate.usage.connections_count == 0
    assert world.entrance.counts.logins[Proof.TOKEN, "accepted"] == 2


@pytest.mark.parametrize(
    ("headers", "port", "status", "reason", "text"),
    [
        ({}, REQUESTER_PORT, 401, RefusalReason.UNAUTHENTICATED, "a token is needed"),
        (bearer("mallory"), REQUESTER_PORT, 401, RefusalReason.UNAUTHENTICATED, "not known here"),
        (
            {"authorization": "Basic YTpi"},
            REQUESTER_PORT,
            401,
            RefusalReason.UNAUTHENTICATED,
            "expected Bearer",
        ),
        (
            bearer("alice"),
            WORKER_PORT,
            403,
            RefusalReason.FORBIDDEN,
            "alice has no rights on the worker port",
        ),
        (
            bearer("resizer"),
            REQUESTER_PORT,
            403,
            RefusalReason.FORBIDDEN,
            "resizer has no rights on the requester",
        ),
        ({"host": "evil.example"}, WORKER_PORT, 403, RefusalReason.FOREIGN_HOST, "not known as evil.example"),
        (
            bearer("alice") | {"origin": "https://evil.example"},
            REQUESTER_PORT,
            403,
            RefusalReason.FOREIGN_ORIGIN,
            "web pages of https://evil.example",
        ),
    ],
)
def test_a_refusal_has_its_status_its_reason_and_one_line(
    headers: dict[str, str],
    port: str,
    status: int,
    reason: RefusalReason,
    text: str,
    *,
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(policy(**RIGHTS))
    refusal = world.refused(headers, port)
    assert (refusal.status, refusal.reason) == (status, reason)
    assert text in refusal.text
    assert ("WWW-Authenticate" in refusal.headers) is (status == HTTPStatus.UNAUTHORIZED)
    (record,) = caplog.records
    assert record.msg == HandshakeRefused(port, "10.0.0.7", refusal.text)
    for name in ("alice", "mallory", "resizer"):
        assert token_of(name) not in caplog.text


def test_two_different_tokens_are_a_bad_request() -> None:
    world = World(policy(**RIGHTS))
    both = bearer("alice") | {"sec-websocket-protocol": f"taskferry.token.{token_of('resizer')}"}
    assert world.refused(both).status == HTTPStatus.BAD_REQUEST
    assert world.entrance.counts.logins[Proof.TOKEN, "refused"] == 1


def test_a_stranger_may_do_what_the_file_says() -> None:
    world = World(policy('anonymous = { call = ["get_time"] }', **RIGHTS))
    stranger, _ = world.enter()
    assert stranger.gate.call("get_time", None) is None
    assert stranger.gate.call("resize-small", None) is not None
    assert world.refused(port=WORKER_PORT).status == HTTPStatus.UNAUTHORIZED, "a token might help"


def test_a_token_counts_before_a_certificate_and_a_certificate_without_one() -> None:
    certificate = {"subjectAltName": (("DNS", "w7.example"),)}
    named = RIGHTS["resizer"] + '\ncertificates = ["DNS:w7.example"]'
    world = World(policy(**RIGHTS | {"resizer": named}))
    by_certificate, _ = world.enter(port=WORKER_PORT, certificate=certificate)
    assert by_certificate.gate.identity.name == "resizer"
    by_token, _ = world.enter("alice", certificate=certificate)
    assert by_token.gate.identity.name == "alice"
    assert world.refused(bearer("mallory"), WORKER_PORT, certificate=certificate).status == 401
    assert world.entrance.counts.logins[Proof.CERTIFICATE, "accepted"] == 1


# --- limits ---------------------------------------------------------------------------------------------------------


def test_handshakes_of_one_address_are_bounded_and_it_is_told_when_to_come_back() -> None:
    world = World(address_handshakes_per_s=2.0)
    for _ in range(20):
        entrant, _ = world.enter()
        entrant.left()
    refusal = world.refused()
    assert (refusal.status, refusal.reason) == (429, RefusalReason.RATE_LIMITED)
    assert refusal.headers == {"Retry-After": "1"}
    assert "address_handshakes_per_s" in refusal.text
    world.enter(peer_host="10.0.0.8")
    world.now += 0.5
    world.enter()


def test_a_web_page_does_not_use_up_the_handshakes_of_its_browsers_machine() -> None:
    world = World(address_handshakes_per_s=1.0)
    for _ in range(100):
        assert world.refused({"origin": "https://evil.example"}).reason is RefusalReason.FOREIGN_ORIGIN
    world.enter()


def test_connections_of_one_address_are_bounded() -> None:
    world = World(address_connections_count_max=2)
    first, _ = world.enter()
    world.enter(port=WORKER_PORT)
    refusal = world.refused()
    assert (refusal.status, refusal.reason) == (429, RefusalReason.TOO_MANY_CONNECTIONS)
    assert "10.0.0.7 has 2 connections (address_connections_count_max)" in refusal.text
    world.enter(peer_host="10.0.0.8")
    first.left()
    world.enter()


def test_connections_of_one_account_are_bounded_and_a_refused_one_counts_nowhere() -> None:
    one = RIGHTS["alice"] + "\nlimits = { connections_count_max = 1 }"
    world = World(policy(**RIGHTS | {"alice": one}), address_connections_count_max=2)
    first, _ = world.enter("alice")
    for host in ("10.0.0.7", "10.0.0.8"):
        refusal = world.refused(bearer("alice"), peer_host=host)
        assert (refusal.status, refusal.reason) == (429, RefusalReason.TOO_MANY_CONNECTIONS)
        assert "alice has 1 connections (account_connections_count_max)" in refusal.text
    first.left()
    world.enter("alice")
    world.enter("resizer", WORKER_PORT)


def limits(entrant: Entrant) -> tuple[int, float]:
    account = entrant.gate.usage.limits
    return account.connections_count_max, account.messages_per_s


def test_limits_come_from_the_file_and_else_from_the_settings_and_both_can_change() -> None:
    def file(rate: int) -> Policy:
        limited = f"limits = {{ messages_per_s = {rate} }}"
        return policy(
            f'[anonymous]\ncall = ["*"]\n{limited}', **RIGHTS | {"alice": f"{RIGHTS['alice']}\n{limited}"}
        )

    world = World(file(7), limits=Limits(connections_count_max=50))
    alice, resizer, stranger = (
        world.enter("alice")[0],
        world.enter("resizer", WORKER_PORT)[0],
        world.enter()[0],
    )
    assert [limits(one) for one in (alice, resizer, stranger)] == [(50, 7.0), (50, 0.0), (50, 7.0)]
    world.entrance.reconfigure(EntranceSettings(**{**world.settings, "limits": Limits(messages_per_s=9.0)}))
    assert [limits(one) for one in (alice, resizer, stranger)] == [
        (10_000, 7.0),
        (10_000, 9.0),
        (10_000, 7.0),
    ]
    world.take(file(8))
    assert [limits(one) for one in (alice, resizer, stranger)] == [
        (10_000, 8.0),
        (10_000, 9.0),
        (10_000, 8.0),
    ]


def test_failed_logins_slow_an_address_down_and_known_tokens_pass() -> None:
    world = World(policy(**RIGHTS))
    for _ in range(FAILED_LOGINS_COUNT_MAX):
        assert world.refused(bearer("mallory")).status == HTTPStatus.UNAUTHORIZED
    refusal = world.refused(bearer("mallory"))
    assert (refusal.status, refusal.reason) == (429, RefusalReason.RATE_LIMITED)
    assert refusal.headers == {"Retry-After": "1"}
    world.enter("alice")
    assert world.refused(bearer("mallory"), peer_host="10.0.0.8").status == HTTPStatus.UNAUTHORIZED
    world.now += 1.0
    assert world.refused(bearer("mallory")).status == HTTPStatus.UNAUTHORIZED
    assert world.refused(bearer("mallory")).status == 429
    assert world.entrance.counts.logins[Proof.TOKEN, "refused"] == FAILED_LOGINS_COUNT_MAX + 2


def test_what_cannot_be_a_token_counts_as_a_failed_login() -> None:
    world = World(policy(**RIGHTS))
    for _ in range(FAILED_LOGINS_COUNT_MAX):
        assert world.refused({"authorization": "Bearer a b"}).status == HTTPStatus.UNAUTHORIZED
    assert world.refused(bearer("mallory")).status == 429
    for _ in range(1000):
        assert world.refused({"authorization": "Bearer a b"}).status == HTTPStatus.UNAUTHORIZED
    assert world.refused(bearer("mallory")).headers == {"Retry-After": "1"}


def test_behind_a_trusted_proxy_the_client_is_who_it_says_and_elsewhere_it_is_not() -> None:
    world = World(trusted_proxies=networks(["10.1.0.0/16"]), address_connections_count_max=1)
    for client in ("192.0.2.1", "192.0.2.2"):
        entrant = world.handshake({"x-forwarded-for": client}, peer_host="10.1.0.1")
        assert isinstance(entrant, Entrant)
        assert entrant.address.name == client
    made_up = world.handshake({"x-forwarded-for": "192.0.2.3"}, peer_host="10.2.0.1")
    assert isinstance(made_up, Entrant)
    assert made_up.address.name == "10.2.0.1"


def test_other_settings_apply_to_who_comes_next() -> None:
    world = World()
    world.enter()
    world.entrance.reconfigure(
        EntranceSettings(
            **{**world.settings, "hosts": Hosts(["broker.example"], ()), "address_connections_count_max": 1}
        )
    )
    assert world.refused().status == 429
    named = world.handshake({"host": "broker.example:8766"}, peer_host="10.0.0.8")
    assert isinstance(named, Entrant)


# --- HTTP -----------------------------------------------------------------------------------------------------------


def test_a_request_over_http_is_a_login_and_needs_its_right() -> None:
    world = World(policy(**RIGHTS))
    headers = {"host": "localhost"}

    def ask(name: str, action: Action | None) -> Gate | Refusal:
        known = bearer(name) if name else {}
        return world.entrance.admit_http(headers | known, "10.0.0.7", None, action)

    assert isinstance(ask("", None), Gate)
    assert isinstance(ask("olga", Action.OPERATE), Gate)
    for name, status in {"": 401, "mallory": 401, "alice": 403}.items():
        refusal = ask(name, Action.OBSERVE)
        assert isinstance(refusal, Refusal)
        assert refusal.status == status
    foreign = world.entrance.admit_http({"host": "evil.example"}, "10.0.0.7", None, None)
    assert isinstance(foreign, Refusal)
    assert world.entrance.counts.http_refused[RefusalReason.FOREIGN_HOST] == 1
    assert world.entrance.counts.http_refused[RefusalReason.FORBIDDEN] == 1
    assert world.entrance.access_counts.forbidden[Action.OBSERVE] == 2


def test_requests_over_http_count_for_the_rate_of_their_account() -> None:
    world = World(policy(**RIGHTS | {"olga": RIGHTS["olga"] + "\nlimits = { messages_per_s = 1 }"}))
    headers = {"host": "localhost"} | bearer("olga")
    answers = [world.entrance.admit_http(headers, "10.0.0.7", None, Action.OBSERVE) for _ in range(3)]
    assert [isinstance(answer, Gate) for answer in answers] == [True, True, False]
    assert isinstance(answers[2], Refusal)
    assert (answers[2].status, answers[2].headers) == (429, {"Retry-After": "1"})


# --- the end of a login ---------------------------------------------------------------------------------------------


def short_lived(seconds: float) -> Policy:
    """Alice's token runs out so many seconds after the start."""
    until = datetime.datetime.fromtimestamp(WALL_START_S + seconds, datetime.UTC)
    return policy(**RIGHTS | {"alice": f"{RIGHTS['alice']}\n{expiring('alice', until.isoformat())}"})


def test_a_login_that_runs_out_is_announced_and_ends() -> None:
    world = World(short_lived(100.0))
    _, session = world.enter("alice")
    world.move(69.9)
    assert session.expires_in_s == []
    world.move(0.1)
    assert session.expires_in_s == [30.0]
    world.move(29.9)
    assert session.ended == []
    world.move(0.1)
    assert session.ended == [(4401, "the login has run out")]
    assert session.expires_in_s == [30.0]
    assert world.entrance.counts.ended[Ended.EXPIRED] == 1
    assert world.refused(bearer("alice")).text == "the token has expired"


def test_a_login_that_is_short_is_announced_at_once() -> None:
    world = World(short_lived(10.0))
    _, session = world.enter("alice")
    world.move(0.0)
    assert session.expires_in_s == [10.0]


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_jump_of_the_wall_clock_ends_no_login(jump_s: float) -> None:
    world = World(short_lived(100.0))
    _, session = world.enter("alice")
    world.wall_ahead_s = jump_s
    world.move(99.0)
    assert session.ended == []
    world.move(1.0)
    assert session.ended


def test_one_that_has_left_is_not_looked_for_again() -> None:
    world = World(short_lived(100.0))
    entrant, session = world.enter("alice")
    entrant.left()
    world.move(1000.0)
    world.take(policy(resizer=RIGHTS["resizer"]))
    assert (session.expires_in_s, session.ended) == ([], [])


def test_a_renewed_login_goes_on() -> None:
    world = World(short_lived(100.0))
    entrant, session = world.enter("alice")
    world.move(80.0)
    world.take(policy(**RIGHTS))  # the same token, which no longer expires
    assert session.ended == []
    report = entrant.renew(token_of("alice"))
    assert (report.success, report.identity, report.expires_in) == (True, "alice", None)
    world.move(1000.0)
    assert session.ended == []
    world.take(short_lived(2000.0))
    report = entrant.renew(token_of("alice"))
    assert (report.success, report.expires_in) == (True, 920.0)
    world.move(920.0)
    assert session.ended == [(4401, "the login has run out")]


def test_once_access_is_off_a_login_is_renewed_as_a_strangers() -> None:
    world = World(short_lived(100.0))
    entrant, session = world.enter("alice")
    world.take(OPEN)
    world.move(80.0)
    assert session.expires_in_s == [20.0]
    report = entrant.renew(token_of("alice"))
    assert (report.success, report.identity, report.expires_in) == (True, "anonymous", None)
    world.move(1000.0)
    assert session.ended == []
    world.take(short_lived(2000.0))
    assert session.ended == [(4401, "a token is needed now")]


def test_a_login_is_renewed_by_the_same_identity_only() -> None:
    world = World(policy(**RIGHTS))
    entrant, session = world.enter("alice")
    assert world.entrance.counts.logins[Proof.TOKEN, "accepted"] == 1
    report = entrant.renew(token_of("olga"))
    assert (report.success, report.code) == (False, "forbidden")
    assert report.error == "token: it is of olga, and this connection of alice"
    report = entrant.renew(token_of("mallory"))
    assert (report.success, report.code, report.error) == (
        False,
        "unauthenticated",
        "the token is not known here",
    )
    assert entrant.gate.identity.name == "alice"
    assert session.ended == []


def test_a_renewal_may_not_take_away_what_the_connection_uses() -> None:
    """Two tokens of one identity with different rights: JWTs."""
    world = World(jwt_policy())
    everything, less = jwt(["resize-*"]), jwt(["resize-large"])
    entrant = world.handshake({"authorization": f"Bearer {everything}"})
    assert isinstance(entrant, Entrant)
    assert entrant.gate.call("resize-small", None) is None
    report = entrant.renew(less)
    assert (report.success, report.code) == (False, "forbidden")
    assert "call 'resize-small'" in (report.error or "")
    other = world.handshake({"authorization": f"Bearer {everything}"})
    assert isinstance(other, Entrant)
    assert other.renew(less).success
    assert other.gate.call("resize-small", None) is not None
    assert world.entrance.counts.logins[Proof.JWT, "accepted"] == 3


def test_a_token_for_another_audience_is_refused() -> None:
    world = World(jwt_policy())
    assert world.refused({"authorization": f"Bearer {jwt(['*'], audience='elsewhere')}"}).status == 401
    assert world.entrance.counts.logins[Proof.JWT, "refused"] == 1


SECRET: Final = "0123456789abcdef0123456789abcdef"


def jwt_policy() -> Policy:
    return policy(f'[jwt]\naudience = "taskferry"\n[jwt.keys.main]\nalgorithm = "HS256"\nsecret = "{SECRET}"')


def jwt(call: list[str], audience: str = "taskferry") -> str:
    claims = {"sub": "ci", "aud": audience, "exp": WALL_START_S + 600, "taskferry": {"call": call}}
    return encode(claims, SECRET, "HS256")


def test_tokens_that_are_refused_in_a_row_end_the_login() -> None:
    world = World(policy(**RIGHTS))
    entrant, session = world.enter("alice")
    for _ in range(FAILED_RENEWALS_COUNT_MAX - 1):
        entrant.renew(token_of("mallory"))
        entrant.renewal_answered()
    assert entrant.renew(token_of("alice")).success
    for number in range(FAILED_RENEWALS_COUNT_MAX):
        assert session.ended == [], number
        entrant.renew(token_of("mallory"))
        entrant.renewal_answered()
    assert session.ended == [(4401, "the login could not be renewed")]
    assert world.entrance.counts.ended[Ended.FAILED_RENEWALS] == 1


def test_renewals_that_fail_count_as_failed_logins_of_the_address() -> None:
    world = World(policy(**RIGHTS))
    for _ in range(FAILED_LOGINS_COUNT_MAX):
        entrant, _ = world.enter("alice")
        entrant.renew(token_of("mallory"))
        entrant.left()
    entrant, session = world.enter("alice")
    for _ in range(FAILED_RENEWALS_COUNT_MAX):
        assert entrant.renew(token_of("mallory")).code == "rate_limited"
        entrant.renewal_answered()
    assert session.ended == [], "a token that was not looked at ends no login"
    assert world.refused(bearer("mallory")).status == 429


# --- reload ---------------------------------------------------------------------------------------------------------


def test_a_reload_ends_the_logins_that_it_revokes_and_no_others() -> None:
    world = World(policy(**RIGHTS))
    _, alice = world.enter("alice")
    _, resizer = world.enter("resizer", WORKER_PORT)
    world.take(policy(resizer=RIGHTS["resizer"]))
    assert alice.ended == [(4401, "the login was revoked")]
    assert resizer.ended == []
    assert world.entrance.counts.ended[Ended.REVOKED] == 1
    assert world.refused(bearer("alice")).status == HTTPStatus.UNAUTHORIZED
    world.take(policy(resizer=RIGHTS["resizer"]))
    assert len(alice.ended) == 1, "once"


def test_a_token_that_changes_hands_is_revoked() -> None:
    world = World(policy(**RIGHTS))
    _, session = world.enter("alice")
    digest = policy(**RIGHTS).identities["alice"].tokens[0].digest.hex()
    world.take(policy(bob=f'call = ["*"]\ntokens = [{{ sha256 = "{digest}" }}]'))
    assert session.ended == [(4401, "the login was revoked")]


def test_a_right_that_was_used_and_is_lost_ends_the_connection_and_others_just_go() -> None:
    world = World(policy(**RIGHTS))
    user, used = world.enter("alice")
    idle, unused = world.enter("alice")
    assert user.gate.call("resize-small", None) is None
    world.take(policy(**RIGHTS | {"alice": 'call = ["resize-large"]'}))
    assert [code for code, _ in used.ended] == [4403]
    assert "call 'resize-small'" in used.ended[0][1]
    assert unused.ended == []
    assert idle.gate.call("resize-small", None) is not None
    assert idle.gate.call("resize-large", None) is None
    assert world.entrance.counts.ended[Ended.RIGHT_LOST] == 1


def test_one_that_may_no_longer_use_its_port_leaves_it() -> None:
    world = World(policy(**RIGHTS))
    _, session = world.enter("alice")
    world.take(policy(**RIGHTS | {"alice": 'roles = ["operator"]\ndeny = { watch = ["*"] }'}))
    assert session.ended == []  # it may still watch something, as far as is known
    world.take(policy(**RIGHTS | {"alice": 'serve = ["*"]'}))
    assert session.ended == [(4403, "alice has lost all rights on the requester port")]


def test_a_stranger_leaves_when_a_login_is_needed() -> None:
    world = World()
    _, session = world.enter()
    world.take(policy(**RIGHTS))
    assert session.ended == [(4401, "a token is needed now")]


def test_workers_that_leave_together_are_prepared_together() -> None:
    world = World(policy(**RIGHTS))
    sessions = [world.enter("resizer", WORKER_PORT)[1] for _ in range(3)]
    seen: list[list[bool]] = []
    for session in sessions:
        session.login_ended = lambda *_: seen.append([one.is_ending for one in sessions])  # type: ignore[method-assign]
    world.take(policy(alice=RIGHTS["alice"]))
    assert seen == [[True] * 3] * 3


def test_a_reload_is_worked_off_in_slices() -> None:
    world = World(policy(**RIGHTS), address_connections_count_max=1000)
    sessions = [world.enter("alice")[1] for _ in range(300)]
    world.entrance.take(policy(resizer=RIGHTS["resizer"]))
    slices_count = 0
    while world.entrance.check(world.now):
        slices_count += 1
        assert sum(session.is_ending for session in sessions) <= slices_count * SLICE_COUNT_MAX
    assert slices_count == 2 * 300 // SLICE_COUNT_MAX
    assert all(session.ended for session in sessions)


def test_a_revoked_login_that_runs_out_before_its_turn_ends_once() -> None:
    world = World(short_lived(100.0))
    sessions = [world.enter("alice")[1] for _ in range(SLICE_COUNT_MAX + 1)]
    world.entrance.take(policy(resizer=RIGHTS["resizer"]))
    assert world.entrance.check(world.now), "not all have been judged yet"
    world.move(100.0)
    assert all(len(session.ended) == 1 for session in sessions)
    assert sum(world.entrance.counts.ended.values()) == len(sessions)


def test_a_renewal_does_not_save_a_login_that_is_about_to_end() -> None:
    world = World(policy(**RIGHTS), address_connections_count_max=1000)
    entrants = [world.enter("alice")[0] for _ in range(SLICE_COUNT_MAX)]
    world.entrance.take(policy(resizer=RIGHTS["resizer"]))
    assert world.entrance.check(world.now)
    world.authenticator.take(policy(**RIGHTS))
    assert entrants[0].renew(token_of("alice")).code == "unauthenticated"


def test_refusals_at_the_http_port_are_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    world = World(policy(**RIGHTS))
    world.entrance.admit_http({"host": "localhost"}, "10.0.0.7", None, Action.OBSERVE)
    (record,) = caplog.records
    assert isinstance(record.msg, HandshakeRefused)
    assert record.msg.port == HTTP_PORT
