"""PURE. What is promised to whom, as data; and which of it a run has not kept.

Figures are counted by `judgement.py`. `docs/promises.md` says the same in a table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from cli.load.faults import Kind
from cli.load.judgement import NEVER_MS, Figures

Cause: TypeAlias = Literal["none", "line", "gateway", "transcoder", "bridge", "redis", "failover"]
"""What went wrong: nothing, the client's line, a process of this kind, the server that all of them meet in, its primary."""
CAUSES: tuple[Cause, ...] = get_args(Cause)

Tells: TypeAlias = Literal["nothing", "down", "up"]
"""down: each hole in what is heard; up: how much is missing of what was recorded"""

IN_FLIGHT_MS = 250
"""What was on its way when the line broke, and read by nobody. Measured over a hundred breaks on two busy cores: up to
126 ms, of which a recorder's chunk is 60 and a message 40. The rest is for a machine that is busier."""
PING_MS = 250
"""Of audio: the interval at which a gateway learns what has arrived."""
ENTRY_MS = 100
"""Of audio: what has arrived is known by whole entries, and one may be on its way when the line breaks. Needed: of a hundred
breaks some repeat 300 ms."""
FORGETTING = ("bridge", "failover")
"""Causes after which another bridge may have the session: of a failover, when it takes longer than a lease lasts."""
UNPACED = ("phone", "watch", "watch-by-id")
"""Clients that hear as fast as the model speaks: in one interval so much more of its audio."""
OPUS_MS = 100
"""Of audio: an encoder holds back up to so much of what has arrived, and that comes once more after a redial."""
AAC_MS = 170
"""The same of AAC: three frames of 42.7 ms, and the packet before, which a fresh decoder needs. One break of some
thousand came to 460 ms in all: 250, 170 and an entry, of which a part."""
TOLD_MS = 150
"""A recorder's chunks are cut where it likes, so what is missing is known to a chunk on each side."""
SEAM_MS = 10
"""Where a seam between two stretches of decoded sound lies is known to so much (`alignment.py`)."""
UNKNOWN_MS = 40
"""Sound that is nobody's: what a decoder makes of the place at which a file breaks off is shorter."""
LEFT_MS = 500
"""The error of what has left the gateway's machine, where nothing else is known."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Milliseconds of speech; 0 is none, not a frame."""

    up_lost_before_ms: int = 0
    """of what was sent before it broke; what is sent into a broken line is lost where anything may be"""
    down_lost_ms: int = 0
    """in one break"""
    down_repeated_ms: int = 0
    """after one break"""
    tells: Tells = "nothing"
    """which holes it is told of"""
    asked_again: bool = False
    """the model may be asked once more, and the answer be given anew; or it is asked to go on where the answer broke off"""

    @property
    def loses_what_is_sent_meanwhile(self) -> bool:
        return self.up_lost_before_ms > 0


NOTHING = Promise(tells="down")
_FIELD_SOCKET = Promise(up_lost_before_ms=IN_FLIGHT_MS, down_repeated_ms=PING_MS)
_FIELD_STREAM = Promise(up_lost_before_ms=IN_FLIGHT_MS, down_lost_ms=LEFT_MS, down_repeated_ms=LEFT_MS)
_FIELD_BY_ID = Promise(up_lost_before_ms=IN_FLIGHT_MS, tells="down")
_RECORDER = Promise(up_lost_before_ms=IN_FLIGHT_MS, down_repeated_ms=PING_MS, tells="up")

_CLIENTS: dict[str, Promise] = {
    "openai": NOTHING,
    "openai-http": NOTHING,
    "mobile": _FIELD_SOCKET,
    "mobile-m4a": _FIELD_SOCKET,
    "web": _RECORDER,
    "mobile-aac": replace(_FIELD_SOCKET, down_repeated_ms=PING_MS + AAC_MS),
    "web-opus": replace(_RECORDER, down_repeated_ms=PING_MS + OPUS_MS),
    "phone": _FIELD_SOCKET,
    "watch": _FIELD_STREAM,
    "watch-by-id": _FIELD_BY_ID,
    "ios": _FIELD_STREAM,
    "ios-16k": _FIELD_STREAM,
}


def _promise(client: str, cause: Cause) -> Promise:
    """A worker that dies is nothing to a client's line: what was sent is stored. Only the model forgets."""
    promise = _CLIENTS[client]
    if cause in ("line", "gateway"):
        return promise
    return Promise(tells=promise.tells, asked_again=cause in FORGETTING)


TABLE: dict[tuple[str, Cause], Promise] = {
    (client, cause): _promise(client, cause) for client in _CLIENTS for cause in CAUSES
}


