"""All that one process writes: what one turn of the event loop wants to write goes out as one pipeline.

While a pipeline is unanswered the next one gathers, so the batch grows with the load and there is never more than one in
flight: what was given in order is executed in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError
from redis.typing import EncodableT

from streams.errors import ServerFull, StreamUnavailable
from streams.pipelines import Command, pipelines

INLINE_BYTES = 8192
"""An entry up to this size travels with its message; of a larger one only the ids do."""


class Writer:
    """Appends to any number of streams through one connection. Use as an async context manager."""

    def __init__(self, redis: Redis) -> None:
        self._pipelines = pipelines(redis)
        self._source = files("streams").joinpath("append.lua").read_bytes()
        self._sha = sha1(self._source).hexdigest()
        self._pending: list[tuple[Command, asyncio.Future[Any]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Writer:
        try:
            await self._pipelines.load(self._source)
        except (RedisError, OSError) as error:
            raise StreamUnavailable(str(error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._flusher is not None:
            await asyncio.wait([self._flusher])
        await self._pipelines.aclose()

    def append(
        self, stream: str, marks: str, scheme: Sequence[EncodableT], fields: Sequence[EncodableT]
    ) -> asyncio.Future[Any]:
        """Run the append script in the next pipeline. `scheme` is ARGV[1…4] of append.lua.

        The future gives the script's answer, [what, id], or raises StreamUnavailable: then nobody knows whether it
        was stored, and the same call may be made again.
        """
        return self.do("EVALSHA", self._sha, 2, stream, marks, *scheme, INLINE_BYTES, *fields)

    def do(self, *command: EncodableT) -> asyncio.Future[Any]:
        """Any command in the next pipeline: where many sessions have a little to write, each pays nearly nothing for it.

        The future gives its answer, or raises StreamUnavailable.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.append((command, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="streams.writer")
        return future

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                await self._send(batch)
        finally:
            self._flusher = None

    async def _send(self, batch: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._pipelines.execute([command for command, _ in batch])
            unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                # The server has restarted or was flushed, or is new in the Cluster. None of these ran, and none after them
                # can have overtaken: the script checks what must come before.
                await self._pipelines.load(self._source)
                again = await self._pipelines.execute([batch[at][0] for at in unknown])
                for at, answer in zip(unknown, again, strict=True):
                    answers[at] = answer
        except (RedisError, OSError) as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):  # no answer, or one like OOM, READONLY, LOADING: it may work a moment later
                kind = ServerFull if isinstance(answer, OutOfMemoryError) else StreamUnavailable
                future.set_exception(kind(f"{type(answer).__name__}: {answer}"))
            else:
                future.set_result(answer)
