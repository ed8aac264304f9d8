"""The access file: what it says becomes a policy, and each error is one line that quotes no secret."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.broker.access.rights import EVERYTHING, NOTHING, Action
from taskferry.broker.identity import access_file
from taskferry.broker.identity.access_file import IDENTITIES_COUNT_MAX, KEYS_COUNT_MAX, parsed, read_policy
from taskferry.broker.identity.policy import Policy
from taskferry.broker.identity.tables import CERTIFICATES_COUNT_MAX, LEEWAY_S_MAX, TOKENS_COUNT_MAX
from taskferry.configuration.sources import ConfigurationError

from tests.each_case import each_case
from tests.unit.broker.identity import issuer

DIGEST = "ab" * 32
PATH = Path("access.toml")


def policy(text: str, path: Path = PATH) -> Policy:
    return parsed(text.encode(), path)


def errors(text: str, path: Path = PATH) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        policy(text, path)
    assert all(line.startswith(f"{path}: ") for line in raised.value.lines)
    return [line.removeprefix(f"{path}: ") for line in raised.value.lines]


FULL = f"""
anonymous = {{ call = ["get_time"], limits = {{ messages_per_s = 5 }} }}

[identities.alice]
roles = ["requester", "observer"]
serve = ["resize-*"]
jobs = "all"
operate = true
deny = {{ call = ["resize-huge"], jobs = "own" }}
tokens = [{{ sha256 = "{DIGEST.upper()}", expires = 2027-01-01T01:00:00+01:00, note = "laptop" }}]
certificates = ["dns:Worker-7.example", "URI:spiffe://Example/w"]
limits = {{ bytes_per_s = 0, connections_count_max = 1 }}

