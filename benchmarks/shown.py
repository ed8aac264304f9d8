"""What can be shown: the sections of `python -m benchmarks` and those of `python -m benchmarks.peers`, as text too."""

from collections.abc import Sequence
from typing import Final

from .peers import end_to_end_section, lean_section
from .results import Results, ResultsUnreadable, SectionResults
from .sections.all import SECTIONS
from .sections.section import Presentation
from .tables import markdown
from .targets import Target, targets_table

SHOWN: Final[Sequence[Presentation]] = (*SECTIONS, lean_section.PRESENTATION, end_to_end_section.PRESENTATION)
_NAMES: Final = {one.name for one in SHOWN}


def in_order(results: Results) -> list[tuple[Presentation, SectionResults]]:
    """The sections that there are results of. Raises ResultsUnreadable for one that nothing here can show."""
    for name in results:
        if name not in _NAMES:
            raise ResultsUnreadable(
                f"no section is called {name!r}; there are {', '.join(one.name for one in SHOWN)}"
            )
    return [(one, results[one.name]) for one in SHOWN if one.name in results]


def as_text(sections: Results, results: Results, targets: Sequence[Target]) -> str:
    """The tables of `sections`, then the targets for which `results` have figures."""
    parts = [
        (f"## {shown.title}", *map(markdown, shown.tables(measured)))
        for shown, measured in in_order(sections)
    ]
    parts.append(("## Targets", markdown(targets_table(results, targets))))
    return "\n".join(line for part in parts for line in part)
