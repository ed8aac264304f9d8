"""Results keep every round, targets are compared with medians, and the page shows what was missed."""

import re

import pytest

from benchmarks.page import page
from benchmarks.results import (
    Collection,
    Results,
    ResultsUnreadable,
    Row,
    SectionResults,
    from_text,
    merged,
    to_text,
)
from benchmarks.targets import TARGETS, Reading, Target, targets_table

ABOUT = {"processor": "an abacus", "packages": {"beads": "1.0"}}


def collected(*rounds: dict[str, float]) -> SectionResults:
    collection = Collection(ABOUT)
    for index, figures in enumerate(rounds):
        collection.add({"program": "counting", "turn": 1}, figures)
        collection.add({"program": "idle"}, {"wall_ms": float(index)})
    return collection.results()


def cost(taskferry_us: float, nats_us: float) -> Results:
    rows = [
        Row({"load": "saturated-each", "broker": broker}, {"broker_cpu_us": [cpu_us]})
        for broker, cpu_us in (("taskferry", taskferry_us), ("nats-server", nats_us))
    ]
    return {"cost": SectionResults(ABOUT, rows)}


def verdict_of_the_first_target(results: Results) -> str:
    return targets_table(results).rows[0][-1]


def test_the_rounds_of_a_case_come_together_in_order() -> None:
    results = collected({"wall_ms": 3.0}, {"wall_ms": 1.0}, {"wall_ms": 2.0})
    assert [dict(row.case) for row in results.rows] == [
        {"program": "counting", "turn": 1},
        {"program": "idle"},
    ]
    assert results.rows[0].figures["wall_ms"] == [3.0, 1.0, 2.0]
    assert results.median("wall_ms", program="counting", turn=1) == 2.0
    assert results.median("wall_ms", program="nobody") is None
    assert results.median("nothing", program="idle") is None
    assert results.cases("turn") == [1]


def test_a_file_of_results_is_read_as_it_was_written() -> None:
    results = {"start-up": collected({"wall_ms": 3.0}), "idle": collected({"wall_ms": 1.25})}
    text = to_text(results)
    assert to_text(from_text(text.encode())) == text
    assert from_text(text.encode())["idle"].rows == results["idle"].rows


def test_of_a_figure_six_digits_are_kept() -> None:
    text = to_text({"start-up": collected({"wall_ms": 12.345678})})
    assert from_text(text.encode())["start-up"].rows[0].figures["wall_ms"] == [12.3457]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"form": "another", "sections": {}}', b'{"sections": {}}'])
def test_any_other_file_is_distinguished_from_results(text: bytes) -> None:
    with pytest.raises(ResultsUnreadable):
        from_text(text)


def test_the_later_of_two_sections_counts() -> None:
    older, newer = {"a": collected({"x": 1.0}), "b": collected({"x": 1.0})}, {"b": collected({"x": 2.0})}
    together = merged([older, newer])
    assert together["a"] == older["a"]
    assert together["b"] == newer["b"]


def test_a_target_is_met_on_its_bound_and_missed_beyond() -> None:
    assert verdict_of_the_first_target({}) == "not measured"
    assert verdict_of_the_first_target(cost(10.0, 10.0)) == "met"
    assert verdict_of_the_first_target(cost(10.1, 10.0)) == "**not met**"
    at_least = Target("rate", Reading("cost", "x"), "at least", 0.8)
    assert [at_least.is_met(value) for value in (0.79, 0.8, 0.81)] == [False, True, True]


def test_a_ratio_to_nothing_is_not_measured() -> None:
    assert verdict_of_the_first_target(cost(10.0, 0.0)) == "not measured"


def test_targets_have_texts_of_their_own() -> None:
    texts = [target.text for target in TARGETS]
    assert len(set(texts)) == len(texts)


def test_the_page_shows_targets_first_and_sections_in_their_order() -> None:
    figures = {"requests_per_s": [1234.0, 1.0, 1234.0], "in_flight_count": [64.0]}
    figures |= {"round_trip_p50_ms": [1.0, 3.0, 2.0], "round_trip_p99_ms": [4.0]}
    about = ABOUT | {"versions": {"arq": {"server": "7.0"}}, "left_out": {"celery": "it is not installed"}}
    start_up = SectionResults(ABOUT, [Row({"program": "taskferry --help"}, {"wall_ms": [151.0]})])
    peers = SectionResults(about, [Row({"peer": "arq"}, figures)])
    text = page({"peers-end-to-end": peers, "start-up": start_up})
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Targets",
        "## How long it takes to start",
        "## Compared with peers: what a Python user gets",
    ]
    assert re.search(
        r"\| Start of taskferry --help +\| +at most 150 ms \| +151 ms \| +\*\*not met\*\* \|", text
    )
    assert re.search(r"\| arq +\| redis task queue \| +1,234 \| +1\.00\.\.1,234 \| +2\.00 \|", text)
    assert re.search(r"\| arq +\| server 7\.0 \|", text)
    assert "beads 1.0" in text
    # It has a table of its own; what figures depend on does not repeat it.
    assert text.count("it is not installed") == 1


def test_a_section_that_cannot_be_shown_is_refused_by_name() -> None:
    with pytest.raises(ResultsUnreadable, match="no section is called 'cookery'; there are cost, "):
        page({"cookery": collected({"wall_ms": 3.0})})
