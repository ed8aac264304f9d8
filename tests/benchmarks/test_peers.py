"""The benchmarks of the peers: installed ones are measured at a tiny size, and the results are consistent."""

from dataclasses import fields, replace
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path

import pytest

from benchmarks.cores import split_cores
from benchmarks.load import Load
from benchmarks.measurement import Measurement, measure
from benchmarks.payload import SMALLEST
from benchmarks.peers.__main__ import main
from benchmarks.peers.end_to_end.closed_loop import DATA, Figures, Plan, WrongAnswer, check, measure_pending
from benchmarks.peers.end_to_end.contenders import END_TO_END, EndToEnd
from benchmarks.peers.end_to_end.measurement import ProgramFailed, measure_end_to_end
from benchmarks.peers.lean import LEAN_PEERS, LeanPeer
from benchmarks.peers.servers import Missing
from benchmarks.peers.subject import Subject
from benchmarks.peers.taking_part import section_results
from benchmarks.results import Results, from_text, to_text
from benchmarks.shown import as_text
from benchmarks.targets import TARGETS
from tests.processes import Program

# They take five seconds or more to boot. `make bench-peers` checks that they work: it fails if one does.
SLOW_TO_BOOT = ("crossbar", "rabbitmq-server")
QUICK_LEAN_PEERS = [peer for peer in LEAN_PEERS if peer.name not in SLOW_TO_BOOT]
QUICK_END_TO_END = [peer for peer in END_TO_END if peer.name not in SLOW_TO_BOOT]

TINY = Plan(warm_up_s=0.05, serial_s=0.1, saturated_s=0.1, in_flight_count=8)
SEEN = Figures(
    round_trip_p50_ms=1.0,
    round_trip_p99_ms=2.0,
    round_trip_count=10,
    requests_per_s=1000.0,
    request_count=100,
    in_flight_count=64,
)
COST = Measurement(
    broker_cpu_us=10.0,
    load_cpu_us=1.0,
    requests_per_s=1.0,
    p50_ms=1.0,
    p99_ms=1.0,
    p999_ms=1.0,
    rss_mib=1.0,
    other_cores=0.0,
)

END_TO_END_TARGETS = [target for target in TARGETS if target.reading.section == "peers-end-to-end"]


@pytest.mark.parametrize("peer", QUICK_END_TO_END, ids=lambda peer: peer.name)
def test_an_installed_peer_echoes_from_requester_to_worker_and_back(peer: EndToEnd) -> None:
    try:
        figures = measure_end_to_end(peer, TINY)
    except Missing as missing:
        pytest.skip(f"not measured: {missing}")
    assert 0 < figures.round_trip_p50_ms <= figures.round_trip_p99_ms
    assert figures.round_trip_count >= 1
    assert figures.requests_per_s == pytest.approx(figures.request_count / TINY.saturated_s)
    assert all(peer.versions().values())


@pytest.mark.parametrize("peer", QUICK_LEAN_PEERS, ids=lambda peer: peer.name)
def test_an_installed_broker_carries_the_lean_load(peer: LeanPeer) -> None:
    load = Load(SMALLEST, "joined", 300, 50)
    try:
        measured = measure(peer.contender(), load, split_cores())
    except Missing as missing:
        pytest.skip(f"not measured: {missing}")
    assert measured.broker_cpu_us > 0
    assert measured.rss_mib > 1
    assert peer.make_server().version()[0].isdigit()


def test_the_command_measures_round_by_round_and_writes_all_results(tmp_path: Path) -> None:
    arguments = ("--only", "taskferry", "--rounds", "1", "--quick", "--json", str(tmp_path / "peers.json"))
    with Program(tmp_path, "-m", "benchmarks.peers", *arguments) as program:
        assert program.wait() == 0, program.stderr
        shown = program.stdout
    found = from_text((tmp_path / "peers.json").read_bytes())
    assert [(row.case, len(row.figures["broker_cpu_us"])) for row in found["peers-lean"].rows] == [
        ({"broker": "taskferry", "mode": "each"}, 1),
        ({"broker": "taskferry", "mode": "joined"}, 1),
    ]
    assert [(row.case, len(row.figures["requests_per_s"])) for row in found["peers-end-to-end"].rows] == [
        ({"peer": "taskferry"}, 1)
    ]
    for section in found.values():
        assert section.about["versions"] == {"taskferry": {"server": version("taskferry")}}
        assert section.about["left_out"] == {}
        assert section.about["extent"] == "quick"
    assert shown.rstrip("\n") == as_text(found, found, END_TO_END_TARGETS).rstrip("\n")


def test_a_failed_requester_is_reported_with_its_last_line_and_its_workers() -> None:
    taskferry = END_TO_END[0]
    broken = replace(taskferry, requester=(*taskferry.requester[:-1], "morse"))
    with pytest.raises(
        ProgramFailed, match=r"(?s)^taskferry: .*exit code 1: ValueError: .*morse.*; worker: "
    ):
        measure_end_to_end(broken, TINY)


