"""The lines of an access file for a new token, and how they are added to one: whole, checked, or not at all."""

import contextlib
import datetime
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ...configuration.sources import ConfigurationError
from .access_file import FILE_SIZE_BYTES_MAX, document_of, expiry_of, parsed

PERIODS: Final = {"min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds of each unit in which `--expires` may be given."""

EXPIRES_FORM: Final = "a period such as 90d (min, h, d, w) or a date such as 2027-01-31"

_PERIOD: Final = re.compile(r"([0-9]{1,7})(min|h|d|w)")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class NewToken(NamedTuple):
    """What the file is to hold. `rights`: lists of roles and patterns, or a word, by key of an identity."""

    name: str
    digest: bytes
    rights: Mapping[str, Sequence[str] | str]
    expires: datetime.datetime | None = None
    note: str = ""

    def lines(self, *, with_rights: bool = True) -> str:
        """The lines, in TOML."""
        table = f"identities.{_key(self.name)}"
        lines = [f"[[{table}.tokens]]", *(f"{key} = {value}" for key, value in self._values())]
        if with_rights and self.rights:
            rights = [f"{key} = {_toml(value)}" for key, value in self.rights.items()]
            lines = [f"[{table}]", *rights, "", *lines]
        return "\n".join(lines) + "\n"

    def entry(self) -> str:
        """The token as an entry of a list in one line."""
        return f"{{ {', '.join(f'{key} = {value}' for key, value in self._values())} }}"

    def _values(self) -> Iterator[tuple[str, str]]:
        yield "sha256", f'"{self.digest.hex()}"'
        if self.expires is not None:
            moment = self.expires.astimezone(datetime.UTC).replace(tzinfo=None)
            yield "expires", f"{moment.isoformat(timespec='seconds')}Z"
        if self.note:
            yield "note", _toml(self.note)


def expiry_from(text: str, now: datetime.datetime) -> datetime.datetime:
    """When a token runs out that is given as EXPIRES_FORM. Raises ValueError."""
    try:
        if period := _PERIOD.fullmatch(text):
            seconds = int(period[1]) * PERIODS[period[2]]
            expires = (now + datetime.timedelta(seconds=seconds)).replace(microsecond=0)
        elif len(text) > len("2027-01-31"):
            expires = expiry_of(datetime.datetime.fromisoformat(text))
        else:
            expires = expiry_of(datetime.date.fromisoformat(text))
    except OverflowError:
        raise ValueError("is too far ahead") from None
    except ValueError as error:
        raise ValueError(f"expected {EXPIRES_FORM}" if "offset" not in str(error) else str(error)) from None
    if expires <= now:
        raise ValueError("is over already")
    return expires


def check(new: NewToken) -> None:
    """Raises ConfigurationError if the lines by themselves are not right."""
    parsed(new.lines().encode(), Path("the new lines"))


def append(path: Path, new: NewToken) -> None:
    """Add the token to the access file at `path`, which is made (mode 0600) if there is none.

    The file with the lines is checked before it is written, in place and with one write: its owner, its mode and what
    links to it stay. If the write fails, the file is as it was. Two at once wait for each other, except on Windows.
    Raises ConfigurationError.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror or error}"]) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ConfigurationError([f"{path}: is not a regular file"])
        _lock(file)
        before = _content(file, path)
        added = _added(path, before, new)
        parsed(before + added, path)
        _write(file, path, len(before), added)
    finally:
        os.close(file)


def _added(path: Path, before: bytes, new: NewToken) -> bytes:
    """What is written after `before`. Raises ConfigurationError if the token cannot be added in lines of its own."""
    identities = document_of(before, path).get("identities")
    is_known = isinstance(identities, dict) and new.name in identities
    if is_known and new.rights:
        text = f"{new.name} is in there already; change its {', '.join(new.rights)} there, and add only the token"
        raise ConfigurationError([f"{path}: {text}"])
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    added = gap + new.lines(with_rights=not is_known).encode()
    try:
        document_of(before + added, path)
    except ConfigurationError:
        text = f"{new.name} has its tokens in one list; make one without --append, and add its entry to that list"
        raise ConfigurationError([f"{path}: {text}"]) from None
    return added


def _content(file: int, path: Path) -> bytes:
    content = b""
    while part := os.read(file, FILE_SIZE_BYTES_MAX):
        content += part
        if len(content) > FILE_SIZE_BYTES_MAX:
            raise ConfigurationError([f"{path}: over {FILE_SIZE_BYTES_MAX} bytes (FILE_SIZE_BYTES_MAX)"])
    return content


def _write(file: int, path: Path, size_bytes: int, added: bytes) -> None:
    try:
        if os.write(file, added) != len(added):
            raise OSError(0, "the disk is full")
        os.fsync(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(file, size_bytes)
        raise ConfigurationError([f"{path}: {error.strerror or error}; nothing was added"]) from None


def _lock(file: int) -> None:
    try:
        import fcntl  # noqa: PLC0415  not on Windows
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_EX)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Sequence[str] | str) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(_toml, value))}]"
