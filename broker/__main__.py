"""`python -m taskferry.broker` does what `taskferry broker` does."""

import sys

if __name__ == "__main__":
    try:
        from ..program.command_line import run
        from .cli import broker

        run(broker, "taskferry broker")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
