"""A fake broker, and a requester that is connected to it, for each test that uses them."""

from collections.abc import AsyncIterator

import pytest
from taskferry.requester import Requester

from tests.unit.requester.fake_broker import FakeBroker, fake_broker


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with fake_broker() as broker:
        yield broker


@pytest.fixture
async def requester(broker: FakeBroker) -> AsyncIterator[Requester]:
    async with Requester(broker.url) as requester:
        await requester.connect()
        yield requester
        assert requester.in_flight_count == 0
