"""Questions to the journal. They are asked at the end of the turn, after what the turn has changed was handed over, so
that the answer includes it; they are answered in a later turn. Those of requesters wait until it is their turn.

The order of answers matters. What was written after a question was asked is answered after it, and until then memory
has the jobs that are concerned: so a row is as the journal has it, unless memory has the job.
"""

from collections.abc import Callable
from typing import Any, Final

from .ports import CountMatching, Journal, Query, Select, Submitter
from .turns import QUESTIONS_COUNT_MAX, Turns

Handler = Callable[[Any, Any, float], None]
"""Takes the context, the answer or a JournalError, and now."""

BRIEF_SIZE_BYTES: Final = 16_384
"""The estimate for a question that brings back a few rows: a thousand of them are read in some 20 ms."""

SCAN_SIZE_BYTES: Final = 1024 * 1024
"""The estimate for a list or a count: a page of rows with their texts."""

SCANS_OWN_COUNT_MAX: Final = 1
"""Lists and counts of one connection that are with the journal at once: each may have to look at every job."""


class Question:
    """One question, and who gets its answer. `asker`: the requester that it is from, with an estimate of what it brings
    back; None: ours. `is_change`: something is done with the answer, also if the requester has left."""

    __slots__ = ("_reads", "answer", "asker", "context", "handler", "is_change", "query", "size_bytes")

    def __init__(self, query: Query, handler: Handler, context: object, reads: "Reads") -> None:
        self.query = query
        self.handler = handler
        self.context = context
        self.answer: object = None
        self.asker: Submitter | None = None
        self.size_bytes = 0
        self.is_change = False
        self._reads = reads

    def answered(self, answer: object) -> None:
        """The journal answers."""
        self.answer = answer
        self._reads.note(self)


class Reads:
    """`answered` is called with each question that has an answer."""

    __slots__ = ("_asked", "_brief", "_journal", "_scans", "answered")

    def __init__(self, journal: Journal, answered: Callable[[Question], None]) -> None:
        self._journal = journal
        self._asked: list[Question] = []
        self._brief: Turns[Question] = Turns(QUESTIONS_COUNT_MAX)
        self._scans: Turns[Question] = Turns(SCANS_OWN_COUNT_MAX)
        self.answered = answered

    def ask(self, query: Query, handler: Handler, context: object = None) -> None:
        """Ask this at the end of the turn."""
        self._asked.append(Question(query, handler, context, self))

    def ask_for(
        self,
        asker: Submitter,
        query: Query,
        handler: Handler,
        context: object,
        size_bytes: int = BRIEF_SIZE_BYTES,
        *,
        is_change: bool = False,
    ) -> None:
        """Ask this for a requester, when it is its turn; if its connection closes before, only for a change.
        `size_bytes`: what the answer may take, unless it is a list or a count."""
        question = Question(query, handler, context, self)
        question.asker = asker
        question.is_change = is_change
        question.size_bytes = SCAN_SIZE_BYTES if _is_scan(query) else max(size_bytes, BRIEF_SIZE_BYTES)
        self._turns(query).add(asker, question, question.size_bytes)

    def is_full(self, asker: Submitter) -> bool:
        """As many questions of a connection wait as may."""
        count = self._brief.waiting_count(asker) + self._scans.waiting_count(asker)
        return count >= QUESTIONS_COUNT_MAX

    def asker_left(self, asker: Submitter) -> None:
        """A connection has closed."""
        self._brief.left(asker, _is_change)
        self._scans.left(asker, _is_change)

    def note(self, question: Question) -> None:
        """A question has its answer."""
        if question.asker is not None:
            self._turns(question.query).over(question.asker, question.size_bytes)
        self.answered(question)

    def send(self) -> None:
        """Hand the questions of the turn over, and those of requesters whose turn it is."""
        for turns in (self._brief, self._scans):  # first, for submissions of the same turn may rest on them
            taken = turns.take()
            while taken is not None:
                self._journal.read(taken.query, taken.answered)
                taken = turns.take()
        asked, self._asked = self._asked, []
        for question in asked:
            self._journal.read(question.query, question.answered)

    def _turns(self, query: Query) -> "Turns[Question]":
        return self._scans if _is_scan(query) else self._brief


def _is_change(question: Question) -> bool:
    return question.is_change


def _is_scan(query: Query) -> bool:
    return isinstance(query, Select | CountMatching)
