"""`python -m taskferry.requester` does what `taskferry request` does."""

import sys

if __name__ == "__main__":
    try:
        from .cli import request

        request(prog_name="taskferry request")
    except KeyboardInterrupt:  # while it was still loading
        sys.exit(130)
