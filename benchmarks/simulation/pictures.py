"""The plots as PNG files. The only module that needs matplotlib; experiments draw on the axes that it passes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from .experiment import Experiment, Result

DOTS_PER_INCH: Final = 110
AXES_SIZE_INCHES: Final = (5.2, 3.4)
COLUMNS_MAX: Final = 2


def draw(experiment: Experiment, results: Sequence[Result], path: Path) -> None:
    """Write the experiment's plot to `path`, the same bytes for the same results."""
    columns = min(COLUMNS_MAX, experiment.plots_count)
    rows = -(-experiment.plots_count // columns)
    width, height = AXES_SIZE_INCHES
    with mpl.rc_context({"axes.grid": True, "grid.alpha": 0.3, "font.size": 9}):
        figure = Figure(figsize=(width * max(columns, 1.3), height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        experiment.plot(list(axes), results)
        figure.suptitle(experiment.title)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
