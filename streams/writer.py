"""All that one process writes: what one turn of the event loop wants to write goes out as one pipeline.

While a pipeline is unanswered the next one gathers, so the batch grows with the load and there is never more than one in
flight: what was given in order is executed in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError
from redis.typing import EncodableT

from streams.errors import ServerFull, StreamUnavailable
from streams.keys import attach_of
from streams.pipelines import Command, pipelines
from streams.schemes import HELD

logger = logging.getLogger(__name__)

INLINE_BYTES = 8192
"""An entry up to this size travels with its message; of a larger one only the ids do."""


AT_ONCE = 1_000
"""Commands, about, in one pipeline: what has piled up while the server was away is not one piece for whose end all wait."""


class Source(Protocol):
    """Somebody who has something to append, and makes up its mind what when the next pipeline goes out."""

    def offered(self) -> list[Command]:
        """All of it, in order."""

    def answered(self, answers: Sequence[Any]) -> None:
        """To each command the script's answer, or a StreamUnavailable: then nobody knows whether it was stored."""


class Writer:
    """Appends to any number of streams through one connection. Use as an async context manager."""

    def __init__(self, redis: Redis) -> None:
        self._pipelines = pipelines(redis)
        self._source = files("streams").joinpath("append.lua").read_bytes()
        self._sha = sha1(self._source).hexdigest()
        self._pending: list[Source] = []
        self._is_busy = False
        """a pipeline is under way, or is about to be"""
        self._idle: asyncio.Future[None] | None = None
        """somebody waits for that to be over"""
        self._by_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Writer:
        try:
            await self._pipelines.load(self._source)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._is_busy:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle])
        await self._pipelines.aclose()

    def append(
        self,
        stream: str,
        marks: str,
        scheme: Sequence[EncodableT],
        fields: Sequence[EncodableT],
        lease: str | None = None,
    ) -> asyncio.Future[Any]:
        """Run the append script in the next pipeline. `scheme` is ARGV[1…4] of append.lua, `lease` its KEYS[3].

        The future gives the script's answer, [what, id], or raises StreamUnavailable: then nobody knows whether it
        was stored, and the same call may be made again.
        """
        return self.do(*self.command(stream, marks, scheme, fields, lease))

    def command(
        self,
        stream: str,
        marks: str,
        scheme: Sequence[EncodableT],
        fields: Sequence[EncodableT],
        lease: str | None = None,
    ) -> Command:
        """What `append` does, for a Source to offer."""
        third = attach_of(stream) if scheme[0] == HELD else lease
        keys = (stream, marks) if third is None else (stream, marks, third)
        return ("EVALSHA", self._sha, len(keys), *keys, *scheme, INLINE_BYTES, *fields)

    def do(self, *command: EncodableT) -> asyncio.Future[Any]:
        """Any command in the next pipeline: where many sessions have a little to write, each pays nearly nothing for it.

        The future gives its answer, or raises StreamUnavailable.
        """
        asked = _Asked(command, asyncio.get_running_loop().create_future())
        self.take(asked)
        return asked.answer

    def take(self, source: Source) -> None:
        """Have it asked for what it offers when the next pipeline goes out; it is not to be given again until then."""
        self._pending.append(source)
        if not self._is_busy:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """The next pipeline, if there is something for it."""
        if not self._pending:
            self._is_busy = False
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None
            return
        sources, self._pending = self._pending, []
        batch = _Batch([], [])
        for at, source in enumerate(sources):
            if len(batch.commands) >= AT_ONCE:
                self._pending[:0] = sources[at:]
                break
            try:
                offered = source.offered()
            except Exception:  # a fault of ours in one session's must not silence all others
                logger.exception("nothing can be appended for somebody who wanted to")
                continue
            batch.commands.extend(offered)
            batch.sources.append((source, len(offered)))
        if not batch.commands:
            self._go_on()
            return
        try:
            is_sent = self._pipelines.send(batch.commands, partial(self._answered, batch))
        except Exception as error:  # noqa: BLE001 - logged there
            self._answered(batch, _failure(error))
            return
        if not is_sent:
            self._by_task = asyncio.create_task(self._execute(batch), name="streams.writer")

    async def _execute(self, batch: _Batch) -> None:
        answers: list[Any] | RedisError | OSError
        try:
            answers = await self._pipelines.execute(batch.commands)
        except Exception as error:  # noqa: BLE001 - logged there
            answers = _failure(error)
        self._answered(batch, answers)

    def _answered(self, batch: _Batch, answers: list[Any] | RedisError | OSError) -> None:
        if isinstance(answers, Exception):
            answers = [answers] * len(batch.commands)
        elif any(isinstance(answer, NoScriptError) for answer in answers):
            self._by_task = asyncio.create_task(self._execute_again(batch, answers), name="streams.writer")
            return
        self._settle(batch, answers)

    async def _execute_again(self, batch: _Batch, answers: list[Any]) -> None:
        """The server has restarted or was flushed, or is new in the Cluster: nothing ran for which it wanted the script, and
        nothing behind that can have overtaken, for the script checks what must come before.
        """
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        try:
            await self._pipelines.load(self._source)
            again = await self._pipelines.execute([batch.commands[at] for at in unknown])
        except Exception as error:  # noqa: BLE001 - logged there
            answers = [_failure(error)] * len(batch.commands)
        else:
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        self._settle(batch, answers)

    def _settle(self, batch: _Batch, answers: list[Any]) -> None:
        answers = [_unavailable(answer) if isinstance(answer, Exception) else answer for answer in answers]
        begin = 0
        for source, length in batch.sources:
            try:
                source.answered(answers[begin : begin + length])
            except Exception:
                logger.exception("an answer to an append was not understood")
            begin += length
        self._go_on()


@dataclass(frozen=True, slots=True)
class _Batch:
    """A pipeline, and whose commands it is made of: how many of each, in order."""

    commands: list[Command]
    sources: list[tuple[Source, int]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The Source of one command."""

    command: Command
    answer: asyncio.Future[Any]

    def offered(self) -> list[Command]:
        return [self.command]

    def answered(self, answers: Sequence[Any]) -> None:
        if self.answer.done():
            return
        if isinstance(answers[0], StreamUnavailable):
            self.answer.set_exception(answers[0])
        else:
            self.answer.set_result(answers[0])


def _unavailable(error: Exception) -> StreamUnavailable:
    """No answer, or one like OOM, READONLY, LOADING: it may work a moment later."""
    kind = ServerFull if isinstance(error, OutOfMemoryError) else StreamUnavailable
    return kind(f"{type(error).__name__}: {error}")


def _failure(error: Exception) -> RedisError | OSError:
    """What everybody is told whose commands were in a pipeline that failed: whatever it is, the next one must go out."""
    if isinstance(error, RedisError | OSError):
        return error
    logger.error("a pipeline could not be executed", exc_info=error)
    return RedisConnectionError(f"{type(error).__name__}: {error}")
