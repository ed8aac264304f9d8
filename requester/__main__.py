"""`python -m taskferry.requester` does what `taskferry request` does."""

import sys

if __name__ == "__main__":
    try:
        from ..program.command_line import run
        from .cli import request

        run(request, "taskferry request")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
