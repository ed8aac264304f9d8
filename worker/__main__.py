"""`python -m taskferry.worker` does what `taskferry worker` does.

The guard matters: the processes of `executor="process"` handlers import this module anew.
"""

import sys

if __name__ == "__main__":
    try:
        from .cli import worker

        worker(prog_name="python -m taskferry.worker")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
