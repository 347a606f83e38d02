"""The socket to the model's server: dial, send, receive, close.

    upstream = await dial(http, realtime_url(base_url, model), key)
    async with upstream:
        await upstream.send(encode(SessionUpdate(session=…)))
        async for received in upstream:
            match received.event:
                …

`dial` returns when the server has said `session.created`, and says by type why it cannot: UpstreamRefused or
UpstreamUnavailable. Iteration ends when we have closed the socket; when anybody or anything else did, it raises
UpstreamClosed. The socket reads no more than is taken from it: whoever iterates slowly slows the server down.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

from realtime_bridge import dialects, verdicts
from realtime_bridge.dialects import GA, Dialect, DialectName
from realtime_bridge.errors import MalformedServerEvent, UpstreamClosed, UpstreamRefused, UpstreamUnavailable
from realtime_bridge.server_events import Error, ErrorDetail, ServerEvent, Session, SessionCreated, Unknown, parse

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""from the first DNS question to the 101"""
GREETING_TIMEOUT_S = 10.0
"""from the 101 to `session.created`, which takes OpenAI 6 ms"""
HEARTBEAT_S = 6.0
"""between our pings; a server that owes a pong for half as long is gone. Nine seconds of a dead line are a long pause"""
CLOSE_TIMEOUT_S = 2.0
"""for the server's answer to our CLOSE"""
MAX_FRAME = 64 * 1024 * 1024
"""Bytes. Deltas are small; an item retrieved with its audio is not, and aiohttp's own 4 MiB would end the session."""

_AFTER_ERROR_S = 1.0
"""After an `error` in place of `session.created` the CLOSE comes at once, or not at all."""
_ABNORMAL = 1006


class Received(NamedTuple):
    event: ServerEvent | Unknown
    raw: str
    """the frame as it came"""


async def dial(
    http: aiohttp.ClientSession,
    url: str,
    key: str | None,
    *,
    dialect: DialectName = "auto",
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    greeting_timeout_s: float = GREETING_TIMEOUT_S,
) -> Upstream:
    """A socket on which the server has said `session.created`. Raises UpstreamRefused or UpstreamUnavailable."""
    async with AsyncExitStack() as unless_greeted:
        ws = await _connect(http, url, dialects.headers(url, key, dialect), connect_timeout_s)
        unless_greeted.push_async_callback(ws.close)
        frames = _Frames(ws)
        created = await _greeting(frames, dialect, greeting_timeout_s)
        unless_greeted.pop_all()
    return Upstream(ws, frames, created)


class Upstream:
    """An open socket with a session on it. One task may iterate, any may send."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, frames: _Frames, created: _Created) -> None:
        self._ws, self._frames, self._closing = ws, frames, False
        self.session: Session = created.event.session
        """as the server opened it, with its defaults"""
        self.created = Received(created.event, created.raw)
        """`session.created` itself; iteration begins after it"""
        self.dialect = frames.dialect
        """what goes up has to be in it; what comes back is in GA already"""

    @property
    def malformed(self) -> int:
        """Frames that were no events, and were skipped."""
        return self._frames.malformed

    async def send(self, frame: str) -> None:
        """Returns when the frame is on its way, which takes as long as the server takes to read what went before.

        Raises UpstreamClosed; when iteration raises it too, that one knows the reason better.
        """
        try:
            await self._ws.send_str(frame)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise verdicts.closed(self._ws.close_code or _ABNORMAL) from error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        try:
            return await self._frames.next()
        except UpstreamClosed:
            if self._closing:
                raise StopAsyncIteration from None
            raise

    async def close(self) -> None:
        """Say goodbye and wait for the answer, not long. Iteration ends; a second close does nothing."""
        self._closing = True
        await self._ws.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class _Created(NamedTuple):
    event: SessionCreated
    raw: str


class _Frames:
    """What the socket has to say, without what is no event."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self.malformed = 0
        self.dialect: Dialect = GA

    async def next(self) -> Received:
        """The next event. Raises UpstreamClosed when there will be none."""
        while True:
            message = await self._ws.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    try:
                        frame = self.dialect.heard(message.data)
                        return Received(parse(frame), frame)
                    except MalformedServerEvent as error:
                        self._skip(str(error))
                case aiohttp.WSMsgType.BINARY:
                    self._skip("The model's server sent a binary frame.")
                case aiohttp.WSMsgType.CLOSE:
                    raise verdicts.closed(message.data or 1005, message.extra or "")
                case _:  # the line broke: aiohttp calls even that 1000 when it broke between two frames
                    raise verdicts.closed(_ABNORMAL)

    def _skip(self, why: str) -> None:
        self.malformed += 1
        logger.log(logging.WARNING if self.malformed == 1 else logging.DEBUG, "%s It was skipped.", why)


async def _connect(
    http: aiohttp.ClientSession, url: str, headers: dict[str, str], timeout_s: float
) -> aiohttp.ClientWebSocketResponse:
    """The upgrade. aiohttp's errors end here; they hold the request with its key, so ours do not hold them."""
    host = urlsplit(url).netloc
    try:
        async with asyncio.timeout(timeout_s):
            return await http.ws_connect(
                url,
                headers=headers,
                heartbeat=HEARTBEAT_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                max_msg_size=MAX_FRAME,
                compress=0,
            )
    except aiohttp.WSServerHandshakeError as error:
        raise verdicts.of_status(error.status, error.headers or {}) from None
    except TimeoutError:
        raise UpstreamUnavailable("timeout", f"{host} did not answer within {timeout_s:g} seconds.") from None
    except aiohttp.ClientConnectorCertificateError:
        raise UpstreamRefused(
            "tls_certificate", f"{host} is not who it says it is: its TLS certificate does not verify."
        ) from None
    except aiohttp.ClientSSLError:
        raise UpstreamUnavailable("tls", f"{host} and we do not agree on TLS: check OPENAI_BASE_URL.") from None
    except aiohttp.ClientConnectorDNSError:
        raise UpstreamUnavailable("dns", f"{host} is not found: check OPENAI_BASE_URL, and the network.") from None
    except aiohttp.ClientConnectorError as error:
        raise UpstreamUnavailable("unreachable", f"{host} cannot be reached: {error.strerror}.") from None
    except aiohttp.ClientError as error:
        raise UpstreamUnavailable("dropped", f"{host} broke off the handshake ({type(error).__name__}).") from None


async def _greeting(frames: _Frames, dialect: DialectName, timeout_s: float) -> _Created:
    """`session.created`, or why there is none. It says which dialect is spoken from here on."""
    told: ErrorDetail | None = None
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            while True:
                match await frames.next():
                    case Received(SessionCreated() as event, raw):
                        frames.dialect = dialects.spoken_by(raw, dialect)
                        return _in_ga(event, raw, frames.dialect)
                    case Received(Error(error=told)):
                        deadline.reschedule(asyncio.get_running_loop().time() + _AFTER_ERROR_S)
    except UpstreamClosed as closed:
        raise verdicts.of_hangup(closed, told) from None
    except TimeoutError:
        if told:
            raise verdicts.of_hangup(None, told) from None
        raise UpstreamUnavailable(
            "silent", f"The model's server let us in, and then said nothing for {timeout_s:g} seconds."
        ) from None


def _in_ga(event: SessionCreated, raw: str, dialect: Dialect) -> _Created:
    with suppress(MalformedServerEvent):
        translated = parse(dialect.heard(raw))
        if isinstance(translated, SessionCreated):
            return _Created(translated, dialect.heard(raw))
    return _Created(event, raw)
