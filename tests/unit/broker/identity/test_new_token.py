"""The lines of a new token: they are read back as they were meant, and never spoil the file that they are added to."""

import contextlib
import datetime
import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.rights import Action
from taskferry.broker.identity.access_file import parsed, read_policy
from taskferry.broker.identity.new_token import NewToken, append, check, expiry_from
from taskferry.broker.identity.static_token import digest_of
from taskferry.configuration.sources import ConfigurationError

from tests.each_case import each_case

NOW = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
PATTERNS = st.lists(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20), max_size=3
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,20}", fullmatch=True).filter(
    lambda name: name != "anonymous"
)


def new(name: str = "alice", number: int = 0, **rights: list[str]) -> NewToken:
    return NewToken(name, digest_of(f"token {number}"), rights)


def refusal(path: Path, token: NewToken) -> str:
    with pytest.raises(ConfigurationError) as raised:
        append(path, token)
    return str(raised.value)


@given(
    name=NAMES,
    call=PATTERNS,
    serve=PATTERNS,
    note=st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30),
    expires=st.none()
    | st.datetimes(max_value=datetime.datetime(9000, 1, 1), timezones=st.just(datetime.UTC)),
)
def test_the_lines_are_read_back(
    name: str, call: list[str], serve: list[str], note: str, expires: datetime.datetime | None
) -> None:
    token = NewToken(
        name, digest_of(name), {"call": call, "serve": serve, "roles": ["observer"]}, expires, note
    )
    check(token)
    lists = f'[identities."{name}"]\ntokens = [{token.entry()}]'
    for text in (token.lines(), lists):
        found = parsed(text.encode(), Path("access.toml"))
        (listed,) = found.identities[name].tokens
        wanted = None if expires is None else expires.replace(microsecond=0).timestamp()
        assert (listed.digest, listed.expires_at_wall, listed.note) == (digest_of(name), wanted, note)
    grants = parsed(token.lines().encode(), Path("access.toml")).identities[name].grants
    assert grants.roles == ("observer",)
    assert dict(grants.granted).get(Action.CALL, ()) == tuple(call)


@each_case(
    ("text", "expires"),
    [
        ("90d", NOW + datetime.timedelta(days=90)),
        ("1min", NOW + datetime.timedelta(minutes=1)),
        ("2w", NOW + datetime.timedelta(days=14)),
        ("12h", NOW + datetime.timedelta(hours=12)),
        ("2027-01-16", datetime.datetime(2027, 1, 16, tzinfo=datetime.UTC)),
        ("2027-01-15T10:00:00+01:00", NOW + datetime.timedelta(hours=1)),
        ("2027-01-15 09:00:00Z", NOW + datetime.timedelta(hours=1)),
    ],
)
def test_an_expiry(text: str, expires: datetime.datetime) -> None:
    assert expiry_from(text, NOW) == expires


@each_case(
    ("text", "fault"),
    [
        ("0d", "is over already"),
        ("2027-01-15", "is over already"),
        ("9999999w", "is too far ahead"),
        ("2028-01-01T00:00:00", "a date and time needs an offset; for UTC, add a Z"),
        ("-1d", "expected a period such as 90d (min, h, d, w) or a date such as 2027-01-31"),
        ("90", "expected a period such as 90d (min, h, d, w) or a date such as 2027-01-31"),
        ("2027-02-30", "expected a period such as 90d (min, h, d, w) or a date such as 2027-01-31"),
        ("", "expected a period such as 90d (min, h, d, w) or a date such as 2027-01-31"),
        ("soon, I hope", "expected a period such as 90d (min, h, d, w) or a date such as 2027-01-31"),
    ],
)
def test_no_expiry(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}$"):
        expiry_from(text, NOW)


def test_a_file_is_made_for_its_owner_alone_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    before = os.umask(0)
    try:
        append(path, new("alice", 0, call=["a"]))
    finally:
        os.umask(before)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    append(path, new("bob", 1))
    append(path, new("alice", 2))
    found = read_policy(path)
    assert {name: len(identity.tokens) for name, identity in found.identities.items()} == {
        "alice": 2,
        "bob": 1,
    }
    assert found.rights_of("alice").decide(Action.CALL, "a").is_allowed


def test_the_rest_of_the_file_stays_as_it_is(tmp_path: Path) -> None:
    target, path = tmp_path / "target.toml", tmp_path / "access.toml"
    text = "# mine\n[identities.alice]\ncall = ['a']  # no line's end"
    target.write_text(text)
    target.chmod(0o640)
    path.symlink_to(target)
    append(path, new())
    assert target.read_text().startswith(f"{text}\n\n[[identities.alice.tokens]]\n")
    assert path.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("text", "token", "fault"),
    [
        (
            "[identities.alice]\ntokens = []",
            new(),
            "alice has its tokens in one list; make one without --append",
        ),
        ("identities = { alice = {} }", new(), "alice has its tokens in one list; make one without --append"),
        (
            "identities = { bob = {} }",
            new(call=["a"]),
            "alice has its tokens in one list; make one without --append",
        ),
        (
            "[identities.alice]",
            new(roles=["admin"]),
            "alice is in there already; change its roles there, and add",
        ),
        (
            new("bob").lines(),
            new(),
            f"[identities.alice] tokens[0].sha256: {digest_of('token 0').hex()[:8]}... is a",
        ),
        ("[identities.bob]\ncals = []", new(), "[identities.bob] cals: no such key; did you mean call?"),
        ("identities = 3", new(), ""),
        ("no toml", new(), "not valid TOML: "),
    ],
)
def test_a_file_with_which_it_would_not_be_right_stays_as_it_is(
    text: str, token: NewToken, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "access.toml"
    path.write_text(text)
    assert refusal(path, token).startswith(f"{path}: {fault}")
    assert path.read_text() == text


def test_a_disk_that_is_full_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.toml"
    append(path, new())
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:10]))
    assert refusal(path, new("bob", 1)) == f"{path}: the disk is full; nothing was added"
    assert path.read_bytes() == before


def test_a_device_is_no_file() -> None:
    assert refusal(Path(os.devnull), new()) == f"{os.devnull}: is not a regular file"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none" / "access.toml", new()).endswith(
        "access.toml: No such file or directory"
    )


@pytest.mark.skipif(os.name != "posix", reason="there is no lock")
def test_many_at_once_lose_nothing_and_only_one_gives_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.toml"
    write = os.write

    def write_slowly(file: int, content: bytes) -> int:
        time.sleep(0.005)
        return write(file, content)

    monkeypatch.setattr(os, "write", write_slowly)

    def add(number: int) -> None:
        append(path, new(f"i{number}", number))
        with contextlib.suppress(ConfigurationError):
            append(path, new("alice", 100 + number, roles=["observer"]))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_policy(path).tokens) == 9
