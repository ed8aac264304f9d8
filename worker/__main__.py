"""`python -m taskferry.worker` does what `taskferry worker` does.

The guard matters: the processes of `executor="process"` handlers import this module again.
"""

from ..program.start import start


def _run() -> None:
    from ..program.command_line import run  # noqa: PLC0415  here Ctrl-C is no traceback
    from .cli import worker  # noqa: PLC0415

    run(worker, "taskferry worker")


if __name__ == "__main__":
    start(_run)
