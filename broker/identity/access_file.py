"""The access file: read, checked as a whole, and turned into a policy. Every error is one line, and quotes no value."""

import datetime
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from ...configuration.sources import ConfigurationError
from ..access.identity import ANONYMOUS
from ..access.rights import NOTHING, Rights
from .certificates import certificate_name
from .grants import Grants
from .jwt_terms import JwtTerms, KeyUrl, VerificationKey
from .names import name_fault
from .policy import STRANGER, ConfiguredIdentity, Policy, StaticToken
from .static_token import label_of
from .tables import (
    QUOTED_LENGTH_MAX,
    AccessTable,
    AnonymousTable,
    Converted,
    IdentityTable,
    JwtTable,
    KeyTable,
    LimitTable,
    TokenTable,
    converted,
)

FILE_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of an access file: IDENTITIES_COUNT_MAX identities with two tokens each are 4 MB."""

IDENTITIES_COUNT_MAX: Final = 10_000
"""Identities of a file. An organization with more has an issuer of JWTs."""

KEYS_COUNT_MAX: Final = 32
"""Keys of a file. A token without a key id is checked against each of its algorithm."""

KEY_FILE_SIZE_BYTES_MAX: Final = 256 * 1024
"""Bytes of a file that holds a secret, a key or a set of keys."""

KEY_SOURCES: Final = ("secret", "secret_file", "pem_file", "jwks_file", "jwks_url")
"""Where a key can be: exactly one of these for each."""

PRINTABLE_RULE: Final = "only printable characters may be used, on one line"
"""For all texts that commands and logs show."""

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def read_policy(path: Path) -> Policy:
    """The policy in the file at `path`; files that it names are relative to its folder. Blocks while it reads. Raises
    ConfigurationError, with a line for every error."""
    return parsed(_content(path), path)


def parsed(content: bytes, path: Path) -> Policy:
    """The policy in `content`, which was read from `path`. Raises ConfigurationError."""
    document = document_of(content, path)
    reader = _Reader(path)
    policy = reader.policy(document)
    if reader.faults:
        raise ConfigurationError([f"{path}: {fault}" for fault in reader.faults])
    return policy


class _Reader:
    """Gathers the errors of a file on the way through it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self.tokens: dict[bytes, StaticToken] = {}
        self.certificates: dict[str, str] = {}

    def policy(self, document: Mapping[str, Any]) -> Policy:
        """All of it. Means nothing if there are `faults`."""
        known = {key: value for key, value in document.items() if key in AccessTable.__struct_fields__}
        if len(known) < len(document):
            self.checked("", document, AccessTable)
        table = self.checked("", known, AccessTable) or AccessTable()
        stranger = None if table.anonymous is None else self.stranger(table.anonymous)
        if len(table.identities) > IDENTITIES_COUNT_MAX:
            text = f"expected at most {IDENTITIES_COUNT_MAX} identities (IDENTITIES_COUNT_MAX)"
            self.faults.append(f"[identities]: {text}, got {len(table.identities)}")
            table.identities = {}
        found = (self.identity(name, value) for name, value in table.identities.items())
        identities = {identity.name: identity for identity in found if identity is not None}
        jwt = None if table.jwt is None else self.jwt(table.jwt)
        if not self.faults and stranger is None and not identities and jwt is None:
            self.faults.append(
                "nobody may do anything: add [identities.NAME], [jwt.keys.NAME] or `anonymous = {...}`, or remove the "
                "file from the broker's settings"
            )
        return Policy(
            stranger=stranger or STRANGER,
            identities=identities,
            tokens=self.tokens,
            certificates=self.certificates,
            jwt=jwt,
            warnings=tuple(self.warnings),
        )

    def checked(self, place: str, value: Any, of: type[Converted]) -> Converted | None:
        """`value` as a table. None if it has an error."""
        try:
            return converted(value, of)
        except ValueError as error:
            self.faults.append(f"[{place}] {error}" if place else str(error))
            return None

    def stranger(self, value: Any) -> ConfiguredIdentity | None:
        """What is said of strangers. None if it has an error."""
        table = self.checked(ANONYMOUS, value, AnonymousTable)
        if table is None:
            return None
        grants, rights = self.rights(ANONYMOUS, table)
        return ConfiguredIdentity(ANONYMOUS, grants, rights, _limits(table.limits))

    def identity(self, name: str, value: Any) -> ConfiguredIdentity | None:
        """One identity. None if it has an error."""
        place = f"identities.{_key(name)}"
        if fault := name_fault(name):
            self.faults.append(f"[{place}]: {fault}")
            return None
        table = self.checked(place, value, IdentityTable)
        if table is None:
            return None
        grants, rights = self.rights(place, table)
        tokens = [self.token(name, place, number, token) for number, token in enumerate(table.tokens)]
        for number, text in enumerate(table.certificates):
            self.certificate(name, f"[{place}] certificates[{number}]", text)
        return ConfiguredIdentity(
            name=name,
            grants=grants,
            rights=rights,
            limits=_limits(table.limits),
            tokens=tuple(token for token in tokens if token is not None),
            certificates=table.certificates,
        )

    def rights(self, place: str, table: AnonymousTable) -> tuple[Grants, Rights]:
        """What a table grants."""
        grants = table.grants()
        for action, patterns in (*grants.granted, *grants.denied):
            if not all(pattern.isprintable() for pattern in patterns):
                self.faults.append(f"[{place}] {action.value}: {PRINTABLE_RULE}")
        try:
            return grants, grants.rights()
        except ValueError as error:
            self.faults.append(f"[{place}] {error}")
            return grants, NOTHING

    def token(self, name: str, place: str, number: int, table: TokenTable) -> StaticToken | None:
        """One token. None if it has an error."""
        where = f"[{place}] tokens[{number}]"
        if not _SHA256.fullmatch(table.sha256):
            self.faults.append(
                f"{where}.sha256: expected the 64 hexadecimal digits of a token's SHA-256; `taskferry token new` "
                "prints them"
            )
            return None
        try:
            expires_at = None if table.expires is None else expiry_of(table.expires).timestamp()
        except ValueError as error:
            self.faults.append(f"{where}.expires: {error}")
            return None
        if not table.note.isprintable():
            self.faults.append(f"{where}.note: {PRINTABLE_RULE}")
        token = StaticToken(name, bytes.fromhex(table.sha256), expires_at, table.note)
        other = self.tokens.setdefault(token.digest, token)
        if other is not token:
            self.faults.append(
                f"{where}.sha256: {label_of(token.digest)}... is a token of {other.identity} already"
            )
        return token

    def certificate(self, name: str, where: str, text: str) -> None:
        """One name in a certificate."""
        try:
            other = self.certificates.setdefault(certificate_name(text), name)
        except ValueError as error:
            self.faults.append(f"{where}: {error}")
            return
        if other != name:
            self.faults.append(f"{where}: belongs to {other} already")

    def jwt(self, value: Any) -> JwtTerms | None:
        """What is demanded of a JWT. None if there is an error."""
        table = self.checked("jwt", value, JwtTable)
        if table is None:
            return None
        count = len(table.keys)
        if not 1 <= count <= KEYS_COUNT_MAX:
            self.faults.append(
                f"[jwt.keys]: expected 1 to {KEYS_COUNT_MAX} keys (KEYS_COUNT_MAX), got {count}"
            )
            return None
        if table.audience is None:
            self.faults.append(
                "[jwt] audience: is missing; without it, a token for any other service of the issuer would be accepted"
            )
            return None
        keys: list[VerificationKey] = []
        urls: list[KeyUrl] = []
        for name, entry in table.keys.items():
            place = f"jwt.keys.{_key(name)}"
            key = self.checked(place, entry, KeyTable)
            if key is None:
                continue
            try:
                found = self.keys(name, key)
            except ValueError as error:
                self.faults.append(f"[{place}] {error}")
                continue
            if isinstance(found, KeyUrl):
                urls.append(found)
            else:
                keys += found
        return JwtTerms(
            audience=table.audience,
            issuer=table.issuer,
            leeway_s=table.leeway_s,
            claim=table.claim,
            keys=tuple(keys),
            urls=tuple(urls),
        )

    def keys(self, name: str, table: KeyTable) -> KeyUrl | tuple[VerificationKey, ...]:
        """The keys of one entry, or where to fetch them. Raises ValueError, which begins with the key of the table."""
        from .key_urls import url_fault  # noqa: PLC0415  cryptography, which most brokers need not load
        from .keys import pem_key, secret_key, set_keys  # noqa: PLC0415

        sources = {key: value for key in KEY_SOURCES if (value := getattr(table, key)) is not None}
        if len(sources) != 1:
            raise ValueError(f"expected exactly one of {', '.join(KEY_SOURCES)}, got {len(sources)}")
        ((source, value),) = sources.items()
        is_secret = source in ("secret", "secret_file")
        if is_secret != (table.algorithm == "HS256"):
            needed = (
                "secret or secret_file" if table.algorithm == "HS256" else "pem_file, jwks_file or jwks_url"
            )
            raise ValueError(f"{source}: {table.algorithm} needs {needed}")
        try:
            match source:
                case "secret":
                    self.warn_if_public(self.path, "holds a secret")
                    return (secret_key(name, value.encode()),)
                case "secret_file":
                    self.warn_if_public(self.file(value), "is a secret")
                    return (secret_key(name, self.content_of(value).rstrip(b"\r\n")),)
                case "pem_file":
                    return (pem_key(name, table.algorithm, self.content_of(value)),)
                case "jwks_file":
                    return set_keys(name, table.algorithm, self.content_of(value))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        if fault := url_fault(value):
            raise ValueError(f"jwks_url: {fault}")
        return KeyUrl(name, table.algorithm, value)

    def file(self, name: str) -> Path:
        """A file that the access file names."""
        return self.path.parent / name

    def content_of(self, name: str) -> bytes:
        """All of such a file. Raises ValueError."""
        try:
            with self.file(name).open("rb") as file:
                content = file.read(KEY_FILE_SIZE_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{_shown(str(self.file(name)))}: {getattr(error, 'strerror', None) or error}"
            ) from None
        if len(content) > KEY_FILE_SIZE_BYTES_MAX:
            raise ValueError(
                f"{_shown(str(self.file(name)))}: over {KEY_FILE_SIZE_BYTES_MAX} bytes (KEY_FILE_SIZE_BYTES_MAX)"
            )
        return content

    def warn_if_public(self, path: Path, what: str) -> None:
        """A warning if every user of this machine can read a secret. No error: secrets that Kubernetes mounts are so by
        default, inside a container that has one user."""
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            return
        if os.name == "posix" and mode & stat.S_IROTH:
            self.warnings.append(
                f"{path}: {what} and every user of this machine can read it; chmod o-r {path}"
            )


def expiry_of(value: object) -> datetime.datetime:
    """When a token runs out: a date and time with an offset, or the start of a date, in UTC. Raises ValueError."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError("a date and time needs an offset; for UTC, add a Z")
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time(), datetime.UTC)
    raise ValueError(
        "expected a date or a date and time, without quotes, such as 2027-01-31 or 2027-01-31T18:00:00Z"
    )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror or error}"]) from None
    if len(content) > FILE_SIZE_BYTES_MAX:
        raise ConfigurationError([f"{path}: over {FILE_SIZE_BYTES_MAX} bytes (FILE_SIZE_BYTES_MAX)"])
    return content


def document_of(content: bytes, path: Path) -> dict[str, Any]:
    """The TOML in `content`, which was read from `path`. Raises ConfigurationError."""
    import tomllib  # noqa: PLC0415  most brokers are started without a file

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 (byte {error.start})"]) from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from None


def _limits(table: LimitTable) -> dict[str, float]:
    return {name: value for name, value in structs.asdict(table).items() if value is not None}


def _shown(text: str) -> str:
    """A text of the file, on one line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _key(name: str) -> str:
    """A key as TOML has it, on one line."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else repr(name[:QUOTED_LENGTH_MAX])
