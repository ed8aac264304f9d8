"""Static tokens and certificates: who is logged in, until when, and what a reload leaves of it."""

import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.identity import ANONYMOUS
from taskferry.broker.access.rights import EVERYTHING, NOTHING
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.login import Credential, LoginRefused
from taskferry.broker.identity.policy import OPEN, Policy
from taskferry.broker.identity.static_token import digest_of, new_token

from tests.unit.broker.identity.handshake import certificate_of

NOW = 5_000.0
WALL_NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
TOKEN = f"tfk_{'aB3-' * 10}xyz"
OTHER = f"tfk_{'cD4_' * 10}xyz"


def policy(text: str) -> Policy:
    return parsed(text.encode(), Path("access.toml"))


def listed(token: str, expires: str = "") -> str:
    return f'{{ sha256 = "{digest_of(token).hex()}"{f", expires = {expires}" if expires else ""} }}'


def identity(name: str, *tokens: str, more: str = "") -> str:
    return f"[identities.{name}]\ntokens = [{', '.join(tokens)}]\n{more}\n"


def refusal(
    authenticator: Authenticator, credential: Credential, now: float = NOW, wall: float = WALL_NOW
) -> str:
    with pytest.raises(LoginRefused) as raised:
        authenticator.login(credential, now, wall)
    assert raised.value.retry_after_s == 0
    return str(raised.value)


def test_a_token_is_long_random_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"tfk_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_token_proves_its_identity() -> None:
    found = policy(identity("alice", listed(TOKEN), listed(OTHER), more='call = ["a"]'))
    authenticator = Authenticator(found)
    login = authenticator.login(Credential(TOKEN), NOW, WALL_NOW)
    assert authenticator.login(Credential(OTHER), NOW, WALL_NOW).identity.rights is login.identity.rights
    assert login.identity == ("alice", found.rights_of("alice"), None, f"token {digest_of(TOKEN).hex()[:8]}")
    assert authenticator.is_known(Credential(TOKEN))
    assert TOKEN not in repr((login, found, Credential(TOKEN), authenticator.__dict__))


def test_an_unknown_token_and_a_revoked_one_look_the_same() -> None:
    authenticator = Authenticator(policy(identity("alice", listed(TOKEN)) + identity("bob", listed(OTHER))))
    unknown = refusal(authenticator, Credential("tfk_" + "A" * 43))
    authenticator.take(policy(identity("bob", listed(OTHER))))
    assert refusal(authenticator, Credential(TOKEN)) == unknown == "the token is not known here"
    assert not authenticator.is_known(Credential(TOKEN))


@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN.upper(),
        TOKEN[4:],
        f" {TOKEN}",
        digest_of(TOKEN).hex(),
        "",
        ".",
        "..",
        "a.b.c",
    ],
    ids=[  # a random token is no name for a test: each process would have another
        "cut",
        "longer",
        "upper case",
        "no prefix",
        "a space",
        "its digest",
        "nothing",
        "a dot",
        "two dots",
        "no JWT",
    ],
)
def test_nearly_a_token_is_none(token: str) -> None:
    refusal(Authenticator(policy(identity("alice", listed(TOKEN)))), Credential(token))


