"""Where every program of ours starts and ends: without a traceback, whatever its streams are and when Ctrl-C comes.

Imports next to nothing before it can handle Ctrl-C: typing alone would take 10 ms.
"""

import sys
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def start(load_and_run: Callable[[], object]) -> "NoReturn":
    """Call `load_and_run`, which imports a program and runs it until SystemExit, and exit as it does: with 130 if
    Ctrl-C ended it, and with 1 if it succeeded but its output could not be written.

    A program that has to clean up after a Ctrl-C, or runs code of users, says so: see interrupts.py.
    """
    code: str | int | None = 130
    try:
        try:
            from .interrupts import end_at_interrupt  # noqa: PLC0415  as the module's docstring says

            end_at_interrupt()
            from .standard_streams import prepare_streams  # noqa: PLC0415

            prepare_streams()
            load_and_run()
        except SystemExit as ended:
            code = ended.code
        code = _end(code)
    except KeyboardInterrupt:
        pass
    sys.exit(code)


def _end(code: str | int | None) -> str | int | None:
    """Nothing interrupts the rest, which Python would report; what was printed is written."""
    from .interrupts import ignore_signals  # noqa: PLC0415
    from .standard_streams import output_fault  # noqa: PLC0415

    ignore_signals()
    fault = output_fault()
    if fault is None or code:
        return code
    if not isinstance(fault, BrokenPipeError):  # then its reader has enough
        sys.stderr.write(f"error: {fault.filename}: {(fault.strerror or str(fault)).lower()}\n")
    return 1
