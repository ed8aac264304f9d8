"""The tables of an access file and of a JWT's claim: their keys and bounds, and one clear line for what is wrong.

No error quotes a value: it might be a secret.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from ...configuration.kinds import closest
from ..access.rights import JOBS_ALL, JOBS_OWN, RULES_COUNT_MAX, Action
from ..access.rules import PATTERN_LENGTH_MAX
from .grants import Grants, Patterns

TOKENS_COUNT_MAX: Final = 100
"""Tokens of one identity: each machine that shares it may have its own, twice while they are rotated."""

CERTIFICATES_COUNT_MAX: Final = 100
"""Names in certificates of one identity, as for tokens."""

CERTIFICATE_NAME_LENGTH_MAX: Final = 2048
"""Characters of such a name: a SPIFFE ID may have as many."""

NOTE_LENGTH_MAX: Final = 200
"""Characters of a note, which `taskferry token list` shows."""

LEEWAY_S_DEFAULT: Final = 30.0
"""How far the clocks of an issuer and of the broker may differ. NTP keeps them within a second, and 30 s forgives a
machine that has just been resumed; a token works for at most that much longer than its issuer meant."""

LEEWAY_S_MAX: Final = 300.0
"""More would be a way to keep tokens alive that have run out."""

TEXT_LENGTH_MAX: Final = 2048
"""Characters of an audience, issuer, claim, path or URL."""

Role = Literal["worker", "requester", "observer", "operator", "admin"]
Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
Pattern = Annotated[str, Meta(min_length=1, max_length=PATTERN_LENGTH_MAX)]
PatternList = Annotated[tuple[Pattern, ...], Meta(max_length=RULES_COUNT_MAX)]
Words = Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH_MAX)]
Rate = Annotated[float, Meta(ge=0, le=1e12)]
Count = Annotated[int, Meta(ge=1, le=2**53)]

ROLE_NAMES: Final = get_args(Role)
ALGORITHMS: Final = get_args(Algorithm)


class PatternTable(Struct, forbid_unknown_fields=True):
    """Patterns by action: what is granted, or in `deny`, what is denied."""

    call: PatternList = ()
    serve: PatternList = ()
    target: PatternList = ()
    message: PatternList = ()
    watch: PatternList = ()
    publish: PatternList = ()
    jobs: Literal["own", "all"] | None = None
    observe: bool = False
    operate: bool = False


class GrantTable(PatternTable, forbid_unknown_fields=True):
    """What an identity may do; also what a JWT says under its claim."""

    roles: Annotated[tuple[Role, ...], Meta(max_length=len(ROLE_NAMES))] = ()
    deny: PatternTable | None = None

    def grants(self) -> Grants:
        """As a value."""
        denied = dict(_patterns(self.deny)) if self.deny else {}
        if denied.get(Action.JOBS) == (JOBS_OWN,):
            denied[Action.JOBS] = (JOBS_OWN, JOBS_ALL)  # "all" includes what is denied
        return Grants(self.roles, _patterns(self), tuple(denied.items()))


class LimitTable(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The limits of one identity, in place of the broker's defaults. 0 is no limit for a rate."""

    connections_count_max: Count | None = None
    messages_per_s: Rate | None = None
    bytes_per_s: Rate | None = None
    in_flight_count_max: Count | None = None
    waiting_size_bytes_max: Count | None = None


class TokenTable(Struct, forbid_unknown_fields=True):
    """A token, by its digest. `expires`: a date or a date and time of TOML."""

    sha256: str
    expires: Any = None
    note: Annotated[str, Meta(max_length=NOTE_LENGTH_MAX)] = ""


class AnonymousTable(GrantTable, forbid_unknown_fields=True):
    """What a stranger may do, and how much."""

    limits: LimitTable = msgspec.field(default_factory=LimitTable)


class IdentityTable(AnonymousTable, forbid_unknown_fields=True):
    """One identity: what it may do, how much, and what proves it."""

    tokens: Annotated[tuple[TokenTable, ...], Meta(max_length=TOKENS_COUNT_MAX)] = ()
    certificates: Annotated[
        tuple[Annotated[str, Meta(max_length=CERTIFICATE_NAME_LENGTH_MAX)], ...],
        Meta(max_length=CERTIFICATES_COUNT_MAX),
    ] = ()


