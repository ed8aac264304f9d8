"""Lines of a file or a pipe: their numbers, their bounds, and that reading them keeps nothing waiting."""

import asyncio
import io
import os
import time
from typing import Any

import pytest
from taskferry.requester.jobs import lines as lines_module
from taskferry.requester.jobs.lines import LineError, Lines


async def read(stream: Any) -> list[tuple[int, bytes | str]]:
    return [
        (number, str(line) if isinstance(line, LineError) else line)
        async for number, line in Lines(stream).read()
    ]


async def test_each_line_has_its_number_and_blank_ones_are_left_out() -> None:
    assert await read(io.BytesIO(b"")) == []
    assert await read(io.BytesIO(b"1\n\n  \r\n2\r\n3")) == [(1, b"1"), (4, b"2\r"), (5, b"3")]


async def test_lines_over_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "_CHUNK_SIZE_BYTES", 3)
    text = b"".join(b"%d\n" % number for number in range(1, 200))
    assert await read(io.BytesIO(text)) == [(number, b"%d" % number) for number in range(1, 200)]


async def test_a_line_that_is_too_long_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "LINE_SIZE_BYTES_MAX", 10)
    monkeypatch.setattr(lines_module, "_CHUNK_SIZE_BYTES", 4)
    text = b"x" * 10 + b"\n" + b"x" * 11 + b"\n1\n" + b"x" * 100
    assert await read(io.BytesIO(text)) == [
        (1, b"x" * 10),
        (2, "over 10 bytes"),
        (3, b"1"),
        (4, "over 10 bytes"),
    ]


async def test_a_file_that_cannot_be_read_on() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    assert await read(Broken()) == [(1, "cannot read on: input/output error")]


async def test_an_event_loop_goes_on_while_a_pipe_is_silent() -> None:
    reading, writing = os.pipe()
    with io.FileIO(reading) as stream, io.FileIO(writing, "w") as sink:
        lines = Lines(stream).read()
        first = asyncio.ensure_future(anext(lines))
        started_s = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - started_s < 5
        assert not first.done()
        sink.write(b"1\n2")
        assert await first == (1, b"1")
        sink.close()
        assert await anext(lines) == (2, b"2")
        with pytest.raises(StopAsyncIteration):
            await anext(lines)
