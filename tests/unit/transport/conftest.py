"""Every coroutine here runs on asyncio's own loop and on uvloop; none may leave a link or an unhandled error."""

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
    """A group whose links must all have ended after the test, without an unhandled error in the event loop."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    group = LinkGroup()
    yield group
    await until(lambda: not group.links)
    group.close()
    assert complaints == []


@pytest.fixture
def still_group(group: LinkGroup) -> LinkGroup:
    """A group that never checks its links: only the test does, with the times that it passes."""
    group.close()
    return group
