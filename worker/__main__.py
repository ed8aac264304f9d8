"""`python -m taskferry.worker` does what `taskferry worker` does.

The guard matters: the processes of `executor="process"` handlers import this module again.
"""

import sys

if __name__ == "__main__":
    try:
        from ..program.command_line import run
        from .cli import worker

        run(worker, "taskferry worker")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
