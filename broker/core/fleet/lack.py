"""Why no worker can take a call, and what to do about it: the text of its failure.

Made only once a request has failed. What costs a search is bounded twice: in what one search looks at, and in how many
searches are made. So a requester that sends nothing but mistakes only gets shorter texts.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from ....protocol.errors import NoAvailableWorkers
from ....protocol.limits import TEXT_LENGTH_MAX
from ..call import Call, Target
from ..requester import Requester
from .command import Command
from .route import describe_target, mismatch
from .worker import Worker

if TYPE_CHECKING:
    from .roster import Roster

SEARCH_INTERVAL_S: Final = 0.1
"""At most one search in this time, for all requesters together: with what one looks at, less than a hundredth of a
core."""

NAMES_COUNT_MAX: Final = 1000
"""Commands that are looked at for one that may have been meant: as many as one worker may serve."""

COMPARED_COUNT_MAX: Final = 50
"""Of these, how many are compared letter by letter."""

WORKERS_COUNT_MAX: Final = 100
"""Workers that are looked at for one that is drained."""

NAME_LENGTH_MIN: Final = 3
"""Every shorter name is near to many."""

EDITED_LENGTH_MAX: Final = 2
"""Two names are near if they are equal but for so many letters in one place: one left out, added or replaced, or two
exchanged."""


class Lack:
    """Says why, for the workers and commands of one roster."""

    __slots__ = ("_roster", "_search_at")

    _roster: "Roster"

    def __init__(self) -> None:
        self._search_at = 0.0

    def of(self, roster: "Roster") -> None:
        """Look there. Called once, because a roster is made with what needs this."""
        self._roster = roster

    def text(self, requester: Requester, call: Call, now: float) -> str:
        """Why no worker can take `call` of `requester`, for people. Names no command that it may not call."""
        why = self._why(requester, call, now)
        return f"{NoAvailableWorkers.message}: {why}"[:TEXT_LENGTH_MAX]

    def _why(self, requester: Requester, call: Call, now: float) -> str:
        name, target = call.command, call.target
        command = self._roster.commands.get(name)
        if command is None:
            near = self._nearest(name, requester) if self._may_search(now) else None
            meant = f"did you mean {near}?" if near else "start one that does"
            return f"no worker serves {name!r}; {meant}"
        if isinstance(target, str):
            return self._why_not(target, command)
        drained = self._drained(command, target) if self._may_search(now) else None
        if target is None:
            lack, remedy = f"no worker serves {name} any more", "start one that does"
        else:
            noun = "label" if len(target) == 1 else "labels"
            lack = f"no worker that serves {name} has the {noun} {describe_target(target)}"
            remedy = "start one that has"
        return f"{lack}; {remedy if drained is None else _leaves(drained)}"

    def _why_not(self, worker_id: str, command: Command) -> str:
        """Why this one worker cannot take it."""
        worker = self._roster.workers.get(worker_id)
        if worker is None:
            return f"no worker {worker_id!r} is connected; start it, or name another one"
        return _leaves(worker) if command in worker.commands else f"{worker_id} does not serve {command.name}"

    def _may_search(self, now: float) -> bool:
        if now < self._search_at:
            return False
        self._search_at = now + SEARCH_INTERVAL_S
        return True

    def _drained(self, command: Command, target: Target | None) -> Worker | None:
        """A worker that would take it, but for being drained or about to leave."""
        for worker in islice(self._roster.workers.values(), WORKERS_COUNT_MAX):
            if command in worker.commands and mismatch(worker, target) is None:
                return worker
        return None

    def _nearest(self, name: str, requester: Requester) -> str | None:
        """The command that may have been meant, if there is one that `requester` may call."""
        known = islice(self._roster.commands, NAMES_COUNT_MAX)
        return next((near for near in _near(name, known) if requester.may_call(near)), None)


def _leaves(worker: Worker) -> str:
    if worker.record.is_drained:
        return f"{worker.worker_id} is drained: undo that, or start another one"
    return f"{worker.worker_id} is stopping: start another one"


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Those that are near to `name`, nearest first."""
    length = len(name)
    if length < NAME_LENGTH_MIN:
        return []
    # What differs lies behind the first of these parts, or before the second one: most others are ruled out by that.
    head, tail = name[: length // 2 - 1] or name[0], name[length // 2 + 1 :] or name[-1]
    found: list[tuple[int, str]] = []
    compared_count = 0
    for other in known:
        if not (other.startswith(head) or other.endswith(tail)):
            continue
        edited_length = _edited_length(name, other)
        if edited_length <= EDITED_LENGTH_MAX:
            found.append((edited_length, other))
        compared_count += 1
        if compared_count == COMPARED_COUNT_MAX:
            break
    return [other for _, other in sorted(found)]


def _edited_length(a: str, b: str) -> int:
    """Letters between the common beginning and the common end of two names, in the longer one."""
    shorter = min(len(a), len(b))
    start = 0
    while start < shorter and a[start] == b[start]:
        start += 1
    end = 0
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    return max(len(a), len(b)) - start - end
