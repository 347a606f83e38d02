"""The openai door: through Parley a Realtime client sees what it sees at the model itself."""

from __future__ import annotations

import pytest

from runtime.embedded import EmbeddedServer
from simulator.orders import ORDERS
from simulator.script import Order
from tests.contract.doors.openai_stage import system

pytestmark = pytest.mark.usefixtures("redis")


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.section} {order.name}")
async def test_orders(order: Order, redis_server: EmbeddedServer) -> None:
    """Each order holds as it does at the simulator: nothing is added, nothing is missing, nothing comes earlier."""
    async with system(redis_server, order.options) as parley, parley.talker() as client:
        run = order.run()
        while not run.is_complete:
            for event in run.to_send():
                await client.say_event(event)
            run.feed(await client.hear())