class JwtTable(Struct, forbid_unknown_fields=True):
    """How JWTs are checked. `keys` are checked one by one."""

    audience: Words | None = None
    issuer: Words | None = None
    leeway_s: Annotated[float, Meta(ge=0, le=LEEWAY_S_MAX)] = LEEWAY_S_DEFAULT
    claim: Words = "taskferry"
    keys: dict[str, Any] = {}


class KeyTable(Struct, forbid_unknown_fields=True):
    """One key, or a source of keys, for one algorithm."""

    algorithm: Algorithm
    secret: Words | None = None
    secret_file: Words | None = None
    pem_file: Words | None = None
    jwks_file: Words | None = None
    jwks_url: Words | None = None


class AccessTable(Struct, forbid_unknown_fields=True):
    """The whole file. Its parts are checked one by one, so that each has its own error."""

    anonymous: Any = None
    identities: dict[str, Any] = {}
    jwt: Any = None


Converted = TypeVar("Converted", bound=Struct)

_NESTED: Final[dict[str, type[Struct]]] = {"tokens": TokenTable, "deny": PatternTable, "limits": LimitTable}
_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_ENUM: Final = re.compile(r"Invalid enum value '(?P<word>.*)'", re.DOTALL)
_WORDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "datetime": "a date and time",
}
_BOUNDS: Final = (
    (r"a text of length ([<>]=) (\d+)", r"a text \1 \2 characters"),
    (r"of length ([<>]=)", r"\1"),
    (r"<= (\d+)(\.0)?\b", r"of at most \1"),
    (r">= (\d+)(\.0)?\b", r"of at least \1"),
)
QUOTED_LENGTH_MAX: Final = 60
"""Characters of an unknown key that its error quotes."""


def converted(value: Any, of: type[Converted]) -> Converted:
    """`value`, decoded TOML or JSON, as one of these tables. Raises ValueError: one line with the key, the bound and a
    suggestion, but no value."""
    try:
        return msgspec.convert(value, of)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        assert found is not None, "every part may be empty"
        raise ValueError(_line(found["what"], found["place"] or "", of)) from None


def _line(what: str, place: str, of: type[Struct]) -> str:
    where = f"{place}: " if place else ""
    if unknown := _UNKNOWN.fullmatch(what):
        key = unknown["key"][:QUOTED_LENGTH_MAX].encode("unicode_escape").decode()
        keys = _NESTED.get(re.split(r"[.\[]", place)[0], of).__struct_fields__
        near = closest(key, keys)
        hint = f"did you mean {near}?" if near else f"the keys are {', '.join(keys)}"
        return f"{place}{'.' if place else ''}{key}: no such key; {hint}"
    if enum := _ENUM.fullmatch(what):
        words = _words_at(place)
        near = closest(enum["word"][:QUOTED_LENGTH_MAX], words)
        hint = f"; did you mean {near}?" if near else ""
        return f"{where}expected one of {', '.join(words)}{hint}"
    what = re.sub(r"`([^`]*)`", lambda name: _of_type(name[1]), what)
    for pattern, wording in _BOUNDS:
        what = re.sub(pattern, wording, what)
    return f"{where}{what[:1].lower()}{what[1:]}"


def _words_at(place: str) -> tuple[str, ...]:
    if place.startswith("roles"):
        return ROLE_NAMES
    return ALGORITHMS if place == "algorithm" else ("own", "all")


def _of_type(name: str) -> str:
    names = [word for word in name.split(" | ") if word != "null"] or [name]
    return " or ".join(_WORDS.get(word, word) for word in names)


def _patterns(table: PatternTable) -> Patterns:
    by_action = {
        Action.CALL: table.call,
        Action.SERVE: table.serve,
        Action.TARGET: table.target,
        Action.MESSAGE: table.message,
        Action.WATCH: table.watch,
        Action.PUBLISH: table.publish,
        Action.JOBS: (table.jobs,) if table.jobs else (),
        Action.OBSERVE: ("*",) if table.observe else (),
        Action.OPERATE: ("*",) if table.operate else (),
    }
    return tuple((action, patterns) for action, patterns in by_action.items() if patterns)
