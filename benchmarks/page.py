"""docs/benchmarks.md: machine, targets, and every section with its plot; ratios first, then absolute figures.

Knows the form of results. Must not know any one section, and changes no figure.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .results import Results, SectionResults
from .sections.all import BY_NAME
from .sections.section import Table
from .shown import SAID, in_order, meaning, tables, title
from .tables import markdown
from .targets import targets_table

HEAD: Final = """# What Taskferry costs, measured

`make bench` writes this page; no figure on it was typed in. benchmarks/README.md says how everything is measured, and
every figure of every round is in [benchmarks.json](benchmarks.json). Figures are medians over the rounds. Compare
ratios, which are of one run on one machine, rather than absolute figures.
"""


def write_page(results: Results, folder: Path) -> None:
    """Write benchmarks.md into `folder`, and the plots beside it where matplotlib is installed. Raises OSError."""
    folder.mkdir(exist_ok=True)
    if find_spec("matplotlib") is None:
        print("benchmarks: matplotlib is not installed: the plots are not drawn anew", file=sys.stderr)
    else:
        from .pictures import draw  # noqa: PLC0415  only the plots need matplotlib

        for name, measured in results.items():
            if name in BY_NAME:
                draw(BY_NAME[name], measured, folder / picture_name(name))
    (folder / "benchmarks.md").write_text(page(results), encoding="utf-8")


def page(results: Results) -> str:
    """The whole page as Markdown."""
    contents = "\n".join(f"- [{title(name, measured)}](#{name})" for name, measured in in_order(results))
    targets = f"## Targets\n\nA missed target is told here, and fails nothing.\n\n{markdown(targets_table(results))}"
    return "\n".join([HEAD, contents + "\n", targets, *(_section(*one) for one in in_order(results))])


def picture_name(name: str) -> str:
    """The file of a section's plot, beside the page."""
    return f"benchmarks-{name}.png"


def _section(name: str, measured: SectionResults) -> str:
    rounds_count = max((len(values) for row in measured.rows for values in row.figures.values()), default=0)
    picture = f"![{title(name, measured)}]({picture_name(name)})\n\n" if name in BY_NAME else ""
    shown = "\n".join(map(markdown, tables(name, measured)))
    return (
        f'<a id="{name}"></a>\n\n## {title(name, measured)}\n\n{meaning(name, measured)}\n\n{picture}{shown}\n'
        f"Medians of {rounds_count} rounds, measured with:\n\n{markdown(_about(measured.about))}"
    )


def _about(about: Mapping[str, Any]) -> Table:
    rows = [(name.replace("_", " "), _text(value)) for name, value in about.items() if name not in SAID]
    return Table("", ("what", "value"), rows, text_columns=2)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return str(value)
