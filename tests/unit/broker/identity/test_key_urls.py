"""Keys that are fetched: rotated without a restart, kept while the issuer is unreachable, and bounded."""

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NoReturn

import pytest
import trustme
from taskferry.broker.identity import key_urls
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.events import KeysFetched, KeysNotFetched
from taskferry.broker.identity.key_urls import HURRY_INTERVAL_S_MIN, REFRESH_INTERVAL_S, RETRY_INTERVAL_S
from taskferry.broker.identity.keys import SET_KEYS_COUNT_MAX
from taskferry.broker.identity.login import Credential, Login, LoginRefused
from taskferry.broker.identity.policy import Policy

from tests.processes import wait_until
from tests.unit.broker.identity.issuer import NOW, WALL_NOW, entry, key_set, signed
from tests.unit.broker.identity.key_server import KeyServer, key_server, says


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as found:
        found.answer = says(key_set(entry("ES256", 0, kid="a")))
        yield found


def policy(url: str, more: str = "") -> Policy:
    text = f"""
{more}
[jwt]
audience = "taskferry"
[jwt.keys.issuer]
algorithm = "ES256"
jwks_url = "{url}"
"""
    return parsed(text.encode(), Path("access.toml"))


def login(authenticator: Authenticator, token: str, now: float = NOW) -> Login:
    return authenticator.login(Credential(token), now, WALL_NOW)


def refusal(authenticator: Authenticator, token: str, now: float = NOW) -> float:
    with pytest.raises(LoginRefused) as raised:
        login(authenticator, token, now)
    assert str(raised.value).endswith("; keys are being fetched") == (raised.value.retry_after_s > 0)
    return raised.value.retry_after_s


def test_keys_are_fetched_and_rotated(server: KeyServer) -> None:
    withdrawn: list[int] = []
    authenticator = Authenticator(policy(server.url), lambda: withdrawn.append(1))
    assert refusal(authenticator, signed("ES256", 0, "a")) > 0  # "soon": nothing was fetched yet
    authenticator.fetch_keys(NOW)
    token = signed("ES256", 0, "a")
    old = login(authenticator, token)
    assert login(authenticator, token) is old
    assert old.identity.proof == "key issuer"
    server.answer = says(key_set(entry("ES256", 0, kid="a"), entry("ES256", 1, kid="b")))
    authenticator.fetch_keys(NOW + REFRESH_INTERVAL_S - 1)
    assert server.count == 1
    authenticator.fetch_keys(NOW + REFRESH_INTERVAL_S)
    login(authenticator, signed("ES256", 1, "b"))
    assert login(authenticator, signed("ES256", 0, "a")).identity.name == "alice"
    assert withdrawn == []
    server.answer = says(key_set(entry("ES256", 1, kid="b")))
    authenticator.fetch_keys(NOW + 2 * REFRESH_INTERVAL_S)
    assert withdrawn == [1]
    refusal(authenticator, token)  # it was verified before, and is worth nothing now
    assert authenticator.judge_again(old, NOW, WALL_NOW) is None


def test_an_unknown_key_id_fetches_soon_but_not_often(server: KeyServer) -> None:
    authenticator = Authenticator(policy(server.url))
    authenticator.fetch_keys(NOW)
    server.answer = says(key_set(entry("ES256", 1, kid="b")))
    token = signed("ES256", 1, "b")
    assert refusal(authenticator, token, NOW + 1) == 0
    authenticator.fetch_keys(NOW + HURRY_INTERVAL_S_MIN - 0.1)
    assert server.count == 1
    assert refusal(authenticator, token, NOW + HURRY_INTERVAL_S_MIN) > 0
    authenticator.fetch_keys(NOW + HURRY_INTERVAL_S_MIN)
    assert server.count == 2
    login(authenticator, token, NOW + HURRY_INTERVAL_S_MIN)


def test_old_keys_stay_while_the_issuer_is_unreachable(
    server: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker.identity")
    authenticator = Authenticator(policy(server.url))
    authenticator.fetch_keys(NOW)
    good, now = server.answer, NOW + REFRESH_INTERVAL_S
    for answer in (says(b"gone", 503), says(b"<html>"), says(b'{"keys": []}'), says(b'{"keys": {}}')):
        server.answer = answer
        authenticator.fetch_keys(now)
        login(authenticator, signed("ES256", 0, "a"))
        now += RETRY_INTERVAL_S
    server.answer = good
    authenticator.fetch_keys(now - 1)
    assert server.count == 5
    authenticator.fetch_keys(now)
    assert [type(record.msg) for record in caplog.records] == [
        KeysFetched,
        *[KeysNotFetched] * 4,
        KeysFetched,
    ]
    reasons = [record.msg.reason for record in caplog.records if isinstance(record.msg, KeysNotFetched)]
    assert reasons == [
        "it answered 503",
        "expected a JSON Web Key Set: an object with `keys`",
        "none of its 0 keys is a public key for ES256",
        "expected a JSON Web Key Set: `keys` is not a list",
    ]


def drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(1000):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.02)


