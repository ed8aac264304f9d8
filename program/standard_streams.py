"""The three standard streams of a program, made so that they cannot break it.

A program may be started with any of them closed, or set to non-blocking, with an encoding that holds only some of its
texts, or leading to a full disk or to a terminal that is closed.
"""

import codecs
import io
import os
import select
import sys
from typing import Any, Final, TextIO

ESCAPED: Final = "taskferry.escaped"
"""How text is written that an encoding cannot hold: see `_escaped`."""

OUTPUT: Final = "standard output"
"""As the `filename` of an OSError."""


def open_closed_descriptors() -> None:
    """Open the null device in place of each standard descriptor that is closed. The next socket or file would get its
    number: what others print would go there, and libuv ends a process that closes it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def prepare_streams() -> None:
    """Make the standard streams exist and take any text. Writing to standard output may raise OSError, with OUTPUT as
    its `filename`, but only once; writing to standard error never does: an error line that cannot be printed must not
    become another error, with another exit code."""
    open_closed_descriptors()
    codecs.register_error(ESCAPED, _escaped)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  here and below: for as long as the process runs
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False, errors=ESCAPED)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, errors=ESCAPED)  # noqa: SIM115
    sys.stdout, sys.stderr = _wrapped(sys.stdout, OUTPUT), _wrapped(sys.stderr, None)


def output_fault() -> OSError | None:
    """Write what is still in the buffer of standard output; why that was not possible."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


class _Raw(io.RawIOBase):
    """The stream below a buffer. After its first error it drops what it is given. `name`: that of the error, None if
    none is raised. `stream`, which would close `raw`, is kept open."""

    def __init__(self, stream: TextIO, raw: io.FileIO, name: str | None) -> None:
        self._stream = stream
        self._raw = raw
        self._name = name
        self._is_broken = False

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """All of it, however long that takes."""
        left = memoryview(data)
        while left and not self._is_broken:
            try:
                written_count: int | None = self._raw.write(left)
            except OSError as error:
                self._is_broken = True
                if self._name is not None:
                    raise OSError(error.errno, error.strerror, self._name) from None
                break
            if written_count is None:  # another program has set it to non-blocking
                select.select((), (self._raw,), ())
            left = left[written_count or 0 :]
        return memoryview(data).nbytes


def _wrapped(stream: TextIO, name: str | None) -> TextIO:
    """The same stream, above a `_Raw`. Another object that took its place is left alone."""
    buffer: Any = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if not isinstance(stream, io.TextIOWrapper) or raw is None:
        return stream
    layer = _Raw(stream, raw, name)
    return io.TextIOWrapper(
        layer if stream.write_through else io.BufferedWriter(layer),  # type: ignore[type-var]  # as Python does
        stream.encoding,
        ESCAPED,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What cannot be encoded as `\uXXXX`: readable, and in JSON the same value."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    units = text.encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(rf"\u{pair}" for pair in pairs), error.end
