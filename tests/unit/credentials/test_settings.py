"""What the options of a login say, and what is unsafe about them."""

import pytest
from taskferry.credentials.settings import is_loopback, unprotected

from tests.each_case import each_case


@each_case("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@each_case("host", ["", "localhost.example", "notlocalhost", "10.0.0.1", "0.0.0.0", "::", "127.1.x"])
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)


@each_case("url", ["ws://[::1]:8766", "wss://broker", "https://broker", "ws://[::1", "nonsense"])
def test_nothing_to_warn_of(url: str) -> None:
    assert unprotected(url) == []


@pytest.mark.parametrize(
    ("url", "secure"), [("ws://user:pw@broker:8766/?t=s", "wss"), ("http://10.0.0.7", "https")]
)
def test_a_token_in_the_clear(url: str, secure: str) -> None:
    (warning,) = unprotected(url)
    assert f"use {secure}://" in str(warning)
    assert "pw" not in str(warning)
