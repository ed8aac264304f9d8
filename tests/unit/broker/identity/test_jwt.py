"""JWTs: one that a configured key has signed logs in; everything else is refused, in words without the token."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.rights import NOTHING, Action
from taskferry.broker.identity import authenticator as authenticator_module
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.jwt_login import LIFETIME_S_MAX, TRIALS_COUNT_MAX
from taskferry.broker.identity.login import Credential, Login, LoginRefused
from taskferry.broker.identity.policy import Policy
from taskferry.configuration.sources import ConfigurationError

from tests.unit.broker.identity import issuer
from tests.unit.broker.identity.issuer import NOW, PUBLIC_ALGORITHMS, SECRET, WALL_NOW, signed

ALGORITHMS = ("HS256", *PUBLIC_ALGORITHMS)


def login(policy: Policy | Authenticator, token: str, wall_now: float = WALL_NOW) -> Login:
    authenticator = policy if isinstance(policy, Authenticator) else Authenticator(policy)
    return authenticator.login(Credential(token), NOW, wall_now)


def refusal(policy: Policy | Authenticator, token: str, wall_now: float = WALL_NOW) -> str:
    with pytest.raises(LoginRefused) as raised:
        login(policy, token, wall_now)
    text = str(raised.value)
    assert text.isprintable()
    assert not any(part in text for part in token.split(".") if len(part) > 8)
    assert raised.value.__cause__ is None
    assert raised.value.retry_after_s == 0
    return text


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm_logs_in(algorithm: str, tmp_path: Path) -> None:
    found = login(issuer.policy(tmp_path, algorithm, "leeway_s = 5"), signed(algorithm))
    assert found.identity == ("alice", NOTHING, NOW + 65, "key main")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_key_of_the_algorithm_does_not(algorithm: str, tmp_path: Path) -> None:
    policy = issuer.policy(tmp_path, algorithm)
    if algorithm == "HS256":
        token = jwt.encode(issuer.claims(), "another" * 10, algorithm)
    else:
        token = signed(algorithm, number=1)
    assert refusal(policy, token) == "the signature of the token is not that of a key here"


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    # The classic confusion: HS256 with the text of the public key.
    policy = issuer.policy(tmp_path, "RS256")
    head, payload = raw({"alg": "HS256", "typ": "JWT"}, issuer.claims()).rsplit(".", 1)[0].split(".")
    for secret in (issuer.pem("RS256"), issuer.pem("RS256").strip()):
        signature = hmac.new(secret, f"{head}.{payload}".encode(), hashlib.sha256).digest()
        token = f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        assert refusal(policy, token) == "no key here is for the algorithm of the token (alg)"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS384", "RS512", "PS256", None, 5, ["HS256"], {}]
)
def test_another_algorithm_is_refused(algorithm: object, tmp_path: Path) -> None:
    for trusted in ALGORITHMS:
        refusal(issuer.policy(tmp_path, trusted), raw({"alg": algorithm, "typ": "JWT"}, issuer.claims()))


@pytest.mark.parametrize("trusted", ALGORITHMS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_header_that_lies_about_its_algorithm(algorithm: str, trusted: str, tmp_path: Path) -> None:
    _, payload, signature = signed(algorithm).split(".")
    head = raw({"alg": trusted}, {}).partition(".")[0]
    if algorithm != trusted:
        refusal(issuer.policy(tmp_path, trusted), f"{head}.{payload}.{signature}")


def test_a_key_in_the_header_is_ignored(tmp_path: Path) -> None:
    jwk = issuer.entry("RS256", 1)
    for headers in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}):
        token = jwt.encode(issuer.claims(), issuer.private_key("RS256", 1), "RS256", headers=headers)
        assert refusal(issuer.policy(tmp_path, "RS256"), token).startswith(
            "the signature of the token is not"
        )


FAR = WALL_NOW + LIFETIME_S_MAX


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"exp": None}, "the token never expires (exp is missing)"),
        ({"exp": WALL_NOW - 30}, "the token has expired"),
        ({"exp": 0}, "the token has expired"),
        ({"exp": -1e300}, "the token has expired"),
        ({"exp": FAR + 1}, "the token expires in over 366 days (exp, LIFETIME_S_MAX)"),
        ({"exp": 10**400}, "the token's exp is not a time"),
        ({"exp": float("inf")}, "the token's exp is not a time"),
        ({"exp": float("nan")}, "the token's exp is not a time"),
        ({"exp": str(WALL_NOW + 9)}, "the token's exp is not a time"),
        ({"exp": True}, "the token's exp is not a time"),
        ({"exp": []}, "the token's exp is not a time"),
        ({"nbf": WALL_NOW + 31}, "the token is not valid yet (nbf)"),
        ({"nbf": "now"}, "the token's nbf is not a time"),
        ({"aud": None}, "the token is for no audience (aud)"),
        ({"aud": "other"}, "the token is for another audience (aud)"),
        ({"aud": "taskferry2"}, "the token is for another audience (aud)"),
        ({"aud": ["other", "Taskferry"]}, "the token is for another audience (aud)"),
        ({"aud": {"taskferry": 1}}, "the token is for another audience (aud)"),
        ({"aud": [["taskferry"]]}, "the token is for another audience (aud)"),
        ({"iss": None}, "the token is from another issuer (iss)"),
        ({"iss": "https://issuer.example/"}, "the token is from another issuer (iss)"),
        ({"sub": None}, "the token names nobody (sub is missing, or not a text)"),
        ({"sub": 7}, "the token names nobody (sub is missing, or not a text)"),
        (
            {"sub": ""},
            "the token's subject is not a name (sub): a name has 1 to 128 characters, this one has 0",
        ),
        ({"sub": "a" * 129}, "the token's subject is not a name (sub): a name has 1 to 128 characters, "),
        (
            {"sub": "anonymous"},
            "the token's subject is not a name (sub): 'anonymous' is the name of strangers",
        ),
        ({"sub": "anonymous at 10.0.0.7"}, "the token's subject is not a name (sub): only letters, "),
        ({"sub": "alice\n"}, "the token's subject is not a name (sub): only letters, "),
        (
            {"taskferry": "admin"},
            "the token's rights cannot be read (claim taskferry): expected a table, got a text",
        ),
        (
            {"taskferry": ["admin"]},
            "the token's rights cannot be read (claim taskferry): expected a table, got a",
        ),
        (
            {"taskferry": {"roles": "admin"}},
            "the token's rights cannot be read (claim taskferry): roles: expected a",
        ),
        (
            {"taskferry": {"roles": ["root"]}},
            "the token's rights cannot be read (claim taskferry): roles[0]: expec",
        ),
        (
            {"taskferry": {"rolls": []}},
            "the token's rights cannot be read (claim taskferry): rolls: no such key; did",
        ),
        (
            {"taskferry": {"tokens": []}},
            "the token's rights cannot be read (claim taskferry): tokens: no such key",
        ),
        ({"taskferry": {"x" * 900: 1}}, "the token's rights cannot be read (claim taskferry): xxx"),
        (
            {"taskferry": {"call": [""]}},
            "the token's rights cannot be read (claim taskferry): call[0]: expected",
        ),
    ],
)
def test_a_claim_that_is_wrong(changed: dict[str, Any], text: str, tmp_path: Path) -> None:
    policy = issuer.policy(tmp_path, jwt_lines='issuer = "https://issuer.example"')
    token = raw_signed({"iss": "https://issuer.example", **changed})
    assert refusal(policy, token).startswith(text)


def raw_signed(changed: dict[str, Any]) -> str:
    """Signed without the checks that PyJWT makes of its own claims."""
    payload = json.dumps(issuer.claims(**changed)).encode()
    return jwt.PyJWS().encode(payload, SECRET, "HS256")


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": WALL_NOW - 29.9},
        {"exp": FAR},
        {"nbf": WALL_NOW + 30},
        {"nbf": 0.5},
        {"aud": ["other", "taskferry"]},
        {"iss": "anybody"},
        {"iat": WALL_NOW + 10_000, "jti": 5, "extra": {"deep": [1]}},
        {"sub": "a" * 128},
        {"taskferry": {}},
    ],
)
def test_claims_within_their_bounds(changed: dict[str, Any], tmp_path: Path) -> None:
    assert login(issuer.policy(tmp_path), raw_signed(changed)).identity.proof == "key main"


def test_malformed_tokens_are_refused(tmp_path: Path) -> None:
    policy = issuer.policy(tmp_path)
    head, payload, signature = signed().split(".")
    deep = b"[" * 5000
    for token in (
        f"{head}.{payload}.",
        f"{head}..{signature}",
        f".{payload}.{signature}",
        f"{head}.{payload}.{signature[:-2]}",
        f"{head}.{payload}x.{signature}",
        f"{head}.{signature}.{payload}",
        f"{head}.{payload}.{signature}.{signature}",
        "..",
        "\ud800.\ud800.\ud800",
        raw(b"\xff", b"\xff", b"\xff"),
        raw([], {}),
        raw(deep, {}),
        raw({"alg": "HS256", "crit": ["b64"], "b64": False}, issuer.claims()),
        raw({"alg": "HS256", "kid": 5}, issuer.claims()),
        jwt.PyJWS().encode(deep, SECRET, "HS256"),
        jwt.PyJWS().encode(b"[1]", SECRET, "HS256"),
        jwt.PyJWS().encode(b"\xff\xfe", SECRET, "HS256"),
        jwt.PyJWS().encode(b'"' + b"x" * 9000 + b'"', SECRET, "HS256"),
    ):
        refusal(policy, token)


def test_a_token_of_the_longest_length(tmp_path: Path) -> None:
    policy = issuer.policy(tmp_path)
    pads = range(5800, 6000)
    by_length = {len(token): token for token in (raw_signed({"pad": "x" * pad}) for pad in pads)}
    longest = max(length for length in by_length if length <= 8000)
    assert longest > 7995
    login(policy, by_length[longest])
    over = min(length for length in by_length if length > 8000)
    assert refusal(policy, by_length[over]) == "the token has over 8000 characters (TOKEN_LENGTH_MAX)"


@given(
    parts=st.lists(
        st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")),
        min_size=3,
        max_size=3,
    )
)
def test_no_text_with_two_dots_crashes_it(parts: list[str]) -> None:
    refusal_of_any = Authenticator(ANY)
    with pytest.raises(LoginRefused):
        login(refusal_of_any, ".".join(parts))


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), st.none() | st.text() | st.booleans()
    ),
    payload=st.binary(max_size=50) | st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
)
def test_no_header_crashes_it(header: dict[str, object], payload: object) -> None:
    with pytest.raises(LoginRefused):
        login(Authenticator(ANY), raw(header, payload, b"signature"))


ANY = parsed(
    f"[jwt]\naudience = 'taskferry'\n[jwt.keys.main]\nalgorithm = 'HS256'\nsecret = '{SECRET}'".encode(),
    Path("a.toml"),
)


def test_the_claim_grants_and_the_file_grants_and_deny_wins(tmp_path: Path) -> None:
    more = '[identities.alice]\nserve = ["x"]\ndeny = { call = ["no-*"] }'
    policy = issuer.policy(tmp_path, more=more)
    granted = {"call": ["*"], "deny": {"serve": ["y*"]}}
    rights = login(policy, raw_signed({"taskferry": granted})).identity.rights
    for action, subject, is_allowed in (
        (Action.CALL, "echo", True),
        (Action.CALL, "no-echo", False),
        (Action.SERVE, "x", True),
        (Action.SERVE, "yx", False),
        (Action.OBSERVE, "", False),
    ):
        assert rights.decide(action, subject).is_allowed is is_allowed, (action, subject)
    admin = login(policy, raw_signed({"taskferry": {"roles": ["admin"]}})).identity.rights
    assert not admin.decide(Action.CALL, "no-echo").is_allowed
    assert admin.decide(Action.OPERATE).is_allowed
    alone = login(policy, raw_signed({"sub": "bob", "taskferry": granted})).identity.rights
    assert not alone.decide(Action.SERVE, "x").is_allowed
    assert login(policy, raw_signed({})).identity.rights is policy.rights_of("alice")


def test_a_claim_gives_no_rights_unless_it_is_the_configured_one(tmp_path: Path) -> None:
    policy = issuer.policy(tmp_path, jwt_lines='claim = "https://x.example/rights"')
    changed: dict[str, Any] = {"taskferry": {"roles": ["admin"]}, "roles": ["admin"], "scope": "admin"}
    assert login(policy, raw_signed(changed)).identity.rights is NOTHING
    changed["https://x.example/rights"] = {"roles": ["observer"]}
    assert login(policy, raw_signed(changed)).identity.rights.decide(Action.OBSERVE).is_allowed


def test_too_many_patterns_together_are_refused(tmp_path: Path) -> None:
    patterns = json.dumps([f"f{number}" for number in range(950)])
    policy = issuer.policy(tmp_path, more=f"[identities.alice]\ncall = {patterns}")
    granted = {"call": [f"t{number}" for number in range(50)]}
    login(policy, raw_signed({"taskferry": granted}))
    granted["call"].append("one-more")
    assert "at most 1000 (RULES_COUNT_MAX)" in refusal(policy, raw_signed({"taskferry": granted}))


def test_a_certificate_in_pem_will_do_and_a_short_rsa_key_will_not(tmp_path: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    lines = "[jwt]\naudience = 'taskferry'\n[jwt.keys.main]\nalgorithm = '{}'\npem_file = 'key.pem'"
    path = tmp_path / "access.toml"
    authority.cert_pem.write_to_path(str(tmp_path / "key.pem"))
    policy = parsed(lines.format("ES256").encode(), path)
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert login(policy, jwt.encode(issuer.claims(), key, "ES256")).identity.proof == "key main"  # type: ignore[arg-type]
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505  which is refused
    (tmp_path / "key.pem").write_bytes(short.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(
        ConfigurationError, match="RS256 needs an RSA key of at least 2048 bits, this one has 1024"
    ):
        parsed(lines.format("RS256").encode(), path)


def test_a_key_is_chosen_by_its_id(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"{number}.pem").write_bytes(issuer.pem("ES256", number))
    (tmp_path / "set.json").write_bytes(
        issuer.key_set(
            issuer.entry("EdDSA", 0, kid="e0"),
            issuer.entry("EdDSA", 1, kid="e1", alg="EdDSA", use="sig"),
            issuer.entry("EdDSA", 2, kid="e2", use="enc"),
            issuer.entry("RS256", 0, kid="e3"),
            {**issuer.entry("EdDSA", 3), "kid": "e4", "d": "AAAA"},
            issuer.entry("EdDSA", 4, kid="e" * 257),
            issuer.entry("EdDSA", 4, alg="ES256"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "e5"},
            {"kty": "OKP"},
            [],  # type: ignore[arg-type]
        )
    )
    keys = "".join(f"[jwt.keys.p{n}]\nalgorithm = 'ES256'\npem_file = '{n}.pem'\n" for n in (0, 1))
    text = f"[jwt]\naudience = 'taskferry'\n{keys}[jwt.keys.s]\nalgorithm = 'EdDSA'\njwks_file = 'set.json'"
    policy = parsed(text.encode(), tmp_path / "access.toml")
    assert policy.jwt is not None
    assert [key.key_id for key in policy.jwt.keys] == [None, None, "e0", "e1"]
    for algorithm, number, kid, name in (
        ("ES256", 0, None, "p0"),
        ("ES256", 1, None, "p1"),
        ("ES256", 1, "p1", "p1"),
        ("ES256", 1, "an-id-of-the-issuer", "p1"),
        ("EdDSA", 1, "e1", "s"),
        ("EdDSA", 0, None, "s"),
    ):
        assert login(policy, signed(algorithm, number, kid)).identity.proof == f"key {name}"
    for algorithm, number, kid in (
        ("ES256", 1, "p0"),
        ("EdDSA", 0, "e1"),
        ("EdDSA", 0, "unknown"),
        ("EdDSA", 2, "e2"),
    ):
        refusal(policy, signed(algorithm, number, kid))


def test_a_signature_is_checked_against_a_few_keys_only(tmp_path: Path) -> None:
    def policy_with(count: int) -> Policy:
        keys = "".join(
            f"[jwt.keys.k{n}]\nalgorithm = 'HS256'\nsecret = '{SECRET}{n}'\n" for n in range(count - 1)
        )
        return issuer.policy(tmp_path, more=keys)

    assert login(policy_with(TRIALS_COUNT_MAX), signed()).identity.proof == "key main"
    policy = policy_with(TRIALS_COUNT_MAX + 1)
    assert login(policy, signed(kid="main")).identity.proof == "key main"
    assert refusal(policy, signed()).startswith("the token does not say which of 11 keys has signed it (kid)")


def test_a_verified_token_is_remembered_and_no_longer_than_it_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(issuer.policy(tmp_path))
    token = signed()
    assert not authenticator.is_known(Credential(token))
    first = login(authenticator, token)
    assert authenticator.is_known(Credential(token))
    assert login(authenticator, token, WALL_NOW + 5) is first
    with pytest.raises(LoginRefused, match="the token has expired"):
        authenticator.login(Credential(token), NOW + 90, WALL_NOW + 90)
    assert not authenticator.is_known(Credential(token))
    assert login(authenticator, token).identity.rights is first.identity.rights
    monkeypatch.setattr(authenticator_module, "VERIFIED_COUNT_MAX", 2)
    for name in ("bob", "carl"):
        login(authenticator, signed(sub=name))
    assert not authenticator.is_known(Credential(token))
    assert authenticator.is_known(Credential(signed(sub="carl")))
    authenticator.take(issuer.policy(tmp_path))
    assert not authenticator.is_known(Credential(signed(sub="carl")))


def test_what_a_reload_leaves_of_a_jwt(tmp_path: Path) -> None:
    authenticator = Authenticator(issuer.policy(tmp_path))
    found = login(authenticator, raw_signed({"taskferry": {"call": ["a"]}}))
    authenticator.take(issuer.policy(tmp_path, more="[identities.alice]\ndeny = { call = ['*'] }"))
    again = authenticator.judge_again(found, NOW + 50, WALL_NOW - 10_000)
    assert again is not None
    assert again.identity.expires_at == found.identity.expires_at == NOW + 90
    assert not again.identity.rights.decide(Action.CALL, "a").is_allowed
    assert authenticator.judge_again(found, NOW + 90, WALL_NOW) is None
    for policy in (
        issuer.policy(tmp_path, "RS256"),
        issuer.policy(tmp_path, jwt_lines='claim = "other"'),
        issuer.policy(tmp_path, jwt_lines='issuer = "other"'),
        parsed(b"[identities.alice]", Path("access.toml")),
    ):
        authenticator.take(policy)
        assert authenticator.judge_again(found, NOW, WALL_NOW) is None
    # The same key under another name is the same key.
    renamed = issuer.policy(tmp_path).jwt
    assert renamed is not None
    authenticator.take(Policy(jwt=renamed))
    assert authenticator.judge_again(found, NOW, WALL_NOW) is not None
