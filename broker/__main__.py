"""`python -m taskferry.broker` does what `taskferry broker` does."""

import sys

if __name__ == "__main__":
    try:
        from .cli import broker

        broker(prog_name="taskferry broker")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
