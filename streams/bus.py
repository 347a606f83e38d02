"""One pub/sub connection a process, or one to each node of a Cluster: the messages that the append script publishes.

The bus promises nothing: a message may be lost when a connection drops, or when a channel moves to another node. Readers
therefore look at the ids (see `streams.consumer`), and after a reconnect each reads its stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterable
from typing import Protocol

from redis.asyncio import Redis

from streams.line import Line
from streams.waiting import Event

logger = logging.getLogger(__name__)

MOVE_AGAIN_S = 0.1
"""Between looks at which node has a channel, while the nodes do not agree."""


class Listener(Protocol):
    """Hears a channel. Both calls come from the bus's own task and must not block."""

    def heard(self, data: bytes) -> None:
        """A message of the channel."""

    def missed(self) -> None:
        """The bus was away; messages may be lost."""


class Nodes(Protocol):
    """Which server carries which channel."""

    together: int
    """how many channels one command may name"""

    def node_of(self, channel: bytes) -> Hashable:
        """The server that carries it, as far as is known."""

    def slot_of(self, channel: bytes) -> int:
        """Channels of one slot move together."""

    def client(self, node: Hashable) -> Redis:
        """For a pub/sub connection to that server; the caller does not close it."""

    async def look_again(self) -> None:
        """Ask which servers there are, and what they carry. Never raises."""


class OneServer:
    """It carries all of them."""

    together = 1000

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def node_of(self, channel: bytes) -> Hashable:
        return None

    def slot_of(self, channel: bytes) -> int:
        return 0

    def client(self, node: Hashable) -> Redis:
        return self._redis

    async def look_again(self) -> None:
        pass


class Bus:
    """Use as an async context manager. Channels are sharded ones (SSUBSCRIBE), as `append.lua` wants it."""

    def __init__(self, redis: Redis, nodes: Nodes | None = None) -> None:
        self._nodes = nodes or OneServer(redis)
        self._lines: dict[Hashable, Line] = {}
        self._home: dict[bytes, Line] = {}
        """the line that a channel is to come over"""
        self._listeners: dict[bytes, set[Listener]] = {}
        self._confirmed: dict[bytes, Event] = {}
        self._moving: set[bytes] = set()
        self._mover: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bus:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._mover is not None:
            self._mover.cancel()
            await asyncio.wait([self._mover])
        for line in self._lines.values():
            await line.stop()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Hear `channel` from now on: what is published after this returns is heard, or `missed` is called."""
        name = channel.encode()
        self._listeners.setdefault(name, set()).add(listener)
        confirmed = self._confirmed.setdefault(name, Event())
        try:
            await self._settle(name)
            await confirmed.wait()
        except asyncio.CancelledError:
            await self.unsubscribe(channel, listener)
            raise

    async def unsubscribe(self, channel: str, listener: Listener) -> None:
        """No more of this channel."""
        name = channel.encode()
        listeners = self._listeners.get(name, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(name, None)
            self._confirmed.pop(name, None)
            await self._settle(name)

    def hearing(self, channel: str) -> int:
        """How many listeners of this process hear the channel."""
        return len(self._listeners.get(channel.encode(), ()))

    async def _settle(self, name: bytes) -> None:
        """Have the channel come over the line of the node that carries it; or over none."""
        line = self._home.get(name)
        if name not in self._listeners:
            self._home.pop(name, None)
            if line is not None:
                line.wanted.discard(name)
                await line.ask(name)
        elif line is None:
            line = self._home[name] = self._line_to(self._nodes.node_of(name))
            line.wanted.add(name)
            await line.ask(name)

    def _line_to(self, node: Hashable) -> Line:
        if (line := self._lines.get(node)) is None:
            line = self._lines[node] = Line(self._nodes.client(node), self, together=self._nodes.together)
            line.start()
        return line

    # ── what lines say ──────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, channel: bytes, data: bytes) -> None:
        """A message that its listener cannot read deafens nobody: it looks for itself."""
        for listener in tuple(self._listeners.get(channel, ())):
            try:
                listener.heard(data)
            except (ValueError, TypeError, LookupError) as error:
                logger.error("a message on %s does not read: %s", channel.decode(errors="replace"), error)
                listener.missed()

    def subscribed(self, channel: bytes) -> None:
        confirmed = self._confirmed.get(channel)
        if confirmed is not None and not confirmed.is_set():
            confirmed.set()
            for listener in tuple(self._listeners.get(channel, ())):
                listener.missed()  # all before this moment may have been: the listener reads its stream

    def lost(self, line: Line) -> None:
        for name in line.wanted:
            if (confirmed := self._confirmed.get(name)) is not None:
                confirmed.clear()
        self._move(line.wanted)  # perhaps another node has them now

    def moved(self, line: Line, channel: bytes | None, slot: int | None) -> None:
        names = [channel] if channel is not None else [name for name in line.wanted if self._nodes.slot_of(name) == slot]
        for name in names:
            if (confirmed := self._confirmed.get(name)) is not None:
                confirmed.clear()
        self._move(names)

    def _move(self, names: Iterable[bytes]) -> None:
        if isinstance(self._nodes, OneServer):
            return  # there is nowhere to go
        self._moving.update(names)
        if self._moving and self._mover is None:
            self._mover = asyncio.create_task(self._run_mover(), name="streams.bus")

    async def _run_mover(self) -> None:
        """Bring channels to the nodes that carry them now. Where none does yet, it is tried again until one does."""
        try:
            while self._moving:
                await self._nodes.look_again()
                names, self._moving = self._moving, set()
                for name in names:
                    await self._rehome(name)
                await asyncio.sleep(MOVE_AGAIN_S)
                self._moving |= {name for name in names if name in self._confirmed and not self._confirmed[name].is_set()}
        finally:
            self._mover = None

    async def _rehome(self, name: bytes) -> None:
        if name not in self._listeners:
            return
        line, now = self._home.get(name), self._line_to(self._nodes.node_of(name))
        if line is not now and line is not None:
            line.wanted.discard(name)
            await line.ask(name)
        self._home[name] = now
        now.wanted.add(name)
        await now.ask(name)