def cause(kind: Kind | None) -> Cause:
    if kind is not None and kind.setup == "sentinels":
        return "failover"
    return "none" if kind is None else kind.service or "line"


def loosest(client: str, kinds: tuple[Kind, ...], speed: float = 1.0) -> Promise:
    """What is promised when all of these may happen in one run; `speed`: of the model's speech, times real time."""
    faster = max(1.0, speed) if client in UNPACED and any(cause(kind) == "gateway" for kind in kinds) else 1.0
    promises = [TABLE[client, cause(kind)] for kind in kinds or (None,)]
    return Promise(
        max(promise.up_lost_before_ms for promise in promises),
        max(promise.down_lost_ms for promise in promises),
        round(faster * max(promise.down_repeated_ms for promise in promises)),
        promises[0].tells,
        any(promise.asked_again for promise in promises),
    )


def broken(promise: Promise, figures: Figures) -> Iterator[str]:
    """A sentence each."""
    if figures.foreign:
        yield f"{figures.foreign} frames of other sessions"
    yield from _broken_up(promise, figures)
    yield from _broken_down(promise, figures)


def _broken_up(promise: Promise, figures: Figures) -> Iterator[str]:
    if figures.up_lost and not promise.loses_what_is_sent_meanwhile:
        yield f"{figures.up_lost} of {figures.sent} frames did not reach the model"
    elif figures.up_lost_before_ms > promise.up_lost_before_ms:
        yield f"speech was lost that was sent {_ms(figures.up_lost_before_ms)} before anything broke"
    if figures.up_doubled:
        yield f"{figures.up_doubled} frames reached the model twice in one utterance"
    if figures.up_reordered:
        yield f"{figures.up_reordered} times frames reached the model out of order"
    if figures.up_broken and not promise.loses_what_is_sent_meanwhile:
        yield f"{figures.up_broken} places in what the model heard are damaged"
    if figures.up_cut_ms and not promise.loses_what_is_sent_meanwhile:
        yield f"{figures.up_cut_ms:.0f} ms are cut out of what the model heard"
    if figures.up_again_ms:
        yield f"{figures.up_again_ms:.0f} ms follow themselves in what the model heard"
    if figures.asked_again and not promise.asked_again:
        yield f"the model was asked once more with {figures.asked_again} frames"


def _broken_down(promise: Promise, figures: Figures) -> Iterator[str]:
    if figures.down_gap_ms > promise.down_lost_ms:
        yield f"{figures.down_lost} of {figures.down_due} frames were not heard, up to {figures.down_gap_ms} ms on end"
    if figures.cut_off_ms > promise.down_lost_ms and not promise.asked_again:
        yield f"the end of {figures.cut_off} answers was not heard, up to {figures.cut_off_ms} ms"
    if figures.dropped_ms > promise.down_lost_ms and promise.asked_again:
        longest = f"up to {figures.dropped_ms} ms"
        yield f"{figures.dropped} answers broke off, {longest}, and the model was not asked to go on with them"
    if figures.down_repeat_ms > promise.down_repeated_ms + (ENTRY_MS if promise.down_repeated_ms else 0):
        yield f"{figures.down_doubled} frames were heard again, up to {_ms(figures.down_repeat_ms)} after a break"
    if figures.down_reordered:
        yield f"{figures.down_reordered} times frames were heard out of order"
    if figures.interleaved:
        yield f"{figures.interleaved} times an answer was heard in the middle of another"
    if figures.down_broken and not figures.breaks:
        yield f"{figures.down_broken} places in what was heard are damaged"
    if figures.down_cut_ms > promise.down_lost_ms + (SEAM_MS if promise.down_lost_ms else 0):
        yield f"{figures.down_cut_ms:.0f} ms are cut out of what was heard"
    if figures.down_again_ms > promise.down_repeated_ms + (ENTRY_MS if promise.down_repeated_ms else 0):
        yield f"{_ms(figures.down_again_ms)} of what was heard follow themselves"
    if figures.unknown_ms > UNKNOWN_MS:
        yield f"{figures.unknown_ms:.0f} ms of what was heard are nobody's sound"
    if promise.tells == "down" and figures.announced != figures.down_gaps:
        yield f"{figures.announced} gaps were announced, and {figures.down_gaps} were there"
    if promise.tells == "up" and abs(figures.announced_ms - figures.missing_ms) > TOLD_MS * figures.cuts:
        yield f"{figures.announced_ms:.0f} ms were announced as missing, and {figures.missing_ms} ms were"


def _ms(value: float) -> str:
    return "an unlimited time" if value >= NEVER_MS else f"{value:.0f} ms"
