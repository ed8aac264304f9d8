"""What the core tells its observer becomes an event for each thing that can happen."""

import logging

import pytest
from taskferry.broker.core.fleet.command import Command
from taskferry.broker.core.fleet.route import Route
from taskferry.broker.event_log import EventLog
from taskferry.log.event import Event

from tests.unit.broker.core.world import World


def events_of(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [
        (record.msg.name, record.msg.fields()) for record in caplog.records if isinstance(record.msg, Event)
    ]


def test_an_overload_of_a_command_and_of_a_target(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    log = EventLog()
    for target, name in ((None, ""), ({"gpu": "yes"}, "gpu=yes")):
        route = Route(Command("echo"), target)
        route.waiting.is_overloaded = True
        log.overload_changed(route)
        route.waiting.is_overloaded = False
        log.overload_changed(route)
        assert events_of(caplog) == [
            ("overload_began", {"command": "echo", "target": name, "queued_count": 0}),
            ("overload_ended", {"command": "echo", "target": name}),
        ]
        caplog.clear()


def test_each_way_that_the_opinion_of_a_worker_can_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    world = World()
    world.core.roster._observer = EventLog()
    world.worker("good", concurrency=9)
    bad = world.worker("bad", concurrency=9)
    world.eject(bad)
    world.sleep(40)
    world.probe(bad, succeeds=True)
    bad.fall_silent()
    bad.speak_again()
    assert [(name, fields["worker"], fields["before"]) for name, fields in events_of(caplog)] == [
        ("worker_ejected", "bad", "healthy"),
        ("worker_probed", "bad", "ejected"),
        ("worker_readmitted", "bad", "probing"),
        ("worker_suspect", "bad", "healthy"),
        ("worker_readmitted", "bad", "suspect"),
    ]
    assert "broken" not in caplog.text, "what its handler said"
