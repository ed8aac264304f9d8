"""One scrape in slices: how long it keeps the loop, how many there may be, and what it says of too many commands."""

import asyncio
import gzip
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import Raw
from prometheus_client.parser import text_string_to_metric_families
from taskferry.broker import slices
from taskferry.broker.broker import Broker
from taskferry.broker.core.account import unlimited
from taskferry.broker.core.call import Call
from taskferry.broker.core.fleet import directory
from taskferry.broker.core.offer import Offer
from taskferry.broker.http.accepting import accepts_gzip
from taskferry.broker.metrics import exposition
from taskferry.broker.metrics import scrape as scraping
from taskferry.broker.metrics.exposition import text_of
from taskferry.broker.metrics.format import choose
from taskferry.broker.metrics.jobs import JOBS
from taskferry.broker.metrics.scrape import FAMILIES, SCRAPES_COUNT_MAX, Scraper, TooManyScrapes
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol.encodings import Encoding

from tests.each_case import each_case

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Port:
    """A worker's and a requester's link to nowhere."""

    encoding = Encoding.JSON
    written_count = 0

    def assign(self, *_: object) -> int:
        return 1

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


def broker_with(commands: list[str], workers_count: int = 1, requests_count: int = 1) -> Broker:
    """A broker that was never started, whose workers have answered requests for each command."""
    broker = Broker(BrokerSettings())
    core, port = broker.core, cast(Any, Port())
    workers = [
        core.worker_joined(f"w{number}", Offer(commands, concurrency=4), port, "", 0.0)
        for number in range(workers_count)
    ]
    requester = core.requester_joined(port, unlimited("anonymous"))
    for command in commands:
        for number in range(requests_count):
            core.submit(requester, Call(f"{command}-{number}", command, Raw(b"{}")), 0.0)
            worker = next(worker for worker in workers if worker.assignments)
            core.succeeded(worker, next(iter(worker.assignments)), Raw(b"1"), 0.003)
    core.turn_ended(0.0, 0.004)
    return broker


