"""What holds for every test: no settings from the developer's own shell, and Hypothesis tuned for two busy cores."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

for name in [name for name in os.environ if name.startswith("TASKFERRY_")]:
    del os.environ[name]

# Under coverage and next to other test processes the time of one example says nothing about the code.
settings.register_profile(
    "taskferry", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("taskferry")

UNCOVERED = ("benchmarks/", "integration/", "sim/", "simulation/", "unit/broker/core/test_core_machine.py")
"""Tests that coverage would slow down several times over, and that would add little to it: they walk where others have
been, or drive programs whose parts have tests of their own. Single ones have the marker themselves."""
COVERED = (
    "integration/test_broker_http.py",
    "integration/test_broker_requests.py",
    "integration/test_tracing.py",
)
"""Those of them that reach what no other test does: how the broker is put together, and what is written on a wire."""


@pytest.hookimpl(tryfirst=True)  # before -m takes its pick
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        if path.startswith(UNCOVERED) and not path.startswith(COVERED):
            item.add_marker(pytest.mark.uncovered)


_replace = pytest.MonkeyPatch.setattr


def _replace_or_skip(patch: pytest.MonkeyPatch, target: object, *arguments: Any, **options: Any) -> None:
    """A test that would replace a name in a compiled module is skipped: C does not look its names up."""
    if isinstance(target, ModuleType) and not (getattr(target, "__file__", None) or ".py").endswith(".py"):
        pytest.skip(f"{target.__name__} is compiled: its names cannot be replaced")
    _replace(patch, target, *arguments, **options)


pytest.MonkeyPatch.setattr = _replace_or_skip  # type: ignore[assignment, method-assign]
