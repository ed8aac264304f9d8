"""`python -m taskferry.requester` does what `taskferry request` does."""

from ..program.start import start


def _run() -> None:
    from ..program.command_line import run  # noqa: PLC0415  here Ctrl-C is no traceback
    from .cli import request  # noqa: PLC0415

    run(request, "taskferry request")


if __name__ == "__main__":
    start(_run)