def samples(text: bytes) -> dict[tuple[str, str], float]:
    """Values by sample name and command."""
    return {
        (sample.name, sample.labels.get("command", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def scrape(scraper: Scraper, accept: str = "", accept_encoding: str = "") -> bytes:
    return (await scraper.scrape(accept, accept_encoding))[0]


async def test_format_and_compression_are_those_asked_for() -> None:
    scraper = Scraper(broker_with(["echo"]).read_model)
    plain, headers = await scraper.scrape("", "")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in headers
    packed, headers = await scraper.scrape("text/plain;version=0.0.4", "deflate, gzip;q=0.5")
    assert headers["content-encoding"] == "gzip"
    assert len(packed) < len(plain) / 4
    assert samples(gzip.decompress(packed)).keys() == samples(plain).keys()
    newer, headers = await scraper.scrape(OPENMETRICS, "")
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert newer.endswith(b"# EOF\n")
    assert newer.count(b"# EOF") == 1


@each_case(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text; version=1.0.0; q=0.000, text/plain", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.4", False),
        ("Application/OpenMetrics-Text;q=0.4 , text/plain;q=0.4", True),
        ("application/openmetrics-text; version=2.0.0", False),
        ('application/openmetrics-text; version="1.0.0";escaping=allow-utf-8;q=0.6,text/plain;q=0.3', True),
        ("application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;q=2", False),
        ("application/openmetrics-text;q=nan", False),
        (";;=,,", False),
    ],
)
def test_the_format_is_the_one_liked_better_and_labelled_as_what_it_is(
    accept: str, is_openmetrics: bool
) -> None:
    form = choose(accept)
    version = "version=1.0.0" if is_openmetrics else "version=0.0.4"
    assert (form.is_openmetrics, version in form.content_type) == (is_openmetrics, True)


@each_case(
    ("accept_encoding", "is_gzip"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
    ],
)
def test_gzip_is_used_only_if_it_is_not_refused(accept_encoding: str, is_gzip: bool) -> None:
    assert accepts_gzip(accept_encoding) is is_gzip


async def test_it_gives_way_to_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += slices.SLICE_S / 3  # each look at the clock is a third of a slice later
        return now

    monkeypatch.setattr(slices, "time", SimpleNamespace(monotonic=monotonic))
    task = asyncio.create_task(
        scrape(Scraper(broker_with([f"c{number}" for number in range(200)]).read_model))
    )
    turns_count = 0
    while not task.done():
        await asyncio.sleep(0)
        turns_count += 1
    text = task.result()
    assert turns_count >= len(text) / scraping.CHUNK_LENGTH / 3 - 1


async def test_who_comes_and_goes_meanwhile_does_not_disturb_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    monkeypatch.setattr(scraping, "CHUNK_LENGTH", 1)
    broker = broker_with(["a", "b"], workers_count=2)
    task = asyncio.create_task(scrape(Scraper(broker.read_model)))
    number = 0
    while not task.done():
        await asyncio.sleep(0)
        number += 1
        offer = Offer([f"new-{number}"])
        broker.core.worker_joined(f"new-{number}", offer, cast(Any, Port()), "", 1.0)
        if number == 20:
            broker.core.worker_left(broker.core.roster.workers["w0"], 1.0)
    assert number > 20
    assert samples(task.result())["taskferry_request_duration_seconds_count", "b"] == 1


async def test_scrapes_at_a_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    scraper = Scraper(broker_with(["a"]).read_model)
    tasks = [asyncio.create_task(scrape(scraper)) for _ in range(SCRAPES_COUNT_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyScrapes, match=r"4 scrapes .* \(SCRAPES_COUNT_MAX\)"):
        await scrape(scraper)
    await asyncio.gather(*tasks)
    assert await scrape(scraper)


async def test_commands_beyond_the_bound_are_shown_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMANDS_LISTED_COUNT_MAX", 2)
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 3)
    broker = broker_with(["a", "b", "c", "d", "e"], requests_count=3)
    scraper = Scraper(broker.read_model)
    values = samples(await scrape(scraper))
    assert {command for _, command in values} == {"", "a", "b", "_other"}
    for name in ("requests_total", "worker_duration_seconds_count", "request_duration_seconds_count"):
        assert [values[f"taskferry_{name}", command] for command in ("a", "b", "_other")] == [3, 3, 9]
    assert values["taskferry_queue_depth", "_other"] == values["taskferry_queue_overloaded", "_other"] == 0
    assert ("taskferry_command_workers", "_other") not in values, "a sum of those would count workers twice"
    broker.core.worker_left(broker.core.roster.workers["w0"], 1.0)
    assert not broker.core.roster.commands, "all are forgotten, for there were too many"
    values = samples(await scrape(scraper))
    assert values["taskferry_requests_total", "_other"] == 9, "a counter keeps what its commands had counted"


async def test_without_any_there_is_no_row_for_others() -> None:
    assert b'command="_other"' not in await scrape(Scraper(broker_with(["a"]).read_model))


async def test_a_command_without_requests_has_no_histograms() -> None:
    values = samples(await scrape(Scraper(broker_with(["a"], requests_count=0).read_model)))
    assert values["taskferry_command_slots", "a"] == 4
    assert ("taskferry_request_duration_seconds_count", "a") not in values


async def test_a_thousand_workers_and_a_hundred_commands_in_short_slices() -> None:
    """Bounds are five times what is promised, of this thread's own time: the machine has other work."""
    commands = [f"command-{number}" for number in range(100)]
    scraper = Scraper(broker_with(commands, workers_count=1000).read_model)
    longest_s = 0.0
    started_at = last_at = time.thread_time()
    task = asyncio.create_task(scrape(scraper, accept_encoding="gzip"))
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest_s, last_at = max(longest_s, now - last_at), now
    assert time.thread_time() - started_at < 0.5
    assert longest_s < 0.1


def test_names_and_labels_are_well_formed() -> None:
    families = (*FAMILIES, *JOBS)
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.labels == tuple(sorted(family.labels))
        assert family.help.endswith(".")
        assert not set('"\\\n') & set(family.help)
        assert family.name.endswith("_total") == (family.type == "counter")
        assert family.name.endswith("_seconds") or family.type != "histogram"


def test_an_outcome_that_is_new_meanwhile_does_not_disturb_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "ROWS_COUNT_MAX", 1)
    broker = broker_with(["a"])
    (family,) = (family for family in FAMILIES if family.name == "taskferry_requests_total")
    pieces = text_of(family, broker.read_model.subjects(), is_openmetrics=False)
    assert 'outcome="success"' in next(pieces) + next(pieces)
    broker.core.roster.commands["a"].outcomes["timeout"] += 1
    assert "".join(pieces) == ""
