"""How Server-Sent Events move: one after the other, with ids, and never without a limit in time."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from gateway.errors import ConnectionOver, Replaced, SlowClient
from gateway.outbox import Frame
from gateway.transports.lasting import LastingAnswer
from gateway.transports.outflow import gone_is_left

KEEPALIVE_S = 12.0
"""Between comment lines, whatever else is said: clients and proxies want to see something every 15 s."""


_REPLACED = "replaced"
"""The id of the last event of a stream whose session goes on over a newer one. An `EventSource` dials again whatever it is
told, and says the last id that it has heard: so two of them would take the session from one another for ever."""


def was_replaced(request: web.Request) -> bool:
    """Whether this is an `EventSource` that has lost its session to a newer stream: answer 204, and it dials no more."""
    return request.headers.get("Last-Event-ID", "").strip() == _REPLACED


class EventStream(LastingAnswer):
    """One client's event stream. One task writes."""

    def __init__(self, *, send_timeout_s: float, grace_s: float, headers: Mapping[str, str] | None = None) -> None:
        # Its timeout asks nobody whether the client does not read, or its network is away. What of us does is `settle`.
        patience_s = max(grace_s, send_timeout_s)
        self._events = EventSourceResponse(sep="\n", send_timeout=patience_s, ping_interval=KEEPALIVE_S, headers=headers)
        super().__init__(self._events, send_timeout_s=send_timeout_s, grace_s=grace_s)

    async def open(self, request: web.Request) -> EventSourceResponse:
        """Send the headers; what this returns is the handler's response. Raises HTTPException, ClientLeft."""
        await self._begin(request, b": ok\n\n")
        return self._events

    async def write(self, frame: Frame) -> None:
        """One event: the frame's name (its kind, where it has none) and data, a single line; the entry is its id.

        Raises SlowClient, ClientLeft.
        """
        await self._send(frame, None if frame.entry is None else frame.prefix + str(frame.entry))

    async def write_last(self, frame: Frame, over: ConnectionOver) -> None:
        """As `write`; nothing follows it."""
        await self._send(frame, _REPLACED if isinstance(over, Replaced) else None)

    async def _send(self, frame: Frame, event_id: str | None) -> None:
        try:
            with gone_is_left():
                await self._events.send(frame.data.decode(), id=event_id, event=frame.event or frame.kind)
        except TimeoutError:
            raise SlowClient from None
        await self._outflow.settle(self._writer)

    async def close(self, over: ConnectionOver) -> None:
        """As of every answer that lasts; with its comments, which would go on."""
        self._events.stop_streaming()
        await super().close(over)
