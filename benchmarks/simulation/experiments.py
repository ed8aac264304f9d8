"""All experiments, in the order in which they are shown, and how a process runs one seed of one."""

import signal
import time
from typing import Final

from . import (
    balls_in_bins,
    black_hole,
    fairness,
    overload,
    priorities,
    response_time,
    slow_worker,
    slowdown,
    weights,
    worker_loss,
)
from .experiment import Experiment, Result

EXPERIMENTS: Final[tuple[Experiment, ...]] = (
    balls_in_bins.EXPERIMENT,
    response_time.EXPERIMENT,
    slow_worker.EXPERIMENT,
    black_hole.EXPERIMENT,
    slowdown.EXPERIMENT,
    overload.EXPERIMENT,
    worker_loss.EXPERIMENT,
    weights.EXPERIMENT,
    priorities.EXPERIMENT,
    fairness.EXPERIMENT,
)
BY_NAME: Final = {experiment.name: experiment for experiment in EXPERIMENTS}


def run_one(name: str, seed: int, scale: float) -> tuple[Result, float]:
    """The result, and the CPU seconds that it took."""
    started = time.process_time()
    return BY_NAME[name].run(seed, scale), time.process_time() - started


def end_on_interrupt() -> None:
    """Ctrl-C reaches every process: one that only computes ends at once, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
