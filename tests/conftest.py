"""What holds for every test: no settings from the developer's own shell, and Hypothesis tuned for two busy cores."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from taskferry.broker.core import core

for name in [name for name in os.environ if name.startswith("TASKFERRY_")]:
    del os.environ[name]

# Under coverage and next to other test processes the time of one example says nothing about the code.
settings.register_profile(
    "taskferry", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("taskferry")

IS_COMPILED = not core.__file__.endswith(".py")
"""The package under test is a wheel, whose hot path is C: `make test-compiled`."""

UNCOVERED = (
    "benchmarks/",
    "sim/",
    "simulation/",
    "integration/test_benchmark_peers.py",
    "integration/test_cli_request.py",
    "integration/test_closed_terminal.py",
    "integration/test_demo.py",
    "integration/test_requester_log.py",
    "integration/test_requester_sdk.py",
    "integration/test_sdk_turns.py",
    "integration/test_strategy_plugin.py",
    "integration/test_worker_commands.py",
    "integration/test_worker_lifecycle.py",
    "unit/broker/core/test_core_machine.py",
)
"""Tests that coverage would slow down several times over, and that would add little to it: they walk where others have
been, or drive programs whose parts have tests of their own. Single ones have the marker themselves."""


@pytest.hookimpl(tryfirst=True)  # before -m takes its pick
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(UNCOVERED):
            item.add_marker(pytest.mark.uncovered)
    if not IS_COMPILED:
        return
    reason = "replaces a part of the code, which compiled code has taken in and does not look up"
    for item in items:
        if "monkeypatch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=reason))
