"""What a client has heard, answer by answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

LIMIT_S = 40.0
"""The longest that a client waits for anything."""


@dataclass
class Answer:
    """What the model said in one go: PCM16 mono at the client's rate, and the text where the door has one."""

    audio: bytes = b""
    text: str | None = None


@dataclass
class Heard:
    """Filled by whoever reads the connection, waited for by whoever plays the scenario."""

    sample_rate: int = 24_000
    answers: list[Answer] = field(default_factory=list)
    """those that are complete, or were broken off"""
    current: Answer = field(default_factory=Answer)
    over: bool = False
    """the door has said goodbye"""
    errors: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def audio(self, data: bytes) -> None:
        self.current.audio += data
        self._news.set()

    def text(self, text: str) -> None:
        self.current.text = (self.current.text or "") + text
        self._news.set()

    def answered(self) -> None:
        """The answer is complete, or nothing more comes of it."""
        if self.current.audio or self.current.text:
            self.answers.append(self.current)
            self.current = Answer()
        self._news.set()

    def error(self, sentence: str) -> None:
        self.errors.append(sentence)
        self._news.set()

    def goodbye(self) -> None:
        self.over = True
        self._news.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for it, looking again whenever something was heard."""
        async with asyncio.timeout(LIMIT_S):
            while not done():
                assert not self.errors, self.errors
                self._news.clear()
                await self._news.wait()

    async def until_answers(self, count: int) -> None:
        await self.until(lambda: len(self.answers) >= count)

    async def until_seconds(self, seconds: float) -> None:
        """So much of the answer that is coming now."""
        await self.until(lambda: len(self.current.audio) >= 2 * self.sample_rate * seconds)
