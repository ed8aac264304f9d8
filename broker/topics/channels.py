"""Which topics and patterns an event belongs to, by name: those without a `*` and those with one at their end are found
in tables, so that an event costs the same however many there are."""

import re
from collections.abc import Callable, Iterator
from fnmatch import translate
from typing import Any, Final

from .bounds import CHANNELS_COUNT_MAX, WILD_COUNT_MAX
from .channel import Channel

ANY: Final = "*"


class Channels:
    """All channels, by pattern."""

    __slots__ = ("_by_prefix", "_exact", "_wild", "all")

    def __init__(self) -> None:
        self.all: dict[str, Channel] = {}
        self._exact: dict[str, Channel] = {}
        self._by_prefix: dict[int, dict[str, Channel]] = {}
        """By the length of what is before the `*`, and by that."""
        self._wild: dict[str, tuple[Callable[[str], Any], Channel]] = {}

    def lack_of_room(self, patterns: list[str]) -> str | None:
        """Why there is no room for channels of these, for people; None if there is."""
        new = {pattern for pattern in patterns if pattern not in self.all}
        if len(self.all) + len(new) > CHANNELS_COUNT_MAX:
            return f"there are subscriptions to {CHANNELS_COUNT_MAX} topics (CHANNELS_COUNT_MAX)"
        wild_count = sum(is_wild(pattern) for pattern in new)
        if wild_count and len(self._wild) + wild_count > WILD_COUNT_MAX:
            return f"there are {WILD_COUNT_MAX} patterns with a * before their end (WILD_COUNT_MAX)"
        return None

    def add(self, pattern: str, offset: int) -> Channel:
        """Make the channel of a pattern that has none."""
        channel = self.all[pattern] = Channel(pattern, offset)
        if ANY not in pattern:
            self._exact[pattern] = channel
        elif is_wild(pattern):
            self._wild[pattern] = (matcher(pattern), channel)
        else:
            prefix = pattern[:-1]
            self._by_prefix.setdefault(len(prefix), {})[prefix] = channel
        return channel

    def remove(self, channel: Channel) -> None:
        """Forget a channel."""
        pattern = channel.pattern
        del self.all[pattern]
        if ANY not in pattern:
            del self._exact[pattern]
        elif is_wild(pattern):
            del self._wild[pattern]
        else:
            prefix = pattern[:-1]
            same_length = self._by_prefix[len(prefix)]
            del same_length[prefix]
            if not same_length:
                del self._by_prefix[len(prefix)]

    def of(self, topic: str) -> list[Channel]:
        """The channels that this topic belongs to."""
        found: list[Channel] = []
        channel = self._exact.get(topic)
        if channel is not None:
            found.append(channel)
        for length, channels in self._by_prefix.items():
            channel = channels.get(topic[:length])
            if channel is not None:
                found.append(channel)
        for matches, wild in self._wild.values():
            if matches(topic) is not None:
                found.append(wild)
        return found

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.all.values())


def is_wild(pattern: str) -> bool:
    """It has a `*` elsewhere than at its end."""
    return ANY in pattern[:-1]


def matcher(pattern: str) -> Callable[[str], Any]:
    """Whether a topic matches a pattern: not None if it does. Needs no more steps than the pattern's length times the
    topic's, because the groups of fnmatch's expressions are atomic."""
    return re.compile(translate(pattern.replace("[", "[[]").replace("?", "[?]"))).match


def literal_of(pattern: str) -> str:
    """What each topic that matches begins with."""
    return pattern.partition(ANY)[0]