def test_an_answer_other_than_the_echo_ends_the_measurement() -> None:
    check(dict(DATA))
    answers = chain([DATA], repeat({"message": "Hello"}))
    with pytest.raises(WrongAnswer, match=r"answered .*Hello"):
        measure_pending(lambda: next(answers), lambda answer: answer, TINY)


def end_to_end(name: str, *rounds: Figures) -> Subject[Figures]:
    subject: Subject[Figures] = Subject(name, {"peer": name}, dict, lambda: SEEN, lambda _: "")
    subject.versions = {"server": f"{name}'s"}
    subject.rounds.extend(rounds)
    return subject


def lean(name: str, mode: str, *costs_us: float) -> Subject[Measurement]:
    case = {"broker": name, "mode": mode}
    subject: Subject[Measurement] = Subject(name, case, dict, lambda: COST, lambda _: "")
    subject.rounds.extend(replace(COST, broker_cpu_us=cost_us) for cost_us in costs_us)
    return subject


def sections(lean: list[Subject[Measurement]], end_to_end: list[Subject[Figures]]) -> Results:
    """The sections after they have been written and read."""
    both = {
        "peers-lean": section_results(lean, {"extent": "none"}),
        "peers-end-to-end": section_results(end_to_end, {"extent": "none"}),
    }
    return from_text(
        to_text({name: section for name, section in both.items() if section is not None}).encode()
    )


def cells(text: str) -> list[list[str]]:
    """The rows of all tables."""
    return [
        [cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")
    ]


def test_ratios_are_of_medians_and_a_value_on_the_bound_meets_it() -> None:
    results = sections(
        [],
        [
            end_to_end("taskferry", replace(SEEN, requests_per_s=1.0), SEEN, SEEN),
            end_to_end("taskferry-blocking", replace(SEEN, requests_per_s=499.0)),
            end_to_end("nats-py", replace(SEEN, round_trip_p50_ms=2.0, requests_per_s=500.0)),
            end_to_end("celery", replace(SEEN, requests_per_s=10.0)),
            end_to_end("arq", replace(SEEN, requests_per_s=100.0)),
        ],
    )
    verdicts = cells(as_text({}, results, END_TO_END_TARGETS))[2:]
    assert [(row[2], row[3]) for row in verdicts] == [
        ("0.500 x", "met"),
        ("2.00 x", "met"),
        ("100 x", "met"),
        ("", "not measured"),
        ("10.0 x", "met"),
        ("", "not measured"),
        ("0.499 x", "**not met**"),
    ]


def test_targets_name_existing_peers_and_figures() -> None:
    names, figures = {peer.name for peer in END_TO_END}, {field.name for field in fields(Figures)}
    readings = [
        one for target in END_TO_END_TARGETS for one in (target.reading, target.base) if one is not None
    ]
    assert {one.case["peer"] for one in readings} <= names
    assert {one.figure for one in readings} <= figures
    queues = {peer.name for peer in END_TO_END if peer.kind == "redis task queue"}
    assert queues <= {target.base.case["peer"] for target in END_TO_END_TARGETS if target.base is not None}


def test_each_section_shows_ratios_then_figures_then_who_took_part() -> None:
    results = sections(
        [lean("taskferry", "each", 9, 10, 500), lean("nats-server", "each", 20, 1, 21)],
        [end_to_end("taskferry", SEEN), end_to_end("celery", replace(SEEN, requests_per_s=10.0))],
    )
    found = cells(as_text(results, results, []))
    for rows in (
        (["nats-server", "0.50"], ["taskferry", "10.0", "9.00..500"], ["nats-server", "20.0", "1.00..21.0"]),
        (
            ["celery", "redis task queue", "100.00"],
            ["taskferry", "taskferry", "1,000"],
            ["celery", "redis task queue", "10.0"],
            ["celery", "server celery's"],
        ),
    ):
        places = [next(place for place, cell in enumerate(found) if cell[: len(row)] == row) for row in rows]
        assert places == sorted(places)


def test_a_missing_peer_is_left_out_and_named() -> None:
    def missing() -> Figures:
        raise Missing("arq is not installed")

    def failing() -> Figures:
        raise ProgramFailed("celery: no figures")

    absent: Subject[Figures] = Subject("arq", {"peer": "arq"}, dict, missing, lambda _: "")
    broken: Subject[Figures] = Subject("celery", {"peer": "celery"}, dict, failing, lambda _: "")
    assert [absent.run_round(), absent.run_round()] == ["left out: arq is not installed", None]
    assert [broken.run_round(), broken.run_round()] == ["FAILED: celery: no figures", None]
    results = sections([], [end_to_end("taskferry", SEEN), absent, broken])
    assert [row.case for row in results["peers-end-to-end"].rows] == [{"peer": "taskferry"}]
    assert results["peers-end-to-end"].about["left_out"] == {
        "arq": "arq is not installed",
        "celery": "celery: no figures",
    }
    assert ["arq", "arq is not installed"] in cells(as_text(results, results, []))
    assert sections([], [absent]) == {}


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--only", "nats-py,kafka"])
    assert refused.value.code == 2
    assert "no peer is called 'kafka'; there are taskferry, nats-server" in capsys.readouterr().err
