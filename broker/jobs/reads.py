"""Questions to the journal. They are asked at the end of the turn, after what the turn has changed was handed over, so
that the answer includes it; they are answered in a later turn, in order."""

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
        self._reads.hear(self)


class Reads:
    """`answered`: questions with their answers, which the caller hands on in order. `wake` is called when there are
    any."""

    __slots__ = ("_asked", "_journal", "_wake", "answered")

    def __init__(self, journal: Journal, wake: Callable[[], None]) -> None:
        self._journal = journal
        self._wake = wake
        self._asked: list[Question] = []
        self.answered: list[Question] = []

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

    def hear(self, question: Question) -> None:
        """One has been answered."""
        self.answered.append(question)
        self._wake()
