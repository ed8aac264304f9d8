"""The renewal of one login: what is sent, how often at most, and when it is left alone."""

import asyncio
import math
import time
from collections.abc import Callable

import pytest
from taskferry.credentials import renewal as renewal_module
from taskferry.credentials.renewal import Renewal
from taskferry.credentials.source import TokenSource
from taskferry.credentials.token import Token

INTERVAL_S = 0.05
URL = "ws://broker"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_module, "RENEWAL_INTERVAL_S", INTERVAL_S)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class Link:
    """Counts the times at which tokens are fetched, and what is sent. `answers`: the broker accepts each."""

    def __init__(self, tokens: list[str], *, answers: bool = True) -> None:
        self._tokens = tokens
        self._answers = answers
        self.fetched_at: list[float] = []
        self.sent: list[Token] = []
        self.renewal = Renewal(TokenSource(self._fetch), Token("t0"), URL, self._send)

    async def _fetch(self) -> str:
        self.fetched_at.append(time.monotonic())
        return self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]

    def _send(self, token: Token) -> None:
        self.sent.append(token)
        if self._answers:
            asyncio.get_running_loop().call_soon(self.renewal.answered, None)


@pytest.mark.parametrize("expires_in", [30.0, 0.0, -1.0, math.nan, math.inf, -math.inf, 1e308])
async def test_whatever_the_number_a_token_is_fetched_once(expires_in: float) -> None:
    link = Link(["t1", "t2"])
    for _ in range(100):
        link.renewal.expiring(expires_in)
    await until(lambda: link.sent)
    assert link.sent == [Token("t1")]
    link.renewal.close()


async def test_a_broker_that_asks_without_end_gets_a_token_at_intervals() -> None:
    link = Link([f"t{number}" for number in range(1, 100)])
    async with asyncio.timeout(10):
        while len(link.sent) < 4:
            link.renewal.expiring(30.0)
            await asyncio.sleep(0)
    waits_s = [later - earlier for earlier, later in zip(link.fetched_at, link.fetched_at[1:], strict=False)]
    assert min(waits_s) >= INTERVAL_S * 0.9
    link.renewal.close()


async def test_the_same_token_is_not_sent_but_fetched_again_until_another_comes() -> None:
    link = Link(["t0", "t0", "t1"])
    link.renewal.expiring(30.0)
    await until(lambda: link.sent)
    assert (link.sent, len(link.fetched_at)) == ([Token("t1")], 3)
    link.renewal.close()


async def test_it_ends_with_the_login(caplog: pytest.LogCaptureFixture) -> None:
    link = Link(["t0"])
    link.renewal.expiring(INTERVAL_S * 2.5)
    await until(lambda: link.renewal._task is not None and link.renewal._task.done())
    assert 1 <= len(link.fetched_at) <= 3
    assert f"cannot renew the login at {URL}: the token is still the same" in caplog.text


async def test_an_answer_that_does_not_come_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal_module, "ANSWER_S_MAX", 0.02)
    link = Link(["t1"], answers=False)
    link.renewal.expiring(0.0)
    await until(lambda: "did not answer within 0.02 s" in caplog.text)
    link.renewal.answered(None)  # too late, and harmless
    link.renewal.close()


async def test_answers_that_nobody_asked_for_are_harmless() -> None:
    link = Link(["t1"])
    link.renewal.answered(None)
    link.renewal.answered("no")
    link.renewal.close()
    assert link.sent == []


async def test_a_client_without_a_token_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TASKFERRY_TOKEN", raising=False)
    renewal = Renewal(TokenSource(), None, URL, lambda token: None)
    renewal.expiring(30.0)
    assert caplog.text == ""
