"""Where tokens come from: files that are read again. Functions are tested with the clients that call them."""

import asyncio
import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from taskferry.credentials.source import TokenError, TokenSource, token_file, token_now
from taskferry.credentials.token import Token


async def fetched(path: Path) -> str:
    token = await TokenSource(token_file(path)).fetch()
    assert token is not None
    return token.reveal()


async def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = TokenSource(token_file(path))
    assert source.can_renew
    for text in ("first", "second"):
        path.write_text(f" {text}\r\n")
        assert await source.fetch() == Token(text)
    path.unlink()
    with pytest.raises(TokenError, match=r"token: no such file or directory"):
        await source.fetch()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the token is empty"),
        (b"\n \n", "the token is empty"),
        (b"one two", "has other characters"),
        (b"one\ntwo", "has other characters"),
        (b"\xff\xfe", "has other characters"),
        (b"\0", "has other characters"),
        (b"x" * 100_000, "at most 8000 are allowed"),
    ],
)
async def test_a_file_without_a_token_is_said_to_be_one(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(TokenError, match=reason) as caught:
        await fetched(path)
    assert str(path) in str(caught.value)


async def test_a_folder_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="is a directory"):
        await fetched(tmp_path)


async def test_a_pipe_will_do(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fetching = asyncio.create_task(fetched(path))
    await asyncio.to_thread(path.write_text, "through-a-pipe\n")
    assert await fetching == "through-a-pipe"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", text)
    assert TokenSource().is_none
    assert token_now(None) is None


def test_a_variable_that_holds_no_token_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", "tfk x")
    with pytest.raises(ValueError, match="TASKFERRY_TOKEN: the token has other characters") as caught:
        token_now(None)
    assert "tfk" not in str(caught.value)


def test_a_file_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", "of-the-variable")
    path = tmp_path / "token"
    path.write_text("of-the-file")
    assert token_now(token_file(path)) == Token("of-the-file")
    assert token_now(None) == Token("of-the-variable")


async def test_a_function_that_stops_iterating_is_an_error_like_any_other() -> None:
    def exhausted() -> str:
        return next(iter(()))

    with pytest.raises(TokenError, match="raised RuntimeError"):
        await TokenSource(exhausted).fetch()


async def test_an_async_function_may_ignore_that_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskferry.credentials.source.FETCH_S_MAX", 0.02)
    goes_on = asyncio.Event()

    async def stubborn() -> str:
        while not goes_on.is_set():
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    source = TokenSource(stubborn)
    with pytest.raises(TokenError, match="did not return within"):
        await source.fetch()
    with pytest.raises(TokenError, match="still not returned"):
        await source.fetch()
    goes_on.set()
    async with asyncio.timeout(5):
        while True:
            await asyncio.sleep(0)
            try:
                assert await source.fetch() == Token("late")
                break
            except TokenError:
                continue


async def test_a_moment_without_threads_is_over_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    source = TokenSource(lambda: "a-token")
    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(TokenError, match="raised RuntimeError"):
                await source.fetch()
    token = await source.fetch()
    assert token is not None
    assert token.reveal() == "a-token"
