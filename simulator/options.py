"""How a simulator behaves: one frozen dataclass, and the reading of `--answer`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from simulator import voice
from simulator.answers import Answer, Call, CallFirst, Echo, Retell, recording, tone, words
from simulator.dialect import Dialect
from simulator.faults import Fault


class BadOption(ValueError):
    """An option that cannot be followed; the message is a sentence for whoever typed it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    answer: Answer = field(default_factory=Echo)
    delta_ms: int = 200
    """milliseconds of audio in one delta; very large for a single one"""
    odd_deltas: bool = False
    """cut audio at odd byte counts, through the middle of samples, as a client must be able to bear"""
    speed: float = 5.0
    """times real time at which audio is sent; 0 sends all at once"""
    think_s: float = 0.0
    """seconds from response.created to its first output"""
    transcription_delay_s: float = 0.3
    """seconds from a commit to the transcript of the user's words"""
    transcription_delays_s: tuple[float, ...] = ()
    """instead, of the first commit, the second and so on, and from the start again: transcripts come out of order when a
    later one is shorter"""
    session_s: float = 3600.0
    """seconds after which a session is closed"""
    api_key: str | None = None
    """the only key that is let in; None lets in everybody"""
    models: frozenset[str] = frozenset()
    """the models there are; empty for any"""
    reject_http: int | None = None
    """refuse connections with this HTTP status, as proxies do, rather than by an error event and a close"""
    ping_interval_s: float = 20.3
    """seconds between WebSocket pings; 0 for none"""
    dialect: Dialect = "ga"
    """as OpenAI speaks now, as it once did, or as Azure does (its addresses, its key, its refusals by HTTP status)"""
    sparse: bool = False
    """leave out what servers of other makers leave out: `expires_at`, `rate_limits.updated`, the ends of items and parts,
    the answer to a truncation"""
    faults: tuple[Fault, ...] = ()
    """what goes wrong, and when"""
    fails: tuple[str, ...] = ()
    """the first responses of each session fail with these codes"""
    record_s: float = 60.0
    """seconds of received audio kept to be looked at, each session; 0 keeps none"""
    recorded_sessions: int = 1024
    """the latest sessions whose audio is kept, also when they have ended"""
    keeps_sessions: bool = True
    """keep whole sessions after their end, for tests in this process"""

    def __post_init__(self) -> None:
        if self.delta_ms < 1:
            raise BadOption(f"A delta must have at least 1 ms of audio, not {self.delta_ms}.")
        for name in ("speed", "think_s", "transcription_delay_s", "session_s", "ping_interval_s", "record_s"):
            if getattr(self, name) < 0:
                raise BadOption(f"{name} cannot be negative, and is {getattr(self, name)}.")
        if any(each < 0 for each in self.transcription_delays_s):
            raise BadOption("A transcription delay cannot be negative.")
        if self.reject_http is not None and not 400 <= self.reject_http <= 599:
            raise BadOption(f"A connection is rejected with a status from 400 to 599, not {self.reject_http}.")


def parse_answer(text: str) -> Answer:
    """`echo`, `echo=live`, `wav=FILE`, `tone=HZ,SECONDS`, `text=WORDS` or `call=NAME:JSON+…`. Raises BadOption."""
    kind, _, value = text.partition("=")
    if kind not in _ANSWERS:
        raise BadOption(f"There is no answer '{kind}'; there are {', '.join(_ANSWERS)}.")
    return _ANSWERS[kind](value)


def _echo(value: str) -> Answer:
    if value not in ("", "live"):
        raise BadOption(f"An echo is plain or live, not '{value}'.")
    return Echo(live=value == "live")


def _wav(value: str) -> Answer:
    try:
        return recording(voice.load(Path(value)))
    except (OSError, voice.UnsuitableRecording) as error:
        raise BadOption(f"The answer cannot be read: {error}") from error


def _tone(value: str) -> Answer:
    hertz, _, seconds = value.partition(",")
    try:
        return tone(float(hertz), float(seconds))
    except ValueError as error:
        raise BadOption(f"A tone is HZ,SECONDS, such as 440,1.5, not '{value}'.") from error


def _words(value: str) -> Answer:
    if not value:
        raise BadOption("An answer of text needs words, such as text=Good morning.")
    return words(value)


def _call(value: str) -> Answer:
    return CallFirst(tuple(_one_call(each) for each in re.split(r"(?<=})\+", value)), Retell())


def _one_call(value: str) -> Call:
    name, _, arguments = value.partition(":")
    try:
        is_object = isinstance(msgspec.json.decode(arguments or "{}"), dict)
    except msgspec.DecodeError:
        is_object = False
    if not name or not is_object:
        raise BadOption(
            f'A call is NAME:JSON, such as weather:{{"city":"Bonn"}}, and several have a + between; \'{value}\' is none.'
        )
    return Call(name, arguments or "{}")


_ANSWERS: dict[str, Callable[[str], Answer]] = {
    "echo": _echo,
    "wav": _wav,
    "tone": _tone,
    "text": _words,
    "call": _call,
}
