"""Real processes for the tests of deploy/: `programs` starts any, and ends them with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Programs, programs_in


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts processes that are ended with the test."""
    with programs_in(tmp_path) as programs:
        yield programs
