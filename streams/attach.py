"""Which connection a session belongs to: the newest, as long as it is there.

`parley:{sid}:attach` holds `attach_id|gateway` and runs out by itself; gone means detached, and the bridge counts the grace
time. Gateways talk to each other about it on the session's control channel: who attaches says so, and the connection before
lets go; who wants to know whether a client is still there asks, and the gateway that has it asks the client.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.bus import Bus
from streams.errors import StreamUnavailable
from streams.sessions import Session

logger = logging.getLogger(__name__)

ATTACH_MS = 10_000
"""Without renewal a connection counts as gone after so long: its gateway has died."""

ATTACH_RENEW_S = 3.0

PROBE_S = 1.0
"""How long a client that may still be there has to answer a ping."""

# ARGV: value, ttl, '1' to take it from whoever has it. Says so on the control channel, unless it was refused.
_ATTACH = """
if redis.call('PTTL', KEYS[2]) <= 0 then return 'over' end
if ARGV[3] ~= '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', KEYS[3], cmsgpack.pack({'attached', ARGV[1]}))
return 'ok'
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_DETACH = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Attachment:
    """One connection's hold on a session."""

    def __init__(self, redis: Redis, session: Session, gateway: str) -> None:
        self._redis, self._session = redis, session
        self.value = f"{secrets.token_hex(8)}|{gateway}"

    async def attach(self, *, take: bool) -> bool:
        """Be the session's connection; `take`: also when another one is. False when it is taken, or over.

        Raises StreamUnavailable.
        """
        k = self._session.keys
        answer = await self._eval(_ATTACH, 3, k.attach, k.down, k.control, self.value, ATTACH_MS, "1" if take else "0")
        return bool(answer == b"ok")

    async def renew(self) -> bool:
        """Stay it. False: somebody else is, or the session is over."""
        return bool(await self._eval(_RENEW, 1, self._session.keys.attach, self.value, ATTACH_MS))

    async def detach(self) -> None:
        """Leave it to the grace time."""
        await self._eval(_DETACH, 1, self._session.keys.attach, self.value)

    async def _eval(self, script: str, count: int, *arguments: Any) -> Any:
        try:
            return await self._redis.eval(script, count, *arguments)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._session.keys.attach}: {error}") from error


async def is_attached(redis: Redis, session: Session) -> bool:
    """Whether a connection has it, as far as Redis knows. Raises StreamUnavailable."""
    try:
        return bool(await redis.exists(session.keys.attach))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.attach}: {error}") from error


async def is_alive(redis: Redis, bus: Bus, session: Session) -> bool:
    """Whether the client of an attached session answers a ping within PROBE_S. Raises StreamUnavailable."""
    nonce = secrets.token_hex(8)
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ear = _Ear(nonce, answered)
    channel = session.keys.control
    await bus.subscribe(channel, ear)
    try:
        heard = await redis.publish(channel, msgpack.packb(["probe", nonce]))
        if heard <= 1:  # nobody but ourselves: its gateway is gone
            return False
        async with asyncio.timeout(PROBE_S):
            await answered
        return True
    except TimeoutError:
        return False
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{channel}: {error}") from error
    finally:
        await bus.unsubscribe(channel, ear)


async def say_alive(redis: Redis, session: Session, nonce: str) -> None:
    """The client has answered. Raises StreamUnavailable."""
    try:
        await redis.publish(session.keys.control, msgpack.packb(["alive", nonce]))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.control}: {error}") from error


def read_control(data: bytes) -> tuple[str, str]:
    """What was said on a control channel: (`attached` | `probe` | `alive`, its argument)."""
    what, argument = msgpack.unpackb(data, raw=False)
    return str(what), str(argument)


class _Ear:
    """Waits for one answer."""

    def __init__(self, nonce: str, answered: asyncio.Future[None]) -> None:
        self._nonce, self._answered = nonce, answered

    def heard(self, data: bytes) -> None:
        if read_control(data) == ("alive", self._nonce) and not self._answered.done():
            self._answered.set_result(None)

    def missed(self) -> None:
        pass
