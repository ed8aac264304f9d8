"""What programs say of the device that they run on: always within the bounds of the wire."""

import os
import platform
import socket
from typing import Any

import msgspec
import pytest
from taskferry.program.device import (
    GIVEN_FACTS_COUNT_MAX,
    GIVEN_LENGTH_MAX,
    OWN_FACT_LENGTH_MAX,
    OWN_FACTS_COUNT,
    check_device,
    device_facts,
    sdk,
)
from taskferry.protocol.field_types import Device
from taskferry.protocol.limits import DEVICE_LENGTH_MAX

from tests.each_case import each_case


def test_a_program_knows_where_it_runs() -> None:
    facts = device_facts({})
    assert set(facts) == {"host", "system", "python", "pid", "sdk"}
    assert len(facts) == OWN_FACTS_COUNT
    assert (facts["host"], facts["pid"], facts["sdk"]) == (socket.gethostname(), str(os.getpid()), sdk())
    assert sdk().startswith("taskferry-python/")


def test_what_is_given_takes_the_place_of_its_own_and_all_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 1000)
    assert device_facts({})["host"] == "h" * OWN_FACT_LENGTH_MAX
    given = {"host": "desk", **{str(number): "v" for number in range(GIVEN_FACTS_COUNT_MAX - 1)}}
    check_device(given)
    facts = device_facts(given)
    assert facts["host"] == "desk"
    others = {f"{number:03}": "v" * (GIVEN_LENGTH_MAX // 11 - 3) for number in range(11)}
    others["000"] += "v" * (GIVEN_LENGTH_MAX - sum(len(name) + len(fact) for name, fact in others.items()))
    check_device(others)
    assert len(others) == GIVEN_FACTS_COUNT_MAX
    monkeypatch.setattr(platform, "release", lambda: "r" * 1000)
    monkeypatch.setattr(platform, "python_version", lambda: "3" * 1000)
    facts = device_facts(others)
    assert msgspec.convert(facts, Device) == facts
    assert sum(len(name) + len(fact) for name, fact in facts.items()) <= DEVICE_LENGTH_MAX


@each_case(
    ("given", "text"),
    [
        (
            {str(number): "" for number in range(GIVEN_FACTS_COUNT_MAX + 1)},
            "device: expected at most 11 facts",
        ),
        (["host"], "device: expected at most 11 facts"),
        ({"cores": 8}, "device: expected names and texts of at most 256 characters"),
        ({8: "cores"}, "device: expected names and texts of at most 256 characters"),
        ({"x" * 257: ""}, "device: expected names and texts of at most 256 characters"),
        ({"x": "x" * 257}, "device: expected names and texts of at most 256 characters"),
        ({f"{number}": "x" * 250 for number in range(6)}, "device: expected at most 1500 characters in all"),
    ],
)
def test_what_is_out_of_bounds_is_refused(given: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_device(given)


def test_none_is_fine() -> None:
    check_device(None)
