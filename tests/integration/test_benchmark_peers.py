"""The benchmarks beside the peers: those that are installed are measured at a tiny size, and the results add up."""

import json
from dataclasses import replace
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
from benchmarks.peers.report import as_json, tables, targets
from benchmarks.peers.servers import Missing
from benchmarks.peers.subject import Subject
from tests.processes import Program

# They take five seconds and more to boot. Whether they work `make bench-peers` tells: it fails where one does.
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


def test_the_command_measures_round_by_round_and_writes_all_of_it(tmp_path: Path) -> None:
    arguments = ("--only", "taskferry", "--rounds", "1", "--quick", "--json", str(tmp_path / "peers.json"))
    with Program(tmp_path, "-m", "benchmarks.peers", *arguments) as program:
        assert program.wait() == 0, program.stderr
        assert program.stdout.startswith("| broker ")
    told = json.loads((tmp_path / "peers.json").read_text())["peers"]
    assert [(one["broker"], one["mode"], len(one["rounds"])) for one in told["lean"]] == [
        ("taskferry", "each", 1),
        ("taskferry", "joined", 1),
    ]
    assert [(one["name"], one["versions"]["server"]) for one in told["end_to_end"]] == [
        ("taskferry", version("taskferry"))
    ]
    assert told["left_out"] == []


def test_a_requester_that_fails_is_named_with_its_last_words_and_its_worker_s() -> None:
    taskferry = END_TO_END[0]
    broken = replace(taskferry, requester=(*taskferry.requester[:-1], "morse"))
    with pytest.raises(
        ProgramFailed, match=r"(?s)^taskferry: .*exit code 1: ValueError: .*morse.*; worker: "
    ):
        measure_end_to_end(broken, TINY)


def test_an_answer_that_is_no_echo_ends_the_measurement() -> None:
    check(dict(DATA))
    answers = chain([DATA], repeat({"message": "Hello"}))
    with pytest.raises(WrongAnswer, match="asked to echo"):
        measure_pending(lambda: next(answers), lambda answer: answer, TINY)


def end_to_end(name: str, kind: str, *rounds: Figures) -> Subject[Figures]:
    subject: Subject[Figures] = Subject(name, kind, dict, lambda: SEEN, lambda _: "")
    subject.rounds.extend(rounds)
    return subject


def lean(name: str, mode: str, *costs_us: float) -> Subject[Measurement]:
    subject: Subject[Measurement] = Subject(name, mode, dict, lambda: COST, lambda _: "")
    subject.rounds.extend(replace(COST, broker_cpu_us=cost_us) for cost_us in costs_us)
    return subject


def test_ratios_are_of_medians_and_met_on_their_bound() -> None:
    lean_results = [lean("taskferry", "each", 9, 10, 500), lean("nats-server", "each", 10, 1, 11)]
    results = [
        end_to_end("taskferry", "taskferry", SEEN),
        end_to_end("taskferry-blocking", "taskferry", replace(SEEN, requests_per_s=499.0)),
        end_to_end("nats-py", "message broker", replace(SEEN, round_trip_p50_ms=2.0, requests_per_s=500.0)),
        end_to_end("celery", "redis task queue", replace(SEEN, requests_per_s=10.0)),
        end_to_end("arq", "redis task queue", replace(SEEN, requests_per_s=100.0)),
    ]
    assert [(target.value, target.is_met) for target in targets(lean_results, results)] == [
        (1.0, True),
        (0.5, True),
        (2.0, True),
        (10.0, True),
        (0.499, False),
    ]
    assert tables(lean_results, results).startswith("| ratio ")


def test_whoever_is_missing_is_left_out_and_named() -> None:
    def missing() -> Figures:
        raise Missing("arq is not installed")

    def failing() -> Figures:
        raise ProgramFailed("celery: no figures")

    absent: Subject[Figures] = Subject("arq", "redis task queue", dict, missing, lambda _: "")
    broken: Subject[Figures] = Subject("celery", "redis task queue", dict, failing, lambda _: "")
    assert [absent.run_round(), absent.run_round()] == ["left out: arq is not installed", None]
    assert [broken.run_round(), broken.run_round()] == ["FAILED: celery: no figures", None]
    results = [end_to_end("taskferry", "taskferry", SEEN), absent, broken]
    load = Load(SMALLEST, "each", 300, 50)
    told = json.loads(json.dumps(as_json([], results, load=load, plan=TINY)))["peers"]
    assert [one["name"] for one in told["end_to_end"]] == ["taskferry"]
    assert told["end_to_end"][0]["median"]["requests_per_s"] == SEEN.requests_per_s
    assert [(one["name"], one["reason"]) for one in told["left_out"]] == [
        ("arq", "arq is not installed"),
        ("celery", "celery: no figures"),
    ]
    assert "arq" not in tables([], results)


def test_an_unknown_name_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--only", "nats-py,kafka"])
    assert refused.value.code == 2
    assert "no peer is called 'kafka'; there are taskferry, nats-server" in capsys.readouterr().err
