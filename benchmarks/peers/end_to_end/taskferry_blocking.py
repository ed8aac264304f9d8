"""A Taskferry user's blocking requester: one BlockingRequester, called from 16 threads."""

from taskferry.requester import BlockingRequester

from .closed_loop import DATA, measure_from_threads
from .program import broker_address, plan, report

THREAD_COUNT = 16


def main() -> None:
    """Measures and reports."""
    with BlockingRequester(f"ws://{broker_address()}") as requester:
        report(measure_from_threads(lambda: requester.call("echo", DATA), plan(), THREAD_COUNT))


if __name__ == "__main__":
    main()
