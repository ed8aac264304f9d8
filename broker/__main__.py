"""`python -m taskferry.broker` does what `taskferry broker` does."""

from ..program.start import start


def _run() -> None:
    from ..program.command_line import run  # noqa: PLC0415  here Ctrl-C is no traceback
    from .cli import broker  # noqa: PLC0415

    run(broker, "taskferry broker")


if __name__ == "__main__":
    start(_run)
