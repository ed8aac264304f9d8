"""What an identity may do: grants of patterns by action, and what is denied nevertheless.

What no grant covers is not allowed, and what is denied is not allowed whatever is granted. Each decision names the rule
that made it, in the words of the access file.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from .rules import ANYTHING, NO_RULES, Rules

RULES_COUNT_MAX: Final = 1000
"""Patterns of one identity, granted and denied: as many as a worker may have commands."""


class Action(enum.Enum):
    """What can be allowed. Each is about a subject, which patterns match."""

    CALL = "call"
    """Send requests for a command."""
    SERVE = "serve"
    """Be a worker for a command."""
    TARGET = "target"
    """Choose who runs a request: a worker_id, or a label as `KEY=VALUE`."""
    MESSAGE = "message"
    """Send messages of one's own, and broadcast them: of this kind."""
    WATCH = "watch"
    """Subscribe to a topic."""
    PUBLISH = "publish"
    """Publish to a topic that is not one of the broker's own."""
    JOBS = "jobs"
    """See and cancel jobs: its `own`, or `all`, which includes its own."""
    OBSERVE = "observe"
    """Read metrics and `/api`. The subject is empty."""
    OPERATE = "operate"
    """Drain workers, and close connections. The subject is empty."""


JOBS_OWN: Final = "own"
JOBS_ALL: Final = "all"

ROLES: Final[Mapping[str, Mapping[Action, tuple[str, ...]]]] = {
    "worker": {Action.SERVE: (ANYTHING,), Action.MESSAGE: (ANYTHING,), Action.PUBLISH: (ANYTHING,)},
    "requester": {
        Action.CALL: (ANYTHING,),
        Action.TARGET: (ANYTHING,),
        Action.MESSAGE: (ANYTHING,),
        Action.JOBS: (JOBS_OWN,),
    },
    "observer": {Action.OBSERVE: (ANYTHING,), Action.WATCH: (ANYTHING,)},
    "operator": {
        Action.OBSERVE: (ANYTHING,),
        Action.OPERATE: (ANYTHING,),
        Action.WATCH: (ANYTHING,),
        Action.PUBLISH: (ANYTHING,),
        Action.JOBS: (JOBS_ALL,),
    },
    "admin": dict.fromkeys(Action, (ANYTHING,)),
}
"""What each role grants."""

NO_RULE: Final = "no rule grants it"


Sources = dict[Action, dict[str, str]]
"""Patterns by action, each with its rule, for people."""


class Decision(NamedTuple):
    """Whether something is allowed. `rule`: one that decided, for people: `role requester`, `call "resize-*"`,
    `deny call "admin-*"`, or NO_RULE."""

    is_allowed: bool
    rule: str


class Rights:
    """The rights of one identity: granted roles and patterns, less what is denied."""

    __slots__ = ("_denied", "_granted", "_sources")

    def __init__(
        self,
        roles: Iterable[str] = (),
        grants: Mapping[Action, Iterable[str]] | None = None,
        denials: Mapping[Action, Iterable[str]] | None = None,
    ) -> None:
        """`roles` are names of ROLES; `grants` and `denials`: patterns by action. Raises ValueError, with a text for
        people, for another role, patterns that Rules does not take, and over RULES_COUNT_MAX of them."""
        granted: Sources = {}
        denied: Sources = {}
        for role in roles:
            if role not in ROLES:
                raise ValueError(f"no role is called {role[:40]!r}: use {', '.join(ROLES)}")
            for action, patterns in ROLES[role].items():
                _add(granted, action, dict.fromkeys(patterns, f"role {role}"))
        for action, wanted in (grants or {}).items():
            _add(granted, action, {pattern: f'{action.value} "{pattern}"' for pattern in wanted})
        jobs = granted.get(Action.JOBS, {})
        if JOBS_ALL in jobs:
            _add(granted, Action.JOBS, {JOBS_OWN: jobs[JOBS_ALL]})
        for action, unwanted in (denials or {}).items():
            _add(denied, action, {pattern: f'deny {action.value} "{pattern}"' for pattern in unwanted})
        self._set(granted, denied)

    def _set(self, granted: Sources, denied: Sources) -> None:
        count = sum(len(sources) for sources in (*granted.values(), *denied.values()))
        if count > RULES_COUNT_MAX:
            raise ValueError(
                f"{count} patterns for one identity, at most {RULES_COUNT_MAX} (RULES_COUNT_MAX)"
            )
        self._sources = (granted, denied)
        self._granted = {action: Rules(sources) for action, sources in granted.items()}
        self._denied = {action: Rules(sources) for action, sources in denied.items()}

    def joined_with(self, other: "Rights") -> "Rights":
        """What either grants, less what either denies. Raises ValueError as `__init__` does."""
        granted, denied = dict(self._sources[0]), dict(self._sources[1])
        for rules, others in ((granted, other._sources[0]), (denied, other._sources[1])):
            for action, sources in others.items():
                _add(rules, action, sources)
        joined = Rights()
        joined._set(granted, denied)
        return joined

    def has_rules_of(self, other: "Rights") -> bool:
        """Whether both have the same rules, so that they allow the same."""
        return self._sources == other._sources

    def decide(self, action: Action, subject: str = "") -> Decision:
        """Whether `action` on `subject` is allowed. Nothing is kept, so names that a peer makes up fill nothing."""
        source = self._denied.get(action, NO_RULES).match(subject)
        if source is not None:
            return Decision(False, source)
        source = self._granted.get(action, NO_RULES).match(subject)
        return Decision(False, NO_RULE) if source is None else Decision(True, source)

    def decide_pattern(self, action: Action, pattern: str) -> Decision:
        """Whether `action` is allowed on all that `pattern`, in which `*` stands for any text, may match."""
        source = self._denied.get(action, NO_RULES).meets(pattern)
        if source is not None:
            return Decision(False, source)
        source = self._granted.get(action, NO_RULES).covers(pattern)
        return Decision(False, NO_RULE) if source is None else Decision(True, source)

    def has_any(self, action: Action) -> bool:
        """Whether anything at all is granted for `action`; what is denied of it may still leave nothing."""
        return action in self._granted

    def has_all(self, action: Action) -> bool:
        """Whether `action` is allowed on every subject, whatever it is."""
        return action not in self._denied and ANYTHING in self._granted.get(action, NO_RULES).sources


def _add(rules: Sources, action: Action, sources: Mapping[str, str]) -> None:
    """Add patterns. One that is there already gets the new rule."""
    if sources:
        rules[action] = {**rules.get(action, {}), **sources}


EVERYTHING: Final = Rights(roles=("admin",))
NOTHING: Final = Rights()
