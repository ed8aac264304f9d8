"""However much goes through streams, and however slowly it is read, the broker's memory stays where it was.

Here 64 MiB; `make test-faults` sends 1 GiB.
"""

import pytest
from taskferry.requester import Requester

from tests.processes import Broker, Programs
from tests.streaming import FILL_BYTES, GROWTH_BYTES_MAX, fill, start_source

pytestmark = pytest.mark.uncovered


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_memory_stays_flat(programs: Programs, broker: Broker, encoding: str) -> None:
    start_source(programs, broker, encoding)
    async with Requester(broker.requester_url, encoding=encoding) as requester:
        await fill(requester, broker, FILL_BYTES)  # warm
        before = broker.rss_bytes()
        most = await fill(requester, broker, 4 * FILL_BYTES)
    assert most - before < GROWTH_BYTES_MAX
