"""A client whose network is away: its connection is kept as long as its session would wait for it."""

from __future__ import annotations

import socket

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from gateway.errors import SessionEnded
from gateway.transports.endless_wav import EndlessWav
from gateway.transports.lasting import LastingAnswer
from gateway.transports.sse import EventStream

GRACE_S = 60.0


@pytest.mark.parametrize("kind", [EventStream, EndlessWav])
async def test_who_listens_only_is_kept_for_the_grace_time(kind: type[LastingAnswer]) -> None:
    """It would never be told that the kernel has given it up for what was not acknowledged: it has nothing to send."""
    waits: list[int] = []

    async def listen(request: web.Request) -> web.StreamResponse:
        answer: EventStream | EndlessWav
        if kind is EventStream:
            answer = EventStream(send_timeout_s=1.0, grace_s=GRACE_S)
        else:
            answer = EndlessWav(24_000, send_timeout_s=1.0, grace_s=GRACE_S)
        response = await answer.open(request)
        assert request.transport is not None
        ours = request.transport.get_extra_info("socket")
        waits.append(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        assert not answer.is_unreachable  # it acknowledges
        await answer.close(SessionEnded())
        return response

    app = web.Application()
    app.router.add_get("/", listen)
    async with TestServer(app) as server, ClientSession() as http, http.get(server.make_url("/")) as response:
        await response.read()
    assert waits == [GRACE_S * 1000]
