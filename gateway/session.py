"""PURE. One client's session as the gateway sees it: what the client said → effects, which `gateway.uplink` performs.

There are two ways to the bridge. PCM16 needs no transcoder and goes straight to `pcm`; a recording goes through `up`. Order
is meaning, so the first recording moves the whole session to `up` for good: what went straight could otherwise be overtaken,
or overtake. What was already in `pcm` by then stays in front, because `up` is given a new gen above it (`OpenGen`): the ids
that the transcoder writes to `pcm` follow from the ids in `up`.

`plan` decides and changes nothing; the shell says what became of it with `performed` and `failed`. So an effect that fails
is planned again by the next thing that the client says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streams import pcm, up
from streams.keys import Role
from streams.messages import Clear, Message, SetPersona

PIECE_BYTES = up.JOINED_BYTES
"""PCM16 is cut in entries of at most this size: a second."""

DECLARED_PCM = "pcm16 24000 Hz mono"
"""The `source` of an utterance that the client declared to be raw."""

Route = Literal["pcm", "up"]


@dataclass(frozen=True, slots=True)
class Recording:
    """The client sent one whole recording, whatever its bytes are."""

    data: bytes
    arrived_ms: int
    """milliseconds since 1970 when the last byte was there"""


@dataclass(frozen=True, slots=True)
class Speech:
    """The client sent one whole recording that it declares to be PCM16 24 kHz mono."""

    audio: bytes
    """whole samples"""
    arrived_ms: int


@dataclass(frozen=True, slots=True)
class Persona:
    """The client wants to talk to this one."""

    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """The client has left, or was told to."""


Said = Recording | Speech | Persona | Left


@dataclass(frozen=True, slots=True)
class HandOut:
    """Give the session to a worker of this role."""

    role: Role


@dataclass(frozen=True, slots=True)
class OpenGen:
    """Open a gen in `up` that is above all that is in `up` and in `pcm`."""


@dataclass(frozen=True, slots=True)
class Append:
    stream: Route
    message: Message


Effect = HandOut | OpenGen | Append


class ClientSession:
    """Where a session is between its first word and its end."""

    def __init__(self) -> None:
        self.route: Route = "pcm"
        """where what is said next goes, unless it is the first recording"""
        self._handed_out: set[Role] = set()
        self._was_known = False
        """a worker was told of the session by a connection before this one"""
        self._above_pcm = True
        """whether all ids that `up` gives out are above those in `pcm`"""
        self._torn = False
        """the beginning of an utterance may be stored whose end is not"""

    @classmethod
    def resumed(cls, *, in_up: bool, in_pcm: bool) -> ClientSession:
        """Where another connection has left it: whether anything was ever written to `up`, and to `pcm`."""
        state = cls()
        state._was_known = in_up or in_pcm
        if in_up:
            state.route = "up"
        elif in_pcm:
            state._above_pcm = False
        return state

    @property
    def is_known(self) -> bool:
        """Whether a worker has been told of the session: then it outlives its connection."""
        return self._was_known or "bridge" in self._handed_out

    def plan(self, said: Said) -> list[Effect]:
        """What has to be done about it, in this order; the first that fails ends it."""
        match said:
            case Recording(data, arrived_ms):
                return [
                    *self._need("bridge"),
                    *self._need("transcoder"),
                    *([] if self._above_pcm else [OpenGen()]),
                    *self._mend("up"),
                    Append("up", up.File(data, arrived_ms)),
                ]
            case Speech(audio, arrived_ms):
                piece = pcm.Audio if self.route == "pcm" else up.Audio
                pieces = (audio[at : at + PIECE_BYTES] for at in range(0, len(audio), PIECE_BYTES))
                end = up.UtteranceEnd(len(audio) // pcm.BYTES_PER_SAMPLE, arrived_ms, DECLARED_PCM)
                return [
                    *self._need("bridge"),
                    *self._mend(self.route),
                    *(Append(self.route, piece(audio=data)) for data in pieces),
                    Append(self.route, end),
                ]
            case Persona(name):
                return [*self._need("bridge"), *self._mend(self.route), Append(self.route, SetPersona(name))]
            case Left():
                return []

    def performed(self, effect: Effect) -> None:
        """Call it for each effect, in order: an Append as soon as it may be stored, the others when they are done."""
        match effect:
            case HandOut(role):
                self._handed_out.add(role)
            case OpenGen():
                self._above_pcm = True
            case Append("pcm"):
                self._above_pcm = False
            case Append("up", up.File()):
                self.route = "up"
        if isinstance(effect, Append) and isinstance(effect.message, Clear):
            self._torn = False

    def failed(self, plan: Sequence[Effect]) -> None:
        """Nobody knows which of the entries of this plan are stored: half an utterance must not become part of the next."""
        self._torn = self._torn or any(
            isinstance(effect, Append) and isinstance(effect.message, pcm.Audio | up.Audio | Clear) for effect in plan
        )

    def _need(self, role: Role) -> list[Effect]:
        return [] if role in self._handed_out else [HandOut(role)]

    def _mend(self, route: Route) -> list[Effect]:
        return [Append(route, Clear())] if self._torn else []
