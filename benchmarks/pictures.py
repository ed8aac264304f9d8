"""The plots as PNG files. The only module that needs matplotlib; sections draw on the axes that it passes them."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from .results import SectionResults
from .sections.section import Presentation

DOTS_PER_INCH: Final = 110
AXES_SIZE_INCHES: Final = (5.2, 3.6)
COLUMNS_MAX: Final = 2


def draw(shown: Presentation, measured: SectionResults, path: Path) -> None:
    """Write the section's plot to `path`, the same bytes for the same results."""
    columns = min(COLUMNS_MAX, shown.plots_count)
    rows = -(-shown.plots_count // columns)
    width, height = AXES_SIZE_INCHES
    with mpl.rc_context({"axes.grid": True, "grid.alpha": 0.3, "font.size": 9}):
        figure = Figure(figsize=(width * max(columns, 1.5), height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in axes[shown.plots_count :]:
            unused.remove()
        shown.plot(list(axes[: shown.plots_count]), measured)
        figure.suptitle(shown.title)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
