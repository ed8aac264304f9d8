"""What holds for every test: no settings from the developer's own shell, and Hypothesis tuned for two busy cores."""

import os

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IS_COMPILED:
        return
    reason = "replaces a part of the code, which compiled code has taken in and does not look up"
    for item in items:
        if "monkeypatch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=reason))
