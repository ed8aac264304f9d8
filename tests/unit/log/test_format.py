"""How a line is written: for people, and as JSON with stable keys. The text of an exception is never in it."""

import json
import logging
import sys
from typing import Any, ClassVar

import pytest
from taskferry.log.event import FIELD_LENGTH_MAX, Event, log_event, without_quoted
from taskferry.log.format import HumanFormatter
from taskferry.log.json_format import JsonFormatter
from taskferry.log.traceback import EXCEPTIONS_COUNT_MAX, places

from tests.each_case import each_case

SECRET = "SECRET-4711"


class WorkerFlew(Event, frozen=True):
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} flew {distance_m:g} m over {places}"
    worker: str
    distance_m: float
    places: tuple[str, ...] = ()


def recorded(message: object, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    information = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(
        "taskferry.broker", logging.WARNING, __file__, 1, message, arguments, information
    )
    record.created = 1_700_000_000.25
    record.process = 77
    return record


def parsed(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_for_people() -> None:
    line = HumanFormatter().format(recorded(WorkerFlew("w", 2.0, ("a", "b"))))
    assert line[8:] == " WARNING worker w flew 2 m over a, b"
    line = HumanFormatter(is_one_of_many=True).format(recorded("plain %d", 1))
    assert line[8:] == " [77] WARNING plain 1"


def test_an_event_as_json() -> None:
    assert parsed(recorded(WorkerFlew("w", 2.5, ("a", "b")))) == {
        "time": "2023-11-14T22:13:20.250000+00:00",
        "level": "warning",
        "logger": "taskferry.broker",
        "event": "worker_flew",
        "message": "worker w flew 2.5 m over a, b",
        "pid": 77,
        "worker": "w",
        "distance_m": 2.5,
        "places": ["a", "b"],
    }


def test_a_line_that_is_not_ours_has_the_same_keys() -> None:
    line = parsed(recorded("user's %s\nsecond line", "own"))
    assert list(line) == ["time", "level", "logger", "event", "message", "pid"]
    assert (line["event"], line["message"]) == ("message", "user's own\nsecond line")


def test_what_is_summed_up() -> None:
    record = recorded(WorkerFlew("w", 1))
    record.repetition = (3, 10.0)
    assert HumanFormatter().format(record).endswith("m over  (repeated 3 times in the last 10 s)")
    line = parsed(record)
    assert (line["repeated_count"], line["window_s"]) == (3, 10.0)


@each_case(
    ("worker", "told"),
    [
        ("two\nlines\x1b[31m", r"two\nlines\x1b[31m"),
        ("x" * (FIELD_LENGTH_MAX + 1), "x" * (FIELD_LENGTH_MAX - 3) + "..."),
        ("x" * FIELD_LENGTH_MAX, "x" * FIELD_LENGTH_MAX),
        ("Zürich {braces}", "Zürich {braces}"),
        ("\u2028\ud800", r"\u2028\ud800"),
    ],
)
def test_the_name_of_a_peer_cannot_break_a_line(worker: str, told: str) -> None:
    record = recorded(WorkerFlew(worker, 1))
    assert parsed(record)["worker"] == told
    assert f"worker {told} flew" in HumanFormatter().format(record)


def test_an_event_is_logged_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    log_event(logging.getLogger("taskferry.test"), WorkerFlew("w", 1))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "worker w flew 1 m over ")
    assert record.funcName == "test_an_event_is_logged_at_its_level"


def raised(depth: int = 0) -> BaseException:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as first:
            if depth:
                raise ValueError(SECRET) from raised(depth - 1)
            raise ValueError(SECRET) from first
    except ValueError as error:
        return error


@pytest.mark.parametrize("formatter", [HumanFormatter(), JsonFormatter()])
def test_a_traceback_shows_places_and_no_texts(formatter: logging.Formatter) -> None:
    text = formatter.format(recorded("failed", error=raised()))
    assert SECRET not in text
    assert "ValueError" in text
    assert "in raised" in text
    assert "The above exception was the direct cause of the following exception:" in text


def test_places_reads_as_a_traceback_does() -> None:
    text = places(raised())
    path = sys.modules[__name__].__file__
    assert text.startswith(f'Traceback (most recent call last):\n  File "{path}", line ')
    assert (
        "\nKeyError\n\nThe above exception was the direct cause of the following exception:\n\nTrace" in text
    )
    assert text.endswith("\nValueError")


def test_an_exception_during_handling_is_shown_unless_suppressed() -> None:
    def raise_while_handling() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError:
            json.loads("{")

    with pytest.raises(ValueError, match=r".") as caught:
        raise_while_handling()
    error = caught.value
    assert "During handling of the above exception, another exception occurred:" in places(error)
    assert places(error).endswith("json.decoder.JSONDecodeError")
    error.__suppress_context__ = True
    assert "KeyError" not in places(error)


def test_a_long_chain_and_one_that_bites_its_tail_end() -> None:
    assert places(raised(30)).count("Traceback") == EXCEPTIONS_COUNT_MAX
    error = ValueError()
    error.__cause__ = other = KeyError()
    other.__cause__ = error
    assert places(error).count("Traceback") == 2


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"type: Invalid value '{SECRET}'", "type: Invalid value '...'"),
        (f"type: Invalid value 'it's {SECRET}'", "type: Invalid value '...'"),
        (f'no assignment "{SECRET}" here', "no assignment '...' here"),
        ("data: Expected `int`, got `str`", "data: Expected `int`, got `str`"),
    ],
)
def test_what_a_text_quotes_is_left_out(text: str, left: str) -> None:
    assert without_quoted(text) == left
