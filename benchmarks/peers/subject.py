"""What is measured round by round: one peer in one way, its results, and why there are none."""

from collections.abc import Callable
from dataclasses import dataclass, field
from subprocess import SubprocessError
from typing import Generic, TypeVar

from ..broker_process import BrokerFailed
from ..measurement import Measurement
from ..request_stream import LoadFailed
from ..results import Case
from .end_to_end.closed_loop import Figures
from .end_to_end.measurement import ProgramFailed
from .servers import Missing

Round = TypeVar("Round", Measurement, Figures)


@dataclass(slots=True)
class Subject(Generic[Round]):
    """A peer, and the case of it that is measured, which has its name.

    `absent` and `broken` say, in one line, why it has no further rounds: it is not installed, or it failed.
    """

    name: str
    case: Case
    ask_versions: Callable[[], dict[str, str]]
    measure: Callable[[], Round]
    summarise: Callable[[Round], str]
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    absent: str | None = None
    broken: str | None = None

    @property
    def label(self) -> str:
        """What is measured, for people: `nats-server each`."""
        return " ".join(map(str, self.case.values()))

    def run_round(self) -> str | None:
        """Its state in one line; None for a subject that was dropped before."""
        if self.absent is not None or self.broken is not None:
            return None
        try:
            if not self.versions:
                self.versions = self.ask_versions()
            measured = self.measure()
        except Missing as missing:
            self.absent = str(missing)
            return f"left out: {self.absent}"
        except (BrokerFailed, LoadFailed, ProgramFailed, SubprocessError, OSError) as error:
            self.broken = str(error)
            return f"FAILED: {self.broken}"
        self.rounds.append(measured)
        return self.summarise(measured)
