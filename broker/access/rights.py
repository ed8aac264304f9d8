"""What somebody may do: grants of patterns by action, and what is denied nevertheless.

Whatever no grant covers is not allowed, and what is denied is not allowed whatever is granted. Each decision names the
rule that made it, in the words of the access file.
"""

import enum
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple


class Action(enum.Enum):
    """What can be allowed. Each is about a subject, which patterns match."""

    CALL = "call"
    """Send requests for a command."""
    SERVE = "serve"
    """Be a worker for a command."""
    TARGET = "target"
    """Choose who runs a request: a worker_id, or a label as `KEY=VALUE`."""
    WATCH = "watch"
    """Subscribe to a topic."""
    JOBS = "jobs"
    """See and cancel jobs: its `own`, or `all`."""
    OBSERVE = "observe"
    """Read metrics and `/api`. The subject is empty."""
    OPERATE = "operate"
    """Drain workers. The subject is empty."""


ANYTHING: Final = "*"

ROLES: Final[Mapping[str, Mapping[Action, tuple[str, ...]]]] = {
    "worker": {Action.SERVE: (ANYTHING,)},
    "requester": {Action.CALL: (ANYTHING,), Action.TARGET: (ANYTHING,), Action.JOBS: ("own",)},
    "observer": {Action.OBSERVE: (ANYTHING,), Action.WATCH: (ANYTHING,)},
    "operator": {
        Action.OBSERVE: (ANYTHING,),
        Action.OPERATE: (ANYTHING,),
        Action.WATCH: (ANYTHING,),
        Action.JOBS: ("own", "all"),
    },
    "admin": dict.fromkeys(Action, (ANYTHING,)),
}
"""What each role grants."""

NO_RULE: Final = "no rule grants it"


class Decision(NamedTuple):
    """Whether something is allowed. `rule`: the one that decided, for people: `role requester`, `call "resize-*"`,
    `deny call "admin-*"`, or NO_RULE."""

    is_allowed: bool
    rule: str


class Rule(NamedTuple):
    """A pattern over subjects (`*`, `?`, `[...]` as in `fnmatch`, case-sensitive), and its source, for people."""

    pattern: str
    source: str


class Rights:
    """The rights of one identity: granted roles and patterns, less what is denied."""

    __slots__ = ("_denied", "_granted")

    def __init__(
        self,
        roles: Iterable[str] = (),
        grants: Mapping[Action, Iterable[str]] | None = None,
        denials: Mapping[Action, Iterable[str]] | None = None,
    ) -> None:
        """`roles` are names of ROLES; `grants` and `denials`: patterns by action. Raises KeyError for another role."""
        self._granted: dict[Action, list[Rule]] = {}
        self._denied: dict[Action, list[Rule]] = {}
        for role in roles:
            for action, patterns in ROLES[role].items():
                rules = self._granted.setdefault(action, [])
                rules += [Rule(pattern, f"role {role}") for pattern in patterns]
        for action, wanted in (grants or {}).items():
            rules = self._granted.setdefault(action, [])
            rules += [Rule(pattern, f'{action.value} "{pattern}"') for pattern in wanted]
        for action, unwanted in (denials or {}).items():
            rules = self._denied.setdefault(action, [])
            rules += [Rule(pattern, f'deny {action.value} "{pattern}"') for pattern in unwanted]

    def decide(self, action: Action, subject: str = "") -> Decision:
        """Whether `action` on `subject` is allowed. O(rules)."""
        for pattern, source in self._denied.get(action, ()):
            if fnmatchcase(subject, pattern):
                return Decision(False, source)
        for pattern, source in self._granted.get(action, ()):
            if fnmatchcase(subject, pattern):
                return Decision(True, source)
        return Decision(False, NO_RULE)

    def has_any(self, action: Action) -> bool:
        """Whether anything at all is granted for `action`; what is denied of it may still leave nothing."""
        return bool(self._granted.get(action))


EVERYTHING: Final = Rights(roles=("admin",))
NOTHING: Final = Rights()
