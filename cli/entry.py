"""Where the `taskferry` command begins. It loads the rest, and Ctrl-C meanwhile is no traceback."""

from ..program.start import TYPE_CHECKING, start

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line and exit."""
    start(_run)


def _run() -> None:
    from .main import main as run  # noqa: PLC0415  as the module's docstring says

    run()
