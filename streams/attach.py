"""Which connection a session belongs to: the newest, as long as it is there.

`parley:{sid}:attach` holds `attach_id|gateway` and runs out by itself; gone means detached, and the bridge counts the grace
time. Gateways talk to each other about it on the session's control channel: who attaches says so, and the connection before
lets go; who wants to know whether a client is still there asks, and the gateway that has it asks the client; who is sent
something by a client that listens elsewhere has it told there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import Any

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.bus import Bus
from streams.connection import text
from streams.errors import StreamUnavailable
from streams.ids import EntryId
from streams.keys import dispatch_field
from streams.sessions import Session, now_ms
from streams.writer import Writer

logger = logging.getLogger(__name__)

ATTACH_MS = 10_000
"""Without renewal a connection counts as gone after so long: its gateway has died."""

ATTACH_RENEW_S = 3.0

PROBE_S = 1.0
"""How long a client that may still be there has to answer a ping."""

# The control channel lies in the slot of the keys, and is none of them: while a slot moves, a script is asked again as long
# as some of its keys are there and some are not.
# ARGV: value, ttl, '1' to take it from whoever has it, or the value of the only one from whom. Says so on the control
# channel, unless it was refused.
_ATTACH = """
if redis.call('PTTL', KEYS[2]) <= 0 then return 'over' end
local holder = redis.call('GET', KEYS[1])
if holder and ARGV[3] ~= '1' and ARGV[3] ~= holder then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SPUBLISH', (string.gsub(KEYS[1], 'attach$', 'control')), cmsgpack.pack({'attached', ARGV[1]}))
return 'ok'
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
# The same, and 2 when a bridge was told of the session: whoever holds a thousand asks once for both.
_RENEW_AND_ASK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1 + redis.call('HEXISTS', KEYS[2], ARGV[3])
"""
# ARGV: value, now in ms. When it was left is kept with the cursors: a redial goes to the session that was left last. Whoever
# waits to hear whether somebody is still there need not wait any longer.
_DETACH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
local ttl = redis.call('PTTL', KEYS[3])
if ttl > 0 then
  redis.call('HSET', KEYS[2], 'detached_ms', ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ttl)
end
redis.call('SPUBLISH', (string.gsub(KEYS[1], 'attach$', 'control')), cmsgpack.pack({'left', ARGV[1]}))
return 1
"""


class Attachment:
    """One connection's hold on a session."""

    def __init__(self, redis: Redis, session: Session, gateway: str) -> None:
        self._redis, self._session = redis, session
        self.value = f"{secrets.token_hex(8)}|{gateway}"

    async def attach(self, *, take: bool | str) -> bool:
        """Be the session's connection; `take`: also when another one is, or this one. False when it is taken, or over.

        Raises StreamUnavailable.
        """
        k = self._session.keys
        whose = take if isinstance(take, str) else str(int(take))
        answer = await self._eval(_ATTACH, 2, k.attach, k.down, self.value, ATTACH_MS, whose)
        return bool(answer == b"ok")

    async def renew(self) -> bool:
        """Stay it. False: somebody else is, or the session is over."""
        return bool(await self._eval(_RENEW, 1, self._session.keys.attach, self.value, ATTACH_MS))

    def renewal(self, writer: Writer) -> asyncio.Future[Any]:
        """Stay it, in one pipeline with others. The future gives 0 as `renew` does, 2 when a bridge was told of the session.

        It may raise StreamUnavailable.
        """
        k = self._session.keys
        return writer.do("EVAL", _RENEW_AND_ASK, 2, k.attach, k.marks, self.value, ATTACH_MS, dispatch_field("bridge"))

    async def detach(self) -> None:
        """Leave it to the grace time."""
        k = self._session.keys
        await self._eval(_DETACH, 3, k.attach, k.cursors, k.down, self.value, now_ms())

    async def _eval(self, script: str, count: int, *arguments: Any) -> Any:
        try:
            return await self._redis.eval(script, count, *arguments)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(f"{self._session.keys.attach}: {error}") from error


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a session's client is there, as far as Redis knows."""

    holder: str
    """the attachment that has it; empty: none"""
    detached_ms: int
    """when it was last left (ms since 1970); 0: its gateway did not live to say so"""

    @property
    def attached(self) -> bool:
        return bool(self.holder)


async def presence(redis: Redis, session: Session) -> Presence:
    """Look. Raises StreamUnavailable."""
    k = session.keys
    try:
        holder = await redis.get(k.attach)
        left = await redis.hget(k.cursors, "detached_ms")
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{k.attach}: {error}") from error
    return Presence("" if holder is None else text(holder), int(left) if left is not None else 0)


async def is_alive(redis: Redis, bus: Bus, session: Session) -> bool:
    """Whether the client of an attached session answers a ping within PROBE_S. Raises StreamUnavailable."""
    nonce = secrets.token_hex(8)
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ear = _Ear(nonce, answered)
    channel = session.keys.control
    await bus.subscribe(channel, ear)
    try:
        heard = await redis.spublish(channel, msgpack.packb(["probe", nonce]))
        if heard <= 1 and bus.hearing(channel) <= 1:  # nobody but ourselves: its gateway is gone
            return False
        async with asyncio.timeout(PROBE_S):
            return await answered
    except TimeoutError:
        return False
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{channel}: {error}") from error
    finally:
        await bus.unsubscribe(channel, ear)


async def say_alive(redis: Redis, session: Session, nonce: str) -> None:
    """The client has answered. Raises StreamUnavailable."""
    await _say(redis, session, "alive", nonce)


async def tell(redis: Redis, session: Session, event: str) -> None:
    """Have the session's client told this, as it is, where it listens: now, or never. Raises StreamUnavailable."""
    await _say(redis, session, "tell", event)


async def say_received(redis: Redis, session: Session, did: EntryId) -> None:
    """The client itself has said that it has got all up to here. Raises StreamUnavailable."""
    await _say(redis, session, "received", str(did))


async def say_ended(redis: Redis, session: Session, reason: str) -> None:
    """The client has ended it, before there was a bridge to say so. Raises StreamUnavailable."""
    await _say(redis, session, "ended", reason)


async def say_failed(redis: Redis, session: Session, reason: str) -> None:
    """It ends, and there is no room in Redis to say so in `down`. Raises StreamUnavailable."""
    await _say(redis, session, "failed", reason)


async def _say(redis: Redis, session: Session, what: str, argument: str) -> None:
    try:
        await redis.spublish(session.keys.control, msgpack.packb([what, argument]))
    except (RedisError, OSError) as error:
        raise StreamUnavailable(f"{session.keys.control}: {error}") from error


def read_control(data: bytes) -> tuple[str, str]:
    """What was said on a control channel, and its argument.

    `attached`, `left`, `probe`, `alive`, `tell`, `received`, `ended`, `failed`; or see `streams.stopping`, `streams.timing`.
    """
    try:
        what, argument = msgpack.unpackb(data, raw=False)
    except (ValueError, TypeError):
        return "unreadable", ""
    return str(what), str(argument)


class _Ear:
    """Waits for one answer."""

    def __init__(self, nonce: str, answered: asyncio.Future[bool]) -> None:
        self._nonce, self._answered = nonce, answered

    def heard(self, data: bytes) -> None:
        what, argument = read_control(data)
        if (what == "left" or (what, argument) == ("alive", self._nonce)) and not self._answered.done():
            self._answered.set_result(what == "alive")

    def missed(self) -> None:
        pass
