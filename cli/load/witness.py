"""The model's stand-in, in this process, where one can see what reached it: it answers each utterance with itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cli.load.alignment import Frames, heard_whole, is_of, loud_ms, seams, strangers
from cli.load.coding import Frame, FrameReader
from cli.load.ledger import Ledger
from cli.load.sound import Samples, samples
from simulator.answers import Output, Question, Speech
from simulator.options import Options
from simulator.server import running

DELTA_MS = 100
UNKNOWN_MS = 40
"""Of sound that is nobody's: shorter than that it may be what a codec makes of a beginning, an end or a cut."""
_NOTHING = bytes(9_600)
"""200 ms of silence: something of the new bridge's to be heard, and no frame."""


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
            self._coded(samples(heard.audio), question.session)
        return (Speech(f"I heard {heard.length}.", heard.audio, heard.format),)

    def _go_on(self, audio: bytes, socket: str) -> None:
        """With the answer to this, which the socket before has begun."""
        owner, frames, _ = self._whose(audio)
        if owner is not None:
            owner.go_on(frames)
        elif not frames:
            sounds = samples(audio)
            if (owner := self._sounds_like(sounds, socket)) is not None:
                listener = heard_whole(sounds, owner.session, owner.spoken)
                owner.go_on(Frames(owner.session).fresh(listener.stretches))

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

    def _coded(self, audio: Samples, socket: str) -> None:
        """What was compressed is laid beside what its session has said."""
        owner = self._sounds_like(audio, socket)
        if owner is None:
            owner = next((ledger for ledger in self._of_this_first(socket) if self._is_of(ledger, socket)), None)
            if owner is not None and loud_ms(audio) > UNKNOWN_MS:
                owner.ask([], 1)
            return
        listener = heard_whole(audio, owner.session, owner.spoken)
        others = ((ledger.session, ledger.spoken) for ledger in self.ledgers.values() if ledger is not owner)
        owner.foreign_up += strangers(listener.unknown, others)
        broken = sum(loud_ms(piece) > UNKNOWN_MS for piece in listener.unknown)
        owner.ask(Frames(owner.session).fresh(listener.stretches), broken, seams(listener.stretches))
        self._asked_by(owner.session, socket)

    def _sounds_like(self, audio: Samples, socket: str) -> Ledger | None:
        """Whose it is. Each look takes some milliseconds, in which nothing else happens here."""
        likely = self._of_this_first(socket)
        return next((ledger for ledger in likely if is_of(audio, ledger.session, ledger.spoken)), None)

    def _of_this_first(self, socket: str) -> list[Ledger]:
        """And of the others those of this run: they came last."""
        coded = [ledger for ledger in reversed(self.ledgers.values()) if ledger.is_coded]
        return sorted(coded, key=lambda ledger: not self._is_of(ledger, socket))

    def _is_of(self, ledger: Ledger, socket: str) -> bool:
        return self._sockets.get(ledger.session, [""])[-1] == socket


@asynccontextmanager
async def model(witness: Witness, speed: float) -> AsyncIterator[str]:
    """Its base URL. `speed` is times real time."""
    options = Options(answer=witness, speed=speed, delta_ms=DELTA_MS, think_s=0.1, record_s=0.0)
    async with running(options) as server:
        yield server.base_url
