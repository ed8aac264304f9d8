"""Questions to the journal. They are asked at the end of the turn, after what the turn has changed was handed over, so
that the answer includes it; they are answered in a later turn.

The order of answers matters. What was written after a question was asked is answered after it, and until then memory
has the jobs that are concerned: so a row is as the journal has it, unless memory has the job.
"""

from collections.abc import Callable
from typing import Any

from .ports import Journal, Query

Handler = Callable[[Any, Any, float], None]
"""Takes the context, the answer or a JournalError, and now."""


class Question:
    """One question, and who gets its answer."""

    __slots__ = ("_reads", "answer", "context", "handler", "query")

    def __init__(self, query: Query, handler: Handler, context: object, reads: "Reads") -> None:
        self.query = query
        self.handler = handler
        self.context = context
        self.answer: object = None
        self._reads = reads

    def answered(self, answer: object) -> None:
        """The journal answers."""
        self.answer = answer
        self._reads.answered(self)


class Reads:
    """`answered` is called with each question that has an answer."""

    __slots__ = ("_asked", "_journal", "answered")

    def __init__(self, journal: Journal, answered: Callable[[Question], None]) -> None:
        self._journal = journal
        self._asked: list[Question] = []
        self.answered = answered

    def ask(self, query: Query, handler: Handler, context: object = None) -> None:
        """Ask this at the end of the turn."""
        self._asked.append(Question(query, handler, context, self))

    def send(self) -> None:
        """Hand all questions of the turn over."""
        if not self._asked:
            return
        asked, self._asked = self._asked, []
        for question in asked:
            self._journal.read(question.query, question.answered)
