"""What the worker's tests share: a fake broker that is cleaned up."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.worker.fake_broker import FakeBroker


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    broker = FakeBroker()
    await broker.start()
    yield broker
    await broker.close()