def drip_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
    for _ in range(100):
        request.wfile.write(b" ")
        time.sleep(0.02)


def redirect(request: BaseHTTPRequestHandler) -> None:
    elsewhere = says(key_set(entry("ES256", 0)))
    (says(b"", 302, Location="/elsewhere") if request.path == "/keys" else elsewhere)(request)


def test_an_answer_is_bounded(
    server: KeyServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [entry("ES256", 0, kid=f"k{number}") for number in range(SET_KEYS_COUNT_MAX + 1)]
    for answer, reason in (
        (says(key_set(*many)), "a set has at most 100 keys (SET_KEYS_COUNT_MAX), this one 101"),
        (says(bytes(256 * 1024 + 1)), "over 262144 bytes (SET_SIZE_BYTES_MAX)"),
        (redirect, "it answered 302; redirects are not followed"),
        (lambda _: None, "RemoteDisconnected"),
        (drip, "no answer within 0.05 s"),
        (drip_head, "no answer within 0.05 s"),
    ):
        server.answer = answer
        # All but two answer at once, which takes its time on a busy machine; those two would go on for seconds.
        monkeypatch.setattr(key_urls, "SOCKET_S_MAX", 60.0)
        monkeypatch.setattr(key_urls, "FETCH_S_MAX", 0.05 if answer in (drip, drip_head) else 60.0)
        caplog.clear()
        Authenticator(policy(server.url)).fetch_keys(NOW)
        (record,) = caplog.records
        assert isinstance(record.msg, KeysNotFetched)
        assert reason in record.msg.reason
    monkeypatch.setattr(key_urls, "FETCH_S_MAX", 60.0)
    server.answer = says(key_set(*many[1:]) + b" " * (256 * 1024 - len(key_set(*many[1:]))))
    authenticator = Authenticator(policy(server.url))
    authenticator.fetch_keys(NOW)
    login(authenticator, signed("ES256", 0, "k100"))


def test_only_a_certificate_that_is_trusted_will_do(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with key_server(authority) as server:
        server.answer = says(key_set(entry("ES256", 0)))
        Authenticator(policy(server.url)).fetch_keys(NOW)
        assert server.count == 0
        assert "its certificate is not trusted" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        authenticator = Authenticator(policy(server.url))
        authenticator.fetch_keys(NOW)
        login(authenticator, signed("ES256", 0))


def test_a_secret_in_a_url_is_not_logged(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker.identity")
    authenticator = Authenticator(policy(f"{server.url}?key=SECRET"))
    authenticator.fetch_keys(NOW)
    server.answer = says(b"", 500)
    authenticator.fetch_keys(NOW + REFRESH_INTERVAL_S)
    assert len(caplog.records) == 2
    assert "SECRET" not in caplog.text


def test_a_reload_keeps_the_keys_of_a_url_that_stays(server: KeyServer) -> None:
    authenticator = Authenticator(policy(server.url))
    authenticator.fetch_keys(NOW)
    found = login(authenticator, signed("ES256", 0, "a"))
    authenticator.take(policy(server.url, "[identities.alice]\ncall = ['a']"))
    assert authenticator.judge_again(found, NOW, WALL_NOW) is not None
    login(authenticator, signed("ES256", 0, "a"))
    authenticator.take(policy(f"{server.url}2"))
    assert authenticator.judge_again(found, NOW, WALL_NOW) is None
    authenticator.take(parsed(b"[identities.alice]", Path("access.toml")))
    assert authenticator.judge_again(found, NOW, WALL_NOW) is None


def test_a_thread_fetches_at_the_start_after_a_reload_and_for_an_unknown_key(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_urls, "HURRY_INTERVAL_S_MIN", 0.0)

    def accepted(token: str) -> bool:
        try:
            login(authenticator, token, time.monotonic())
        except LoginRefused:
            return False
        return True

    threads = threading.active_count()
    authenticator = Authenticator(parsed(b"[identities.alice]", Path("access.toml")))
    authenticator.start()
    assert threading.active_count() == threads
    authenticator.take(policy(server.url))
    try:
        wait_until(lambda: accepted(signed("ES256", 0, "a")), "the first key is there")
        server.answer = says(key_set(entry("ES256", 1, kid="b")))
        wait_until(lambda: accepted(signed("ES256", 1, "b")), "the second key is there")
    finally:
        authenticator.stop()
    wait_until(lambda: threading.active_count() == threads, "the thread has ended")


def test_a_moment_without_threads_is_over_for_the_next_attempt(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    authenticator = Authenticator(policy(server.url))
    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        authenticator.fetch_keys(NOW)
    assert "RuntimeError" in caplog.text
    authenticator.fetch_keys(NOW + RETRY_INTERVAL_S)
    login(authenticator, signed("ES256", 0, "a"))
