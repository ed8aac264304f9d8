"""What became of each line that `taskferry submit` was given: counted, and written as a line of JSON once it is known.

Each line is written whole, by one write, as soon as its outcome is known; `close` writes what is known of the rest. So
what has been written is right at any moment.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import click

from ...log.printable import printable
from ...protocol.errors import TaskferryError
from .. import output

SHOWN_COUNT_MAX: Final = 10
"""Lines with an error that are shown on standard error; all of them are in the results."""

BAD_DATA: Final = "bad_data"
"""The code of a line that is not JSON."""

UNKNOWN: Final = "unknown"
"""The state of a job whose submission was interrupted: it may have been accepted."""


class Report:
    """`results`: what is written to. `waits`: a line's outcome is the end of its job, not its acceptance."""

    def __init__(self, results: BinaryIO, *, waits: bool) -> None:
        self._results = results
        self._waits = waits
        self._open: dict[int, tuple[str, str]] = {}
        self._shown_count = 0
        self.show: Callable[[str], None] = _show
        """Where errors of lines are shown."""
        self.started_s = time.monotonic()
        self.lines_count = 0
        self.accepted_count = 0
        self.duplicates_count = 0
        self.done_count = 0
        self.codes: Counter[str | None] = Counter()
        """Of the outcomes, None for success."""

    @property
    def is_on_terminal(self) -> bool:
        """The results are printed where a person sees them."""
        return self._results.isatty()

    @property
    def ended_count(self) -> int:
        """Lines whose outcome is known."""
        return self.codes.total()

    @property
    def unknown_count(self) -> int:
        """Jobs that may have been accepted or not."""
        return sum(state == UNKNOWN for _, state in self._open.values())

    def started(self, number: int, job_id: str) -> None:
        """A line is being submitted."""
        self.lines_count += 1
        self._open[number] = job_id, UNKNOWN

    def accepted(self, number: int, job_id: str, state: str, *, is_duplicate: bool) -> None:
        """A line is a job."""
        self.accepted_count += 1
        self.duplicates_count += is_duplicate
        if self._waits:
            self._open[number] = job_id, state
            return
        self.codes[None] += 1
        self._end(number, {"job_id": job_id, "state": state, "duplicate": is_duplicate})

    def done(self, number: int, job_id: str, data: object) -> None:
        """A job is done."""
        self.done_count += 1
        self.codes[None] += 1
        self._end(number, {"job_id": job_id, "success": True, "data": data})

    def failed(self, number: int, facts: dict[str, Any]) -> None:
        """A job failed, or was not accepted. `facts`: with `code` and `error`."""
        self.codes[facts["code"]] += 1
        self._end(number, facts)
        self._shown_count += 1
        if self._shown_count <= SHOWN_COUNT_MAX:
            self.show(f"line {number}: {printable(facts['error'])} [{printable(facts['code'])}]")
        elif self._shown_count == SHOWN_COUNT_MAX + 1:
            self.show("further errors are in the results only")

    def bad_line(self, number: int, reason: str) -> None:
        """A line is not DATA."""
        self.lines_count += 1
        self.failed(number, {"job_id": None, "success": False, "code": BAD_DATA, "error": reason})

    def close(self) -> None:
        """Write what is known of the lines whose outcome is not."""
        for number, (job_id, state) in sorted(self._open.items()):
            self._write({"line": number, "job_id": job_id, "state": state})

    def summary(self) -> str:
        """The counts, for people."""
        refused_count = sum(self.codes.values()) - self.codes[None]
        lines = "1 line" if self.lines_count == 1 else f"{self.lines_count:,} lines"
        texts = [f"{lines}: {self.accepted_count:,} accepted"]
        if self.duplicates_count:
            texts[0] += f" ({self.duplicates_count:,} of them were there already)"
        if self._waits:
            texts.append(f"{self.done_count:,} done")
        if refused_count:
            texts.append(f"{refused_count:,} failed")
        if self.unknown_count:
            texts.append(f"{self.unknown_count:,} unknown")
        return ", ".join(texts)

    def _end(self, number: int, facts: dict[str, Any]) -> None:
        self._write({"line": number, **facts})
        self._open.pop(number, None)

    def _write(self, facts: dict[str, Any]) -> None:
        self._results.write(output.json_line(facts).encode() + b"\n")
        self._results.flush()


def _show(text: str) -> None:
    click.echo(text, err=True)


def failure(job_id: str, error: TaskferryError) -> dict[str, Any]:
    """What a line says of a job that failed, or was not accepted."""
    facts = {"job_id": job_id, "success": False, "code": error.code, "error": error.text}
    known = {"processed_by": error.processed_by, "delivery": error.delivery}
    return facts | {name: value for name, value in known.items() if value is not None}
