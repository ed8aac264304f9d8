"""Where the `taskferry` command begins. It loads the rest, and Ctrl-C meanwhile is no traceback."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        from .main import main as run  # noqa: PLC0415  as the module's docstring says

        run()
    except KeyboardInterrupt:
        sys.exit(130)