@given(
    token=st.text(max_size=200)
    | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
def test_any_text_is_refused_in_the_same_words(token: str) -> None:
    authenticator = Authenticator(policy(identity("alice", listed(TOKEN))))
    assert refusal(authenticator, Credential(token)) == "the token is not known here"


def test_a_token_runs_out_on_the_monotonic_clock() -> None:
    authenticator = Authenticator(policy(identity("alice", listed(TOKEN, "2027-01-15T08:00:10Z"))))
    login = authenticator.login(Credential(TOKEN), NOW, WALL_NOW)
    assert login.identity.expires_at == NOW + 10
    authenticator.login(Credential(TOKEN), NOW, WALL_NOW + 9.9)
    assert refusal(authenticator, Credential(TOKEN), NOW, WALL_NOW + 10) == "the token has expired"


def test_a_jump_of_the_wall_clock_ends_no_login() -> None:
    found = policy(identity("alice", listed(TOKEN, "2027-01-15T08:00:10Z")))
    authenticator = Authenticator(found)
    login = authenticator.login(Credential(TOKEN), NOW, WALL_NOW)
    again = authenticator.judge_again(login, NOW + 5, WALL_NOW + 3600)
    assert again == login
    assert authenticator.judge_again(login, NOW + 10, WALL_NOW - 3600) is None


def test_who_presents_nothing_is_a_stranger() -> None:
    found = policy('anonymous = { call = ["a"] }\n[identities.alice]')
    authenticator = Authenticator(found)
    login = authenticator.login(Credential(), NOW, WALL_NOW)
    assert login.identity == (ANONYMOUS, found.anonymous, None, "nothing")
    assert authenticator.is_known(Credential())
    again = authenticator.judge_again(login, NOW, WALL_NOW)
    assert again == login
    closed = policy("[identities.alice]")
    authenticator.take(closed)
    again = authenticator.judge_again(login, NOW, WALL_NOW)
    assert again is not None
    assert again.identity.rights is NOTHING


def test_without_an_access_file_everyone_may_do_everything() -> None:
    authenticator = Authenticator(OPEN)
    for credential in (Credential(), Credential(TOKEN), Credential("a.b.c")):
        assert authenticator.login(credential, NOW, WALL_NOW).identity == (
            ANONYMOUS,
            EVERYTHING,
            None,
            "nothing",
        )
        assert authenticator.is_known(credential)


def test_what_a_reload_leaves_of_a_login() -> None:
    before = policy(identity("alice", listed(TOKEN, "2027-02-01"), more='call = ["a"]'))
    authenticator = Authenticator(before)
    login = authenticator.login(Credential(TOKEN), NOW, WALL_NOW)
    for text in (
        identity("alice", listed(OTHER)),
        identity("bob", listed(TOKEN)),
        identity("alice", listed(TOKEN, "2027-01-15T08:00:00Z")),
        "anonymous = { roles = ['admin'] }",
    ):
        authenticator.take(policy(text))
        assert authenticator.judge_again(login, NOW, WALL_NOW) is None, text
    after = policy(
        identity("alice", listed(OTHER), listed(TOKEN, "2027-01-15T08:01:00Z"), more='call = ["b"]')
    )
    authenticator.take(after)
    again = authenticator.judge_again(login, NOW, WALL_NOW)
    assert again is not None
    assert again.identity == ("alice", after.rights_of("alice"), NOW + 60, login.identity.proof)
    authenticator.take(OPEN)
    opened = authenticator.judge_again(again, NOW, WALL_NOW)
    assert opened is not None
    assert opened.identity.rights is EVERYTHING
    authenticator.take(policy(identity("bob", listed(OTHER))))
    assert authenticator.judge_again(opened, NOW, WALL_NOW) is None


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_certificate_proves_the_identity_of_its_name(authority: trustme.CA) -> None:
    found = policy(
        '[identities.w]\ncertificates = ["DNS:Worker-7.example"]\n'
        '[identities.i]\ncertificates = ["IP:10.0.0.7", "IP:2001:DB8::0007"]\n'
        + identity("alice", listed(TOKEN))
    )
    authenticator = Authenticator(found)
    certificate = certificate_of(authority, "worker-7.EXAMPLE", "other.example")
    login = authenticator.login(Credential(certificate=certificate), NOW, WALL_NOW)
    expires_at = login.identity.expires_at
    assert expires_at == NOW + ssl.cert_time_to_seconds(certificate["notAfter"]) - WALL_NOW
    assert login.identity == ("w", found.rights_of("w"), expires_at, "certificate")
    assert authenticator.judge_again(login, NOW, WALL_NOW) == login
    assert authenticator.judge_again(login, expires_at, WALL_NOW) is None
    wall_end = ssl.cert_time_to_seconds(certificate["notAfter"])
    authenticator.login(Credential(certificate=certificate), NOW, wall_end - 1.0)
    # A connection that carries several requests shows the certificate of its handshake with each.
    assert refusal(authenticator, Credential(certificate=certificate), NOW, wall_end) == (
        "the certificate has expired"
    )
    for address in ("10.0.0.7", "2001:db8::7"):
        of_address = certificate_of(authority, address)
        assert authenticator.login(Credential(certificate=of_address), NOW, WALL_NOW).identity.name == "i"
    # The token decides if both are presented.
    assert authenticator.login(Credential(TOKEN, certificate), NOW, WALL_NOW).identity.name == "alice"
    refusal(authenticator, Credential("tfk_wrong", certificate))
    both = certificate_of(authority, "worker-7.example", "10.0.0.7")
    assert (
        refusal(authenticator, Credential(certificate=both))
        == "the certificate has names of several identities"
    )
    for text in ('[identities.x]\ncertificates = ["DNS:worker-7.example"]', "[identities.w]"):
        authenticator.take(policy(text))
        assert authenticator.judge_again(login, NOW, WALL_NOW) is None
    names = ("worker-7", "other")
    ambiguous = [f'[identities.{name}]\ncertificates = ["DNS:{name}.example"]' for name in names]
    authenticator.take(policy("\n".join(ambiguous)))
    assert authenticator.judge_again(login, NOW, WALL_NOW) is None


def test_a_certificate_that_nobody_is_known_by_is_a_strangers(authority: trustme.CA) -> None:
    authenticator = Authenticator(policy('[identities.w]\ncertificates = ["DNS:a.worker.example"]'))
    # A wildcard in a certificate is no pattern, and a common name is no name.
    for certificate in (
        certificate_of(authority, "*.worker.example"),
        certificate_of(authority, "x.example", common_name="a.worker.example"),
    ):
        login = authenticator.login(Credential(certificate=certificate), NOW, WALL_NOW)
        assert login.identity == (ANONYMOUS, NOTHING, None, "certificate of no identity")


def test_nothing_of_cryptography_is_loaded_without_a_jwt_key() -> None:
    program = f"""
import sys
from pathlib import Path
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.login import Credential
authenticator = Authenticator(parsed({identity("a", listed(TOKEN)).encode()!r}, Path("access.toml")))
authenticator.start()
assert authenticator.login(Credential({TOKEN!r}), 1.0, 1.0).identity.name == "a"
assert not {{"jwt", "cryptography", "urllib.request"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], timeout=20, check=True)
