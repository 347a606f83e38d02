"""The same stack with nginx in front: what concerns the load balancer is as it is with HAProxy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.acceptance.doors.callers import DOORS as CALLERS
from tests.compose.check_stack import (
    MANY_REQUESTS,
    said_and_heard,
    started,
    test_a_client_cannot_say_how_it_came,
    test_a_gateway_is_killed_and_the_redial_goes_on,
    test_a_recording_is_kept,
    test_every_door_answers,
    test_nothing_is_held_back,
    test_redials_land_on_every_gateway,
    test_the_logs_are_for_people,
    test_the_pages_are_served,
    test_without_a_token_nobody_comes_in,
    until_health,
)
from tests.compose.stack import Stack

__all__ = [
    "test_a_client_cannot_say_how_it_came",
    "test_a_gateway_is_killed_and_the_redial_goes_on",
    "test_a_recording_is_kept",
    "test_every_door_answers",
    "test_nothing_is_held_back",
    "test_redials_land_on_every_gateway",
    "test_the_logs_are_for_people",
    "test_the_pages_are_served",
    "test_without_a_token_nobody_comes_in",
]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """As `docker compose -f docker-compose.yml -f deploy/compose.nginx.yml up --wait` leaves it."""
    yield from started(Stack("deploy/compose.nginx.yml"))


@pytest.mark.parametrize("door", CALLERS)
async def test_what_is_said_comes_back_by_chance_through_any_gateway(stack: Stack, door: str) -> None:
    """nginx does not know who has the fewest: two requests may well come to the same one, but not ten times."""
    for _ in range(10):
        came_to = await said_and_heard(stack, door)
        if len(came_to) > 1 or not door.startswith(MANY_REQUESTS):
            break
    assert len(came_to) > 1 if door.startswith(MANY_REQUESTS) else came_to


async def test_it_is_healthy_while_a_gateway_is(stack: Stack) -> None:
    """It is nginx, as nobody in particular, on a root that cannot be written."""
    await asyncio.to_thread(stack.up)
    (container,) = stack.of("lb")
    told = stack.docker("exec", container, "sh", "-c", "cat /proc/1/comm; id -u; touch /mine 2>&1; true")
    assert told.split()[:2] == ["nginx", "101"]
    assert "Read-only file system" in told
    assert stack.docker("exec", container, "cat", "/proc/sys/net/ipv4/tcp_rmem").split()[2] == "65536"
    stack.compose("pause", "redis")
    try:
        await until_health(stack, "lb", good=False)
    finally:
        stack.compose("unpause", "redis")
    await until_health(stack, "lb", good=True)
