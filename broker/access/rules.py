"""Patterns over names, and which of them matches a name.

A peer may make up any number of names, so a match must be cheap however many patterns there are: names are found in a
table, and all prefixes (`resize-*`) compared by one call. Only other patterns are tried one by one.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any, Final

PATTERN_LENGTH_MAX: Final = 257
"""Characters of a pattern: the longest subject is a label as `KEY=VALUE`, with 128 characters each."""

OTHERS_COUNT_MAX: Final = 100
"""Patterns that are neither a name nor a prefix. Each takes about half a microsecond, so that together they cost a call
with a made-up name no more than its own message does."""

ANYTHING: Final = "*"

_SPECIAL: Final = re.compile(r"[*?[]")


class Rules:
    """`sources`: patterns as of `fnmatch` (`*`, `?`, `[...]`; case-sensitive), each with the rule that it belongs to,
    for people. Raises ValueError, with a text for people, for a pattern that is empty or over PATTERN_LENGTH_MAX, and
    for over OTHERS_COUNT_MAX that are neither a name nor a prefix.

    `fnmatch` itself keeps 256 compiled patterns for all of Python and compiles the others again for each match. Its
    expressions need no more steps than the pattern's length times the name's, because their groups are atomic.
    """

    __slots__ = ("_names", "_others", "_prefix_tuple", "_prefixes", "sources")

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = dict(sources)
        self._names: dict[str, str] = {}
        self._prefixes: dict[str, str] = {}
        self._others: list[tuple[Callable[[str], Any], str]] = []
        for pattern, source in sources.items():
            if not 0 < len(pattern) <= PATTERN_LENGTH_MAX:
                raise ValueError(
                    f"a pattern has 1 to {PATTERN_LENGTH_MAX} characters, and {pattern[:20]!r}... has {len(pattern)}"
                )
            if _SPECIAL.search(pattern) is None:
                self._names[pattern] = source
            elif pattern[-1] == "*" and _SPECIAL.search(pattern[:-1]) is None:
                self._prefixes[pattern[:-1]] = source
            else:
                self._others.append((re.compile(translate(pattern)).match, source))
        if len(self._others) > OTHERS_COUNT_MAX:
            what = f"{len(self._others)} patterns with a wildcard before their end"
            raise ValueError(f"{what}, at most {OTHERS_COUNT_MAX} (OTHERS_COUNT_MAX)")
        self._prefix_tuple = tuple(self._prefixes)

    def match(self, name: str) -> str | None:
        """The source of a pattern that matches `name`; None if none does."""
        source = self._names.get(name)
        if source is not None:
            return source
        if name.startswith(self._prefix_tuple):
            return next(source for prefix, source in self._prefixes.items() if name.startswith(prefix))
        for matches, source in self._others:
            if matches(name) is not None:
                return source
        return None

    def covers(self, pattern: str) -> str | None:
        """The source of a pattern that matches all that `pattern` may, in which only `*` is special; None if no single
        one is known to."""
        if ANYTHING not in pattern:
            return self.match(pattern)
        if pattern.startswith(self._prefix_tuple):
            return next(source for prefix, source in self._prefixes.items() if pattern.startswith(prefix))
        return None if "[" in pattern else self.sources.get(pattern)

    def meets(self, pattern: str) -> str | None:
        """The source of a pattern that may match some of what `pattern` does; None if surely none does. Two patterns
        are compared by what is before their first wildcards."""
        if ANYTHING not in pattern:
            return self.match(pattern)
        start = pattern.partition(ANYTHING)[0]
        for other, source in self.sources.items():
            literal = _SPECIAL.split(other, maxsplit=1)[0]
            if literal.startswith(start) or (literal != other and start.startswith(literal)):
                return source
        return None


NO_RULES: Final = Rules({})
