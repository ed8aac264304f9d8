"""Every coroutine here runs on asyncio's own loop and on uvloop; none may leave a link or an unhandled error behind."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from taskferry.transport.group import LinkGroup

from tests.unit.transport.waiting import until

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def group() -> AsyncIterator[LinkGroup]:
    """A group whose links are all gone when the test is over, without the event loop having had to complain."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    group = LinkGroup()
    yield group
    await until(lambda: not group.links)
    group.close()
    assert complaints == []


@pytest.fixture
def still_group(group: LinkGroup) -> LinkGroup:
    """A group that never looks at its links: only the test does, at the times that it says it is."""
    group.close()
    return group
