"""Many requests in a row: how many, how many at once, their outcomes, and the exit code and lines for them."""

import asyncio
import json

import pytest
from taskferry.requester import Response, exit_codes
from taskferry.requester.bulk import Tally, run_many
from taskferry.requester.output import data_line, error_line, json_line, response_line, summary

from tests.each_case import each_case


class Sender:
    """Sends nothing; records how many are running, and fails every third."""

    def __init__(self) -> None:
        self.count = 0
        self.under_way_count = 0
        self.under_way_count_max = 0

    async def send(self) -> Response:
        self.count += 1
        number = self.count
        self.under_way_count += 1
        self.under_way_count_max = max(self.under_way_count, self.under_way_count_max)
        await asyncio.sleep(0)
        self.under_way_count -= 1
        if number % 3 == 0:
            return Response(str(number), False, None, "no time", "worker-1", "timeout")
        return Response(str(number), True, number, None, "worker-1")


@pytest.mark.parametrize(("count", "concurrency"), [(1, 1), (10, 1), (10, 4), (3, 100)])
async def test_so_many_and_so_many_at_once(count: int, concurrency: int) -> None:
    sender, tally = Sender(), Tally()
    await run_many(sender.send, count, concurrency, tally)
    assert sender.count == count == len(tally.durations_s)
    assert sender.under_way_count_max == min(count, concurrency)
    assert tally.counts["timeout"] == count // 3


async def test_an_interrupted_run_keeps_what_has_ended() -> None:
    tally = Tally()

    async def send() -> Response:
        if len(tally.durations_s) == 5:
            await asyncio.Event().wait()
        return Response("r", True)

    running = asyncio.create_task(run_many(send, 100, 1, tally))
    while len(tally.durations_s) < 5:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert summary(tally)["requests"] == 5
    elapsed_s = tally.elapsed_s
    assert tally.elapsed_s == elapsed_s  # the clock has stopped


async def test_the_summary_has_counts_rate_and_percentiles() -> None:
    tally = Tally()
    tally.start()
    for number in range(1, 101):
        code = "timeout" if number > 90 else None
        tally.add(Response("r", code is None, None, code and "late", "w", code), number / 1000)
    tally.finish()
    facts = summary(tally)
    assert (facts["requests"], facts["succeeded"], facts["failed"]) == (100, 90, {"timeout": 10})
    assert facts["duration_s"] == {"p50": 0.05, "p90": 0.09, "p99": 0.099, "max": 0.1}
    assert facts["requests_per_s"] > 0
    assert tally.first_failure == Response("r", False, None, "late", "w", "timeout")
    json.dumps(facts)


def test_the_summary_of_nothing() -> None:
    facts = summary(Tally())
    assert facts == {
        "requests": 0,
        "succeeded": 0,
        "failed": {},
        "elapsed_s": 0.0,
        "requests_per_s": 0.0,
        "duration_s": {},
    }


# --- exit codes ---


@each_case(
    ("code", "expected"),
    [
        (None, 0),
        ("handler_error", 1),
        ("a_code_of_the_handler", 1),
        ("overloaded", 1),
        ("timeout", 3),
        ("no_available_workers", 4),
        ("cannot_connect", 5),
        ("connection_lost", 5),
    ],
)
def test_each_code_has_its_exit_code(code: str | None, expected: int) -> None:
    assert exit_codes.exit_code(code) == expected
    assert expected in exit_codes.MEANINGS


@each_case(
    ("counts", "expected"),
    [
        ({}, 0),
        ({None: 10}, 0),
        ({None: 10, "timeout": 1}, 3),
        ({"timeout": 1, "no_available_workers": 2}, 4),
        ({None: 5, "handler_error": 2, "timeout": 1}, 1),
    ],
)
def test_many_responses_have_the_exit_code_of_the_most_frequent_failure(
    counts: dict[str | None, int], expected: int
) -> None:
    assert exit_codes.exit_code_of_many(counts) == expected
    assert exit_codes.exit_code_of_many(counts, 1) == (expected or 8)


# --- lines ---


def test_data_is_one_line_of_json() -> None:
    assert data_line({"a": [1, "ü"]}, raw=False) == '{"a":[1,"ü"]}'
    assert data_line("a text", raw=False) == '"a text"'


def test_raw_prints_texts_as_they_are_and_nothing_else() -> None:
    assert data_line("a text", raw=True) == "a text"
    assert data_line(["a text"], raw=True) == '["a text"]'


def test_what_json_cannot_hold_is_printed_somehow() -> None:
    assert json_line({(1, 2): 3}) == '"{(1, 2): 3}"'


def test_a_response_has_the_keys_of_the_wire() -> None:
    assert list(json.loads(response_line(Response("r", True, 1, None, "w")))) == [
        "request_id",
        "success",
        "data",
        "error",
        "processed_by",
    ]
    failure = json.loads(response_line(Response("r", False, None, "e", None, "c")))
    assert (list(failure)[5:], failure["code"]) == (["code"], "c")
    failure = json.loads(response_line(Response("r", False, None, "e", None, "c", "not_delivered", 0.0, 1.5)))
    assert list(failure.items())[6:] == [
        ("delivery", "not_delivered"),
        ("queue_wait", 0.0),
        ("retry_after", 1.5),
    ]


def test_an_error_line_names_the_worker_and_what_to_do() -> None:
    assert error_line(Response("r", False, None, "too blue", "w", "too_blue")) == "too blue [too_blue, w]"
    line = error_line(
        Response("r", False, None, "connection refused", None, "cannot_connect", "not_delivered")
    )
    assert line == (
        "connection refused [cannot_connect, not delivered]. "
        "Is a broker running there? Start one with: taskferry broker"
    )
    expired = "the certificate of b has expired: renew it; --ca cannot help"
    line = error_line(Response("r", False, None, expired, None, "cannot_connect", "not_delivered"))
    assert line == f"{expired} [cannot_connect, not delivered]"


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (
            Response("r", False, None, "full", None, "overloaded", "not_delivered", 1.2345, 0.5),
            "full [overloaded, not delivered, waited 1.23 s, try again in 0.5 s]",
        ),
        (
            Response("r", False, None, "late", "w", "timeout", "may_have_run", 0.0),
            "late [timeout, w, may have run]",
        ),
        (
            Response("r", False, None, "lost: the command may have run", "w", "worker_lost", "may_have_run"),
            "lost: the command may have run [worker_lost, w]",
        ),
    ],
)
def test_an_error_line_says_how_far_it_got_and_when_to_retry(failure: Response, line: str) -> None:
    assert error_line(failure) == line
