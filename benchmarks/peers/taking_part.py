"""Results of peers as sections, and which took part: the versions of each, and why one has no figures.

Versions and reasons are in the `about` of a section.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from ..results import Collection, SectionResults
from ..sections.section import Table
from .subject import Round, Subject

ABOUT_SHOWN: Final = ("versions", "left_out")
"""What of `about` is shown by `tables`: `{peer: {part: version}}` and `{peer and case: reason}`."""


def section_results(subjects: Sequence[Subject[Round]], about: Mapping[str, Any]) -> SectionResults | None:
    """All rounds of all subjects of one section, measured as `about` says; None if there is no round at all."""
    versions: dict[str, dict[str, str]] = {}
    left_out: dict[str, str] = {}
    collection = Collection({**about, "versions": versions, "left_out": left_out})
    for subject in subjects:
        reason = subject.absent or subject.broken
        if reason is not None:
            left_out[subject.label] = reason
        for figures in subject.rounds:
            versions[subject.name] = subject.versions
            collection.add(subject.case, asdict(figures))
    results = collection.results()
    return results if results.rows else None


def tables(measured: SectionResults) -> list[Table]:
    """Versions of all that took part; what was left out and why, if anything was."""
    versions = [
        (peer, ", ".join(f"{part} {version}" for part, version in parts.items()))
        for peer, parts in measured.about.get("versions", {}).items()
    ]
    left_out = list(measured.about.get("left_out", {}).items())
    shown = [Table("Versions", ("peer", "versions"), versions, text_columns=2)]
    if left_out:
        caption = "Left out, or with fewer rounds than the others"
        shown.append(Table(caption, ("peer", "why"), left_out, text_columns=2))
    return shown
