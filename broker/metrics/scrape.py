"""One scrape, from its headers to the bytes of the response, in slices that give way to the broker's own work."""

import zlib
from collections.abc import Iterator
from typing import Final

from ..http.accepting import accepts_gzip
from ..read_model import ReadModel
from ..slices import Slices
from .access import ACCESS
from .commands import COMMANDS
from .exposition import END, text_of
from .family import Family
from .format import Format, choose
from .jobs import JOBS
from .program import PROGRAM, process_registry
from .requests import REQUESTS
from .topics import TOPICS
from .workers import WORKERS

FAMILIES: Final[tuple[Family, ...]] = (*PROGRAM, *ACCESS, *REQUESTS, *COMMANDS, *WORKERS, *TOPICS)
"""What every broker has; one that keeps jobs has JOBS besides."""

SCRAPES_COUNT_MAX: Final = 4
"""Concurrent scrapes: a pair of Prometheus servers, and one or two people with a browser. Each keeps its response in
memory."""

CHUNK_LENGTH: Final = 16 * 1024
"""Characters that are encoded and compressed at once: a fraction of a slice."""

COMPRESSION_LEVEL: Final = 1
"""The fastest: the text shrinks to a twentieth; the highest level takes four times as long for a thirtieth."""

GZIP_WINDOW_BITS: Final = 16 + zlib.MAX_WBITS
"""How zlib is asked for gzip's header and trailer."""


class TooManyScrapes(Exception):
    """More than SCRAPES_COUNT_MAX concurrent scrapes."""


class Scraper:
    """Answers scrapes of one broker, in its event loop."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self._process = process_registry()
        self._count = 0

    async def scrape(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """The body and its headers, in the format and compression that these headers of the request ask for. Raises
        TooManyScrapes."""
        if self._count >= SCRAPES_COUNT_MAX:
            raise TooManyScrapes(f"{SCRAPES_COUNT_MAX} scrapes are in progress already (SCRAPES_COUNT_MAX)")
        self._count += 1
        try:
            return await self._answer(accept, is_gzip=accepts_gzip(accept_encoding))
        finally:
            self._count -= 1

    async def _answer(self, accept: str, *, is_gzip: bool) -> tuple[bytes, dict[str, str]]:
        form = choose(accept)
        headers = {"content-type": form.content_type, "vary": "accept, accept-encoding"}
        compressor = None
        if is_gzip:
            headers["content-encoding"] = "gzip"
            compressor = zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP_WINDOW_BITS)
        if self._model.jobs is not None:
            await self._model.jobs.refresh()
        body: list[bytes] = []
        slices = Slices()
        for chunk in _chunks(self._pieces(form)):
            body.append(chunk if compressor is None else compressor.compress(chunk))
            await slices.give_way()
        if compressor is not None:
            body.append(compressor.flush())
        return b"".join(body), headers

    def _pieces(self, form: Format) -> Iterator[str]:
        """The text; an empty piece if only time has passed."""
        yield form.encode(self._process).decode().removesuffix(END)
        subjects = self._model.subjects()
        for _ in subjects.gather():
            yield ""
        for family in FAMILIES if self._model.jobs is None else (*FAMILIES, *JOBS):
            yield from text_of(family, subjects, is_openmetrics=form.is_openmetrics)
        if form.is_openmetrics:
            yield END


def _chunks(pieces: Iterator[str]) -> Iterator[bytes]:
    """The text in chunks of about CHUNK_LENGTH; an empty piece is passed on at once."""
    ready: list[str] = []
    length = 0
    for piece in pieces:
        ready.append(piece)
        length += len(piece)
        if length >= CHUNK_LENGTH or not piece:
            yield "".join(ready).encode()
            ready.clear()
            length = 0
    yield "".join(ready).encode()
