"""docs/benchmarks.md: machine, targets, and every section with its plot; ratios first, then absolute figures.

It knows no section by name, and changes no figure.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .results import Results, SectionResults
from .sections.section import Presentation, Table
from .shown import in_order
from .tables import markdown
from .targets import targets_table

HEAD: Final = """# What Taskferry costs, measured

`make bench` and `make bench-peers` generate this page. benchmarks/README.md explains how everything is measured, and
[benchmarks.json](benchmarks.json) has every figure of every round. Figures are medians over the rounds. Compare ratios,
which come from one run on one machine, rather than absolute figures.
"""


def write_page(results: Results, folder: Path) -> None:
    """Write benchmarks.md into `folder`, and the plots beside it if matplotlib is installed. Raises OSError."""
    folder.mkdir(exist_ok=True)
    if find_spec("matplotlib") is None:
        print("benchmarks: matplotlib is not installed: the plots are not redrawn", file=sys.stderr)
    else:
        from .pictures import draw  # noqa: PLC0415  only the plots need matplotlib

        for shown, measured in in_order(results):
            draw(shown, measured, folder / picture_name(shown.name))
    (folder / "benchmarks.md").write_text(page(results), encoding="utf-8")


def page(results: Results) -> str:
    """The whole page as Markdown."""
    contents = "\n".join(f"- [{shown.title}](#{shown.name})" for shown, _ in in_order(results))
    note = "A missed target is reported here, but does not fail the run."
    targets = f"## Targets\n\n{note}\n\n{markdown(targets_table(results))}"
    return "\n".join([HEAD, contents + "\n", targets, *(_section(*one) for one in in_order(results))])


def picture_name(name: str) -> str:
    """The file of a section's plot, beside the page."""
    return f"benchmarks-{name}.png"


def _section(shown: Presentation, measured: SectionResults) -> str:
    rounds_count = max((len(values) for row in measured.rows for values in row.figures.values()), default=0)
    tables = "\n".join(map(markdown, shown.tables(measured)))
    about = {name: value for name, value in measured.about.items() if name not in shown.about_shown}
    return (
        f'<a id="{shown.name}"></a>\n\n## {shown.title}\n\n{shown.meaning}\n\n'
        f"![{shown.title}]({picture_name(shown.name)})\n\n{tables}\n"
        f"Medians of {rounds_count} rounds, measured with:\n\n{markdown(_about(about))}"
    )


def _about(about: Mapping[str, Any]) -> Table:
    rows = [(name.replace("_", " "), _text(value)) for name, value in about.items()]
    return Table("", ("what", "value"), rows, text_columns=2)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return str(value)
