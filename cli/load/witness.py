"""The model's stand-in, in this process, where one can see what reached it: it answers each utterance with itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from cli.load import sound
from cli.load.coding import Frame, FrameReader
from cli.load.ledger import Ledger
from cli.load.sound import BLOCK_FRAMES
from simulator.answers import Output, Question, Speech
from simulator.options import Options
from simulator.server import running

DELTA_MS = 100
UNKNOWN_BLOCKS = 2
"""In which there is sound, and which are nobody's: those that were cut."""
_NOTHING = bytes(9_600)
"""200 ms of silence: something of the new bridge's to be heard, and no frame."""
LATEST = 64
"""Blocks of a client that may be in an utterance: four turns."""


class Witness:
    """An `Answer` of the simulator's that writes down, for the session that speaks, what it was asked."""

    def __init__(self) -> None:
        self.ledgers: dict[int, Ledger] = {}
        self.continued = 0
        """times that it was asked to go on with an answer that broke: it has nothing more to say then"""
        self.bridged_twice = 0
        """times that a socket asked for a session which another socket had asked for since"""
        self._sockets: dict[int, list[str]] = {}
        """of each session, in the order in which they came; the last one has it"""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        heard = question.utterance
        if heard is None:
            self.continued += 1
            if question.before is not None:
                self._go_on(question.before.audio, question.session)
            return (Speech("I have heard nothing.", _NOTHING),)
        owner, frames, broken = self._whose(heard.audio)
        if owner is not None:
            owner.ask(frames, broken)
            self._asked_by(owner.session, question.session)
        elif not frames:
            for owner, frames in self._recognised(heard.audio, question.session):
                owner.ask(frames, 0)
                self._asked_by(owner.session, question.session)
        return (Speech(f"I heard {heard.length}.", heard.audio, heard.format),)

    def _go_on(self, audio: bytes, socket: str) -> None:
        """With the answer to this, which the socket before has begun."""
        owner, frames, _ = self._whose(audio)
        if owner is not None:
            owner.go_on(frames)
        elif not frames:
            for owner, frames in self._recognised(audio, socket):
                owner.go_on(frames)

    def _whose(self, audio: bytes) -> tuple[Ledger | None, list[Frame], int]:
        """Whoever has most of it is whose session it is: all others are in the wrong one. Its frames, and damaged places."""
        reader = FrameReader()
        frames = reader.feed(audio)
        reader.finish()
        names = [frame.session for frame in frames]
        return self.ledgers.get(max(set(names), key=names.count)) if names else None, frames, reader.broken

    def _asked_by(self, session: int, socket: str) -> None:
        sockets = self._sockets.setdefault(session, [])
        if socket not in sockets:
            sockets.append(socket)
        elif socket != sockets[-1]:
            self.bridged_twice += 1

    def _recognised(self, audio: bytes, socket: str) -> Iterator[tuple[Ledger, list[Frame]]]:
        """What was compressed belongs to whom it sounds like: to whoever this socket has asked for before, and where that is
        not all of it, to others. Each look takes a tenth of a second, in which nothing else happens here."""
        samples = sound.samples(audio)
        unknown = sound.loud(samples)
        coded = [ledger for ledger in self.ledgers.values() if ledger.is_coded]
        for ledger in sorted(coded, key=lambda ledger: self._sockets.get(ledger.session, [""])[-1] != socket):
            if unknown <= UNKNOWN_BLOCKS:
                return
            if found := sound.find(samples, ledger.session, ledger.blocks[-LATEST:]):
                yield ledger, [Frame(ledger.session, number + at) for _, number in found for at in range(BLOCK_FRAMES)]
                unknown -= len(found)


@asynccontextmanager
async def model(witness: Witness, speed: float) -> AsyncIterator[str]:
    """Its base URL. `speed` is times real time."""
    options = Options(answer=witness, speed=speed, delta_ms=DELTA_MS, think_s=0.1, record_s=0.0)
    async with running(options) as server:
        yield server.base_url
