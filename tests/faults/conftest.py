"""Real processes for tests of faults: `programs` starts any, `broker` is one for a single test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Broker, Programs, programs_in


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts processes that are ended with the test."""
    with programs_in(tmp_path) as programs:
        yield programs


@pytest.fixture
def broker(programs: Programs) -> Broker:
    """A broker for this test alone, with all defaults."""
    return programs.start_broker()
