"""A broker that lives as long as the console that started it: `python -m taskferry.cli.console.kept_broker`, with the
options of `taskferry broker`.

It stops, as by SIGTERM, once its standard input ends, which it does however the console dies.
"""

import os
import signal
import sys
import threading

from ...broker.cli import broker
from ...program.command_line import run


def _stop_with_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the broker."""
    threading.Thread(target=_stop_with_input, name="lifeline", daemon=True).start()
    run(broker, "taskferry broker", sys.argv[1:])


if __name__ == "__main__":
    main()