[identities."b@x/y"]
roles = ["admin"]
"""


def test_all_of_it_becomes_a_policy() -> None:
    found = policy(FULL)
    assert not found.is_open
    assert found.anonymous.decide(Action.CALL, "get_time").is_allowed
    assert not found.anonymous.decide(Action.CALL, "echo").is_allowed
    alice = found.rights_of("alice")
    for action, subject, rule in (
        (Action.CALL, "echo", "role requester"),
        (Action.SERVE, "resize-small", 'serve "resize-*"'),
        (Action.OPERATE, "", 'operate "*"'),
    ):
        assert alice.decide(action, subject) == (True, rule)
    for action, subject, rule in (
        (Action.CALL, "resize-huge", 'deny call "resize-huge"'),
        (Action.JOBS, "own", 'deny jobs "own"'),
        (Action.JOBS, "all", 'deny jobs "all"'),
        (Action.SERVE, "echo", "no rule grants it"),
    ):
        assert alice.decide(action, subject) == (False, rule)
    (token,) = found.identities["alice"].tokens
    assert found.tokens == {bytes.fromhex(DIGEST): token}
    assert (token.identity, token.expires_at_wall, token.note) == ("alice", 1798761600.0, "laptop")
    assert found.certificates == {"DNS:worker-7.example": "alice", "URI:spiffe://Example/w": "alice"}
    assert found.limits_of("alice") == {"bytes_per_s": 0, "connections_count_max": 1}
    assert found.limits_of("anonymous") == {"messages_per_s": 5}
    assert found.limits_of("eve") == {}
    assert found.rights_of("b@x/y") is EVERYTHING
    assert found.rights_of("eve") is NOTHING
    assert found.warnings == ()


def test_strangers_may_do_nothing_once_anything_is_configured(tmp_path: Path) -> None:
    assert policy("[identities.alice]").anonymous is NOTHING
    assert policy("anonymous = {}").anonymous is NOTHING
    assert issuer.policy(tmp_path).anonymous is NOTHING


def test_what_is_denied_is_denied_to_an_admin_too() -> None:
    rights = policy('[identities.a]\nroles = ["admin"]\ndeny = { operate = true }').rights_of("a")
    assert rights.decide(Action.OPERATE) == (False, 'deny operate "*"')
    assert rights.decide(Action.OBSERVE).is_allowed


def test_a_day_begins_at_midnight_utc() -> None:
    found = policy(f'[identities.a]\ntokens = [{{ sha256 = "{DIGEST}", expires = 2027-01-01 }}]')
    assert found.tokens[bytes.fromhex(DIGEST)].expires_at_wall == 1798761600.0


TWICE = f'[identities.a]\ntokens = [{{ sha256 = "{DIGEST}" }}]\n[identities.b]\ntokens = [{{ sha256 = "{DIGEST}" }}]'
SAN_TWICE = '[identities.a]\ncertificates = ["DNS:X"]\n[identities.b]\ncertificates = ["dns:x"]'


@each_case(
    ("text", "line"),
    [
        ("", "nobody may do anything: add [identities.NAME], "),
        ("x = ", "not valid TOML: "),
        ("identitis = {}", "identitis: no such key; did you mean identities?"),
        ("identities = 3", "identities: expected a table, got a whole number"),
        ("[identities.a]\ncalls = []", "[identities.a] calls: no such key; did you mean call?"),
        ('[identities.a]\n"\\u001b" = 1', "[identities.a] \\x1b: no such key; the keys are call, serve, "),
        ('[identities.a]\ncall = "x"', "[identities.a] call: expected a list, got a text"),
        ("[identities.a]\ncall = [3]", "[identities.a] call[0]: expected a text, got a whole number"),
        ('[identities.a]\ncall = [""]', "[identities.a] call[0]: expected a text of at least 1 characters"),
        ('[identities.a]\ncall = ["\\u001b"]', "[identities.a] call: only printable characters"),
        ('[identities.a]\njobs = "al"', "[identities.a] jobs: expected one of own, all; did you mean all?"),
        (
            '[identities.a]\nroles = ["requestr"]',
            "[identities.a] roles[0]: expected one of worker, requester, observer, operator, admin; "
            "did you mean requester?",
        ),
        ("[identities.a]\nobserve = 1", "[identities.a] observe: expected true or false, got a whole number"),
        (
            '[identities.a]\ndeny = { roles = ["admin"] }',
            "[identities.a] deny.roles: no such key; the keys are ",
        ),
        (
            "[identities.a]\nlimits = { messages = 1 }",
            "[identities.a] limits.messages: no such key; did you mean ",
        ),
        (
            "[identities.a]\nlimits = { messages_per_s = -1 }",
            "[identities.a] limits.messages_per_s: expected a number of at least 0",
        ),
        ("[identities.anonymous]", "[identities.anonymous]: 'anonymous' is the name of strangers"),
        ('[identities."a b"]', "[identities.'a b']: only letters, digits and _ . : @ / - may be used"),
        ('[identities.""]', "[identities.'']: a name has 1 to 128 characters, this one has 0"),
        (
            f"[identities.{'a' * 129}]",
            f"[identities.{'a' * 129}]: a name has 1 to 128 characters, this one has 129",
        ),
        ("[identities.a]\ntokens = [{}]", "[identities.a] tokens[0]: object missing required field"),
        ('[identities.a]\ntokens = [{ sha256 = "ab" }]', "[identities.a] tokens[0].sha256: expected the 64 "),
        (
            f'[identities.a]\ntokens = [{{ sha256 = "{DIGEST}", expires = 2027-01-01T00:00:00 }}]',
            "[identities.a] tokens[0].expires: a date and time needs an offset; for UTC, add a Z",
        ),
        (
            f'[identities.a]\ntokens = [{{ sha256 = "{DIGEST}", expires = "2027-01-01" }}]',
            "[identities.a] tokens[0].expires: expected a date or a date and time, without quotes, ",
        ),
        (
            f'[identities.a]\ntokens = [{{ sha256 = "{DIGEST}", note = "a\\nb" }}]',
            "[identities.a] tokens[0].note: only printable characters may be used, on one line",
        ),
        (TWICE, "[identities.b] tokens[0].sha256: abababab... is a token of a already"),
        (SAN_TWICE, "[identities.b] certificates[0]: belongs to a already"),
        (
            '[identities.a]\ncertificates = ["worker"]',
            "[identities.a] certificates[0]: expected a subject alternative",
        ),
        ("anonymous = { tokens = [] }", "[anonymous] tokens: no such key; the keys are "),
        ("[jwt]\naudience = 'a'", "[jwt.keys]: expected 1 to 32 keys (KEYS_COUNT_MAX), got 0"),
        ("[jwt.keys.a]\nalgorithm = 'HS256'", "[jwt] audience: is missing; "),
    ],
)
def test_an_error_is_one_line(text: str, line: str) -> None:
    (found,) = errors(text)
    assert found.startswith(line)
    assert "\n" not in found


KEY = "[jwt]\naudience = 'a'\n[jwt.keys.k]\n"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("algorithm = 'none'", "algorithm: expected one of HS256, RS256, ES256, EdDSA"),
        ("algorithm = 'hs256'\nsecret = 'SECRET'", "algorithm: expected one of HS256, RS256, ES256, EdDSA"),
        (
            "algorithm = 'HS256'",
            "expected exactly one of secret, secret_file, pem_file, jwks_file, jwks_url, got 0",
        ),
        ("algorithm = 'HS256'\nsecret = 'SECRET'\npem_file = 'x'", "expected exactly one of "),
        ("algorithm = 'HS256'\nsecret = 5", "secret: expected a text, got a whole number"),
        (
            "algorithm = 'HS256'\nsecret = 'SECRET'",
            "secret: HS256 needs a secret of at least 32 bytes, this one has 6",
        ),
        ("algorithm = 'HS256'\npem_file = 'rsa.pem'", "pem_file: HS256 needs secret or secret_file"),
        (
            "algorithm = 'HS256'\nsecret_file = 'rsa.pem'",
            "secret_file: this is a public key or a certificate",
        ),
        ("algorithm = 'RS256'\nsecret = 'SECRET'", "secret: RS256 needs pem_file, jwks_file or jwks_url"),
        ("algorithm = 'RS256'\npem_file = 'none.pem'", "pem_file: none.pem: No such file or directory"),
        ("algorithm = 'RS256'\npem_file = \"a\\u0000\"", "pem_file: a\\x00: "),
        (
            "algorithm = 'RS256'\npem_file = 'private.pem'",
            "pem_file: this is a private key, and the broker needs",
        ),
        (
            "algorithm = 'RS256'\npem_file = 'secret'",
            "pem_file: expected a public key or a certificate in PEM",
        ),
        (
            "algorithm = 'ES256'\npem_file = 'rsa.pem'",
            "pem_file: ES256 needs a key on the curve P-256, and this is",
        ),
        (
            "algorithm = 'RS256'\npem_file = 'large'",
            "pem_file: large: over 262144 bytes (KEY_FILE_SIZE_BYTES_MAX)",
        ),
        (
            "algorithm = 'RS256'\njwks_file = 'rsa.pem'",
            "jwks_file: expected a JSON Web Key Set: an object with",
        ),
        ("algorithm = 'ES256'\njwks_file = 'set'", "jwks_file: none of its 1 keys is a public key for ES256"),
        (
            "algorithm = 'RS256'\njwks_url = 'http://issuer.example/'",
            "jwks_url: expected a URL with https; http is",
        ),
        (
            "algorithm = 'RS256'\njwks_url = 'http://127.0.0.1.example/'",
            "jwks_url: expected a URL with https; http",
        ),
        (
            "algorithm = 'RS256'\njwks_url = 'file:///etc/passwd'",
            "jwks_url: expected a URL with https; http is",
        ),
        (
            "algorithm = 'RS256'\njwks_url = 'https://u:SECRET@x/'",
            "jwks_url: a URL with a user or a password is",
        ),
        ("algorithm = 'RS256'\njwks_url = 'https://[x/'", "jwks_url: expected a URL such as https://"),
    ],
)
def test_an_error_in_a_key_is_one_line_without_the_secret(
    lines: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rsa.pem").write_bytes(issuer.pem("RS256"))
    Path("private.pem").write_bytes(issuer.private_pem("RS256"))
    Path("secret").write_text("SECRET" * 10)
    Path("large").write_bytes(bytes(256 * 1024 + 1))
    Path("set").write_bytes(issuer.key_set(issuer.entry("RS256")))
    (found,) = errors(KEY + lines)
    assert found.startswith(f"[jwt.keys.k] {line}")
    assert "SECRET" not in found


def test_every_error_has_its_line() -> None:
    found = errors('x = 1\n[identities.a]\ncall = 1\n[identities.b]\njobs = "x"\n[jwt]\nleeway_s = 301')
    places = [line.partition(":")[0] for line in found]
    assert places == ["x", "[identities.a] call", "[identities.b] jobs", "[jwt] leeway_s"]


def many(count: int, form: str) -> str:
    return ", ".join(form.format(number) for number in range(count))


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    token = '{{ sha256 = "{:064x}" }}'
    for form, count_max in (
        (f"[identities.a]\ntokens = [{{}}]#{token}", TOKENS_COUNT_MAX),
        ('[identities.a]\ncertificates = [{}]#"DNS:{}"', CERTIFICATES_COUNT_MAX),
        ('[identities.a]\ncall = [{}]#"{}"', 1000),
    ):
        text, _, item = form.partition("#")
        policy(text.format(many(count_max, item)))
        (found,) = errors(text.format(many(count_max + 1, item)))
        assert f"of at most {count_max}" in found
    patterns = many(600, '"{}"')
    (found,) = errors(f"[identities.a]\ncall = [{patterns}]\nserve = [{patterns}]")
    assert found == "[identities.a] 1200 patterns for one identity, at most 1000 (RULES_COUNT_MAX)"
    identities = "".join(f"[identities.a{number}]\n" for number in range(3))
    monkeypatch.setattr(access_file, "IDENTITIES_COUNT_MAX", 3)
    policy(identities)
    (found,) = errors(f"{identities}[identities.b]")
    assert found == "[identities]: expected at most 3 identities (IDENTITIES_COUNT_MAX), got 4"
    assert IDENTITIES_COUNT_MAX == 10_000
    keys = "".join(
        f"[jwt.keys.k{number}]\nalgorithm = 'HS256'\nsecret = '{number:032}'\n"
        for number in range(KEYS_COUNT_MAX)
    )
    jwt = f"[jwt]\naudience = 'a'\nleeway_s = {LEEWAY_S_MAX}\n"
    found_policy = policy(jwt + keys)
    assert found_policy.jwt is not None
    assert len(found_policy.jwt.keys) == KEYS_COUNT_MAX
    assert errors(f"{jwt}{keys}[jwt.keys.more]")[0].startswith("[jwt.keys]: expected 1 to 32 keys")


def test_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "access.toml"
    with pytest.raises(ConfigurationError, match=r"access.toml: No such file"):
        read_policy(path)
    path.write_text("[identities.a]\n")
    monkeypatch.setattr(access_file, "FILE_SIZE_BYTES_MAX", path.stat().st_size)
    assert list(read_policy(path).identities) == ["a"]
    path.write_text("[identities.a]\n\n")
    with pytest.raises(ConfigurationError, match=r"access.toml: over 15 bytes \(FILE_SIZE_BYTES_MAX\)"):
        read_policy(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"access.toml: not UTF-8 \(byte 0\)"):
        read_policy(path)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the mode says nothing")
def test_a_secret_that_everyone_can_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(f"{issuer.SECRET}\n")
    path = tmp_path / "access.toml"
    in_file = KEY + f"algorithm = 'HS256'\nsecret = '{issuer.SECRET}'"
    beside = KEY + "algorithm = 'HS256'\nsecret_file = 's'"
    for text, secret in ((in_file, path), (beside, tmp_path / "s")):
        path.write_text(text)
        for each in (path, tmp_path / "s"):
            each.chmod(0o640)
        found = read_policy(path)
        assert found.warnings == ()
        assert found.jwt is not None
        assert found.jwt.keys[0].key == issuer.SECRET.encode()  # without the line's end
        secret.chmod(0o644)
        (warning,) = read_policy(path).warnings
        assert str(secret) in warning
        assert issuer.SECRET not in warning + repr(found)


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "roles",
        "call",
        "deny",
        "jobs",
        "tokens",
        "certificates",
        "limits",
        "sha256",
        "expires",
        "keys",
        "audience",
    ]
)
TABLES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=4)


@settings(max_examples=40)
@given(
    document=st.fixed_dictionaries(
        {},
        optional={
            "anonymous": TABLES | VALUES,
            "jwt": TABLES,
            "identities": st.dictionaries(st.text(), TABLES),
        },
    )
)
def test_no_document_crashes_it(document: dict[str, object]) -> None:
    reader = access_file._Reader(PATH)
    reader.policy(document)
    assert all(fault.isprintable() for fault in reader.faults)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_crash_it(content: bytes) -> None:
    with contextlib.suppress(ConfigurationError):
        parsed(content, PATH)
