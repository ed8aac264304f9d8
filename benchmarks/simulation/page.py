"""docs/simulation.md: the meaning, parameters, figures and bounds of every experiment.

It knows no experiment by name, and changes no figure.
"""

from collections.abc import Sequence
from typing import Final

from .experiment import Bound, Experiment, Result, Table, spread, values_of

HEAD: Final = """# What the load balancing does, measured

`make simulate` generates this page. A seeded discrete-event simulation drives the same strategies and the same core
that the broker runs, with a simulated clock and without a network. `make simulate` fails unless every seed keeps each
bound below; `make test` runs each experiment at a smaller scale. To run a single one:
`python -m benchmarks.simulation --only fairness --seeds 1`.

Measured figures are medians over {seeds_count} seeds, with the range in brackets. A row without a bound is for
information only.
"""


def page(experiments: Sequence[tuple[Experiment, Sequence[Result]]]) -> str:
    """The whole page as Markdown."""
    seeds_count = len(experiments[0][1])
    sections = [_section(*pair) for pair in experiments]
    contents = "\n".join(f"- [{experiment.title}](#{experiment.name})" for experiment, _ in experiments)
    return "\n".join([HEAD.format(seeds_count=seeds_count), contents + "\n", *sections])


def picture_name(experiment: Experiment) -> str:
    """The file of an experiment's plot, beside the page."""
    return f"simulation-{experiment.name}.png"


def _section(experiment: Experiment, results: Sequence[Result]) -> str:
    parameters = Table("", ("parameter", "value", "why"), experiment.parameters)
    measured = Table(
        "",
        ("figure", "expected", "measured", "bound", "verdict"),
        [
            (
                bound.figure,
                bound.expected,
                spread(results, bound.figure),
                bound.text,
                _verdict(bound, results),
            )
            for bound in experiment.bounds
        ],
    )
    tables = "\n".join(_markdown(table) for table in (measured, *experiment.tables(results), parameters))
    return (
        f'<a id="{experiment.name}"></a>\n\n## {experiment.title}\n\n{experiment.meaning}\n\n'
        f"![{experiment.title}]({picture_name(experiment)})\n\n{tables}"
    )


def _verdict(bound: Bound, results: Sequence[Result]) -> str:
    if not bound.text:
        return ""
    return "kept" if all(bound.holds(value) for value in values_of(results, bound.figure)) else "**BROKEN**"


def _markdown(table: Table) -> str:
    lines = [
        "| " + " | ".join(cells) + " |"
        for cells in (table.headings, ["---"] * len(table.headings), *table.rows)
    ]
    caption = f"{table.caption}:\n\n" if table.caption else ""
    return caption + "\n".join(lines) + "\n"
