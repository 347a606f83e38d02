"""PURE. How much a session, and a user in a day, may use: when they are warned, and when it ends. Times are Unix, in ms.

At 80 % of a limit the person is told, once. At all of it the answer that is under way may end; then the session ends with
the reason. A session in which nobody speaks and nothing is answered ends without a warning: nobody is there to read one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from realtime_bridge import server_events as hear
from realtime_bridge.audio_cut import BYTES_PER_MS
from streams import pcm
from streams.messages import End
from streams.up import GenOpened
from streams.usage import NANO_USD, Spent

NEAR_PERCENT = 80

USAGE_LIMIT, USAGE_LIMIT_NEAR = "usage_limit", "usage_limit_near"
SESSION_TOO_LONG, SESSION_ENDS_SOON = "session_too_long", "session_ends_soon"
IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Limits:
    """None: there is none."""

    session_nano_usd: int | None = None
    session_ms: int | None = None
    """how long a session may last"""
    day_nano_usd: int | None = None
    day_ms: int | None = None
    """how long all sessions of a user may last, in one day (UTC)"""
    idle_ms: int | None = None


class Warn(NamedTuple):
    """Tell the person; nothing else happens."""

    code: str
    sentence: str


class Stop(NamedTuple):
    """Tell the person, and end the session when the answer that is under way has ended."""

    reason: str
    sentence: str


Verdict = Warn | Stop


class Budget:
    """One session's limits."""

    def __init__(self, limits: Limits, started_ms: int) -> None:
        self._limits, self._started_ms = limits, started_ms
        self._warned: set[str] = set()

    def look(self, now_ms: int, session_nano_usd: int, day: Spent) -> list[Verdict]:
        """What follows from what was spent so far. `day`: by the user, this session's part with it."""
        verdicts: list[Verdict] = []
        for name, limit, spent in self._measures(now_ms, session_nano_usd, day):
            if spent >= limit:
                return [_stop(name)]
            if spent * 100 >= limit * NEAR_PERCENT and name not in self._warned:
                self._warned.add(name)
                verdicts.append(_warn(name, limit - spent))
        return verdicts

    def next_look(self, now_ms: int) -> int | None:
        """When time alone makes the next difference to this session."""
        if (limit := self._limits.session_ms) is None:
            return None
        near, over = self._started_ms + limit * NEAR_PERCENT // 100, self._started_ms + limit
        return near if near > now_ms and "session_ms" not in self._warned else over

    def _measures(self, now_ms: int, session_nano_usd: int, day: Spent) -> Iterator[tuple[str, int, int]]:
        spent = {
            "day_nano_usd": day.nano_usd,
            "day_ms": day.ms,
            "session_nano_usd": session_nano_usd,
            "session_ms": now_ms - self._started_ms,
        }
        for name, value in spent.items():
            if (limit := getattr(self._limits, name)) is not None:
                yield name, limit, value


def _stop(name: str) -> Stop:
    match name:
        case "session_ms":
            return Stop(SESSION_TOO_LONG, "This conversation has lasted as long as one may. Please begin a new one.")
        case "session_nano_usd":
            return Stop(USAGE_LIMIT, "This conversation has used all that one may. Please begin a new one.")
    return Stop(USAGE_LIMIT, "You have used all that you may today. Please come back tomorrow (midnight UTC).")


def _warn(name: str, left: int) -> Warn:
    match name:
        case "session_ms":
            return Warn(SESSION_ENDS_SOON, f"This conversation ends in {_duration(left)}.")
        case "day_ms":
            return Warn(USAGE_LIMIT_NEAR, f"You may talk for {_duration(left)} more today.")
        case "session_nano_usd":
            return Warn(USAGE_LIMIT_NEAR, f"This conversation has used {NEAR_PERCENT} % of what one may.")
    return Warn(USAGE_LIMIT_NEAR, f"You have used {NEAR_PERCENT} % of what you may today.")


def _duration(ms: int) -> str:
    """Roughly, in words."""
    seconds = max(1, round(ms / 1000))
    if seconds < 90:
        return f"{seconds} second{'s' * (seconds != 1)}"
    return f"{round(seconds / 60)} minutes"


class Idleness:
    """Since when nobody speaks and nothing is answered. What is played back is no silence yet."""

    def __init__(self, limits: Limits, now_ms: int) -> None:
        self._limit_ms = limits.idle_ms
        self._quiet_from = now_ms
        self._vad = True
        """what of a client's sound is speech the model finds out; else only who speaks sends any"""
        self._speaking = False
        """the model's VAD hears the user"""
        self._running: set[str] = set()
        """responses that are not done"""

    def said(self, message: pcm.PcmMessage, now_ms: int) -> None:
        """The client says something."""
        if isinstance(message, pcm.Audio | pcm.Gap) and self._vad:
            return
        if not isinstance(message, GenOpened | End | pcm.MediaError):
            self._stir(now_ms)

    def heard(self, event: hear.ServerEvent | hear.Unknown, now_ms: int) -> None:
        """The model says something."""
        match event:
            case hear.SessionUpdated(session=hear.Session(audio=hear.SessionAudio(input=hear.SessionAudioInput() as sound))):
                self._vad = sound.turn_detection is not None
            case hear.InputAudioBufferSpeechStarted():
                self._speaking, self._quiet_from = True, now_ms  # what was still to be heard is not any more
            case hear.InputAudioBufferSpeechStopped() | hear.InputAudioBufferCommitted():
                self._speaking = False
                self._stir(now_ms)
            case hear.ResponseCreated(response=response):
                self._running.add(response.id)
            case hear.ResponseOutputAudioDelta(delta=delta):
                self._stir(now_ms)
                self._quiet_from += len(delta) * 3 // 4 // BYTES_PER_MS
            case hear.ResponseDone(response=response):
                self._running.discard(response.id)
                self._stir(now_ms)
            case _:
                pass

    def socket_closed(self, now_ms: int) -> None:
        """Nothing runs any more; what comes next is a new beginning."""
        self._running.clear()
        self._speaking = False
        self._stir(now_ms)

    def ends_at(self, now_ms: int) -> int | None:
        """When the session is to end if nothing happens; None: not by itself."""
        if self._limit_ms is None:
            return None
        quiet_from = max(self._quiet_from, now_ms) if self._speaking or self._running else self._quiet_from
        return quiet_from + self._limit_ms

    def look(self, now_ms: int) -> list[Verdict]:
        """Whether it has lasted too long."""
        ends_at = self.ends_at(now_ms)
        if ends_at is None or now_ms < ends_at:
            return []
        return [Stop(IDLE, "Nobody has spoken for a while, so this conversation has ended. Please begin a new one.")]

    def _stir(self, now_ms: int) -> None:
        self._quiet_from = max(self._quiet_from, now_ms)


def nano_usd(dollars: Decimal) -> int:
    """Of an amount in a setting."""
    return int((dollars * NANO_USD).to_integral_value())
