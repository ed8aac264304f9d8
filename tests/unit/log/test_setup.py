"""The handler: its timer and its end log the counts; formats and levels change while it runs."""

import io
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, NoReturn

import pytest
from taskferry.log.event import Event, log_event
from taskferry.log.folding import Folding
from taskferry.log.format import HumanFormatter
from taskferry.log.json_format import JsonFormatter
from taskferry.log.settings import LogSettings
from taskferry.log.setup import QUIET, FoldingHandler, apply, set_up_logging

WINDOW_S = 0.05


class Flapped(Event, frozen=True):
    text: ClassVar[str] = "{worker} flapped"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that passes nothing on."""
    logger = logging.getLogger(f"taskferry.test.{uuid.uuid4().hex}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger
    for handler in logger.handlers:
        handler.close()


@contextmanager
def root_of_a_new_program() -> Iterator[logging.Logger]:
    """The root logger without handlers, restored afterwards. No fixture: pytest adds its handlers after those."""
    root = logging.root
    names = [*QUIET, "taskferry.a", "taskferry.b"]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, root.handlers = root.handlers, []
    level = root.level
    try:
        yield root
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


def handler_to(stream: io.StringIO, logger: logging.Logger, window_s: float) -> FoldingHandler:
    handler = FoldingHandler(stream, Folding(window_s))
    handler.setFormatter(HumanFormatter())
    logger.addHandler(handler)
    return handler


def until(stream: io.StringIO, text: str) -> None:
    give_up_at = time.monotonic() + 10
    while text not in stream.getvalue():
        assert time.monotonic() < give_up_at, stream.getvalue()
        time.sleep(0.005)


def test_a_count_is_logged_even_if_nothing_else_happens(logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler_to(stream, logger, WINDOW_S)
    for _ in range(3):
        log_event(logger, Flapped("w"))
    until(stream, "w flapped (repeated 2 times in the last 0.05 s)\n")
    log_event(logger, Flapped("w"))
    until(stream, "w flapped (repeated 1 times in the last 0.05 s)\n")
    assert stream.getvalue().count("\n") == 3


def test_counts_are_logged_at_the_end_and_nothing_after_it(logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler = handler_to(stream, logger, 3600)
    for _ in range(3):
        log_event(logger, Flapped("w"))
    handler.flush()
    assert stream.getvalue().count("\n") == 1
    handler.close()
    assert stream.getvalue().splitlines()[-1].endswith("w flapped (repeated 2 times in the last 3600 s)")
    assert handler._timer is None


def test_it_is_set_up_only_once() -> None:
    with root_of_a_new_program() as root:
        set_up_logging(LogSettings(level="error"))
        (handler,) = root.handlers
        assert isinstance(handler, FoldingHandler)
        assert root.level == logging.ERROR
        set_up_logging(LogSettings(level="debug"))
        assert (root.handlers, root.level) == ([handler], logging.ERROR)


def test_a_log_that_is_not_ours_is_left_alone() -> None:
    with root_of_a_new_program() as root:
        root.addHandler(logging.NullHandler())
        before = root.level
        set_up_logging(LogSettings(level="error"))
        apply(LogSettings(level="error"), LogSettings())
        assert root.level == before
        assert len(root.handlers) == 1


def test_levels_and_the_format_change_and_levels_no_longer_set_are_reset() -> None:
    with root_of_a_new_program() as root:
        first = LogSettings(levels={"taskferry.a": "debug", "uvicorn": "info"})
        set_up_logging(first)
        (handler,) = root.handlers
        assert logging.getLogger("taskferry.a").level == logging.DEBUG
        assert logging.getLogger("uvicorn").level == logging.INFO
        assert logging.getLogger("taskferry.websocket").level == logging.WARNING
        second = LogSettings(level="warning", format="json", levels={"taskferry.b": "error"})
        apply(second, first)
        assert isinstance(handler.formatter, JsonFormatter)
        assert logging.getLogger("taskferry.a").level == logging.NOTSET
        assert logging.getLogger("taskferry.b").level == logging.ERROR
        assert logging.getLogger("uvicorn").level == logging.ERROR
        assert root.level == logging.WARNING


def test_a_moment_without_threads_delays_what_is_summed_up(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    handler_to(stream, logger, WINDOW_S)

    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            log_event(logger, Flapped("w"))
    log_event(logger, Flapped("other"))  # the next record starts the timer
    until(stream, "w flapped (repeated 2 times in the last 0.05 s)\n")


@pytest.mark.parametrize("raises", ["emit", "filter"])
def test_what_a_program_adds_to_logging_may_fail(
    raises: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.NullHandler):
        def handle(self, record: logging.LogRecord) -> bool:
            return bool(logging.Handler.handle(self, record))

        def emit(self, record: logging.LogRecord) -> NoReturn:
            raise OSError("the log is full")

    broken = Broken()
    if raises == "filter":
        broken.addFilter(lambda record: bool(record.__dict__["tenant"]))
    logger.addHandler(broken)
    log_event(logger, Flapped("w"))
    assert ("KeyError: 'tenant'" if raises == "filter" else "the log is full") in capsys.readouterr().err
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log_event(logger, Flapped("w"))
    assert capsys.readouterr().err == ""
