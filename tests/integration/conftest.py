"""Real processes for integration tests: `programs` starts any, `broker` is one for each test, and `shared_broker` is
one for all tests that only talk to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Broker, Programs, programs_in


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts processes that are gone when the test ends."""
    with programs_in(tmp_path) as programs:
        yield programs


@pytest.fixture
def broker(programs: Programs) -> Broker:
    """A broker for this test, with all defaults."""
    return programs.start_broker()


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests of this process that do not stop or overload it: whatever they send to it, it must stay
    alive and log no error. Tests keep apart by their own names for workers and commands."""
    with programs_in(tmp_path_factory.mktemp("shared_broker")) as programs:
        broker = programs.start_broker("--grace", "0")
        yield broker
        assert broker.exit_code is None, broker.stderr[-4000:]
        broker.terminate()
        assert broker.wait() == 0
        assert "Traceback" not in broker.stderr, broker.stderr
        assert " ERROR " not in broker.stderr, broker.stderr
