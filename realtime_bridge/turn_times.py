"""PURE. How long each turn took: from what a user has said to what they hear. Time is an argument, in ms since 1970.

Feed it with all that comes by: an entry of `pcm` (`said`), what is noted of the conversation (`noted`), the model's events
(`heard`), and the gateway's words (`reached`). A turn's record is whole when the client has begun to play the answer; as
most clients do not say so, it is also closed a while after the last thing that is known of it, or by the next turn. Each
call gives the records that are closed by it.

The end of speech, the first byte and the playback are of the gateway's clock; commit and first delta of this machine's.
So the sum is exact also where the clocks of two machines differ, and only how it is split is not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from realtime_bridge import server_events as hear
from streams import pcm, turns
from streams.ids import EntryId
from streams.messages import ClientEvent, Text
from streams.timing import Reached
from streams.up import UtteranceEnd

REMEMBERED = 256
"""Entries of `pcm` whose time is known: five seconds of frames of 20 ms. A model's turn detection looks back one or two."""

REMEMBERED_WORDS = 16

ANSWERED_WITHIN_MS = 60_000
"""A turn of which nobody has said a word for so long is not answered."""

WRITTEN_WITHIN_MS = 10_000
"""An answer whose first sound has not reached a wire after so long has no client."""

PLAYED_WITHIN_MS = 3_000
"""A client that says when it plays has said so by then."""


STAGES = ("commit", "model", "delivery", "playback")
"""Each ends with the time of its place among those of a turn."""


@dataclass(slots=True)
class _Turn:
    item: str
    said_ms: int | None
    committed_ms: int | None
    deadline_ms: int
    responses: set[str] = field(default_factory=set)
    """that have begun since"""
    response: str = ""
    answer: str = ""
    first_delta_ms: int | None = None
    first_byte_ms: int | None = None
    playback_ms: int | None = None

    def record(self) -> turns.Timed:
        return turns.Timed(
            self.item,
            self.response,
            self.answer,
            self.said_ms,
            self.committed_ms,
            self.first_delta_ms,
            self.first_byte_ms,
            self.playback_ms,
        )


class TurnTimes:
    """Those of one session."""

    def __init__(self) -> None:
        self._times: deque[tuple[EntryId, int]] = deque(maxlen=REMEMBERED)
        self._words: deque[tuple[EntryId, bool]] = deque(maxlen=REMEMBERED_WORDS)
        """entries that say something in words, and whether they want an answer"""
        self._turn: _Turn | None = None

    @property
    def deadline_ms(self) -> int | None:
        """When `overdue` wants to be called."""
        return None if self._turn is None else self._turn.deadline_ms

    def said(self, entry: EntryId, message: pcm.PcmMessage, since_ms: int) -> None:
        """An entry of `pcm`, and when the client's part of it was there; 0: unknown."""
        if isinstance(message, UtteranceEnd):
            since_ms = message.arrived_ms
        elif isinstance(message, Text | ClientEvent):
            is_asking = isinstance(message, ClientEvent) or (message.role == "user" and message.respond)
            self._words.append((entry, is_asking))
        if since_ms:
            self._times.append((entry, since_ms))

    def noted(self, note: turns.TurnsMessage, now_ms: int) -> list[turns.Timed]:
        """What was noted of the conversation."""
        match note:
            case turns.Committed(item=item, pcm_id=pcm_id):
                entry = EntryId.parse(pcm_id)
                is_asking = next((is_asking for words, is_asking in self._words if words == entry), None)
                if is_asking is False:
                    return []
                closed = self.close()
                committed_ms = now_ms if is_asking is None else None  # words are an item at once
                self._turn = _Turn(item, self._said_at(entry), committed_ms, now_ms + ANSWERED_WITHIN_MS)
                return closed
            case turns.Removed(item=item) if self._turn is not None and self._turn.item == item:
                self._turn = None  # it is said again, as part of another
        return []

    def heard(self, event: hear.ServerEvent | hear.Unknown, now_ms: int) -> None:
        """An event of the model's."""
        turn = self._turn
        if turn is None or turn.first_delta_ms is not None:
            return
        if isinstance(event, hear.ResponseOutputAudioDelta):
            if event.response_id in turn.responses:
                turn.response, turn.answer, turn.first_delta_ms = event.response_id, event.item_id, now_ms
                turn.deadline_ms = now_ms + WRITTEN_WITHIN_MS
        elif isinstance(event, hear.ResponseCreated):
            turn.responses.add(event.response.id)

    def reached(self, reached: Reached, now_ms: int) -> list[turns.Timed]:
        """The client's gateway says how far the answer is."""
        turn = self._turn
        if turn is None or not turn.response or reached.response != turn.response:
            return []
        if reached.what == "written" and turn.first_byte_ms is None:
            turn.first_byte_ms = reached.at_ms
            turn.deadline_ms = now_ms + PLAYED_WITHIN_MS
        elif reached.what == "played" and turn.playback_ms is None:
            turn.playback_ms = reached.at_ms
        return self.close() if turn.playback_ms is not None and turn.first_byte_ms is not None else []

    def overdue(self, now_ms: int) -> list[turns.Timed]:
        """A deadline may have passed."""
        return self.close() if self._turn is not None and now_ms >= self._turn.deadline_ms else []

    def close(self) -> list[turns.Timed]:
        """Nothing more is waited for: the turn that is open, if there is one."""
        turn, self._turn = self._turn, None
        return [] if turn is None else [turn.record()]

    def _said_at(self, entry: EntryId) -> int | None:
        return next((since_ms for known, since_ms in reversed(self._times) if known <= entry), None)


def stages(timed: turns.Timed) -> dict[str, int]:
    """What each stage took, of those that are known, in ms: by the names that logs and metrics have for them."""
    marks = zip(STAGES, (timed.committed_ms, timed.first_delta_ms, timed.first_byte_ms, timed.playback_ms), strict=True)
    found: dict[str, int] = {}
    before = timed.said_ms
    for name, at_ms in marks:
        if at_ms is None and name == "commit":
            continue  # words are not committed
        if at_ms is not None and before is not None:
            found[name] = at_ms - before
        before = at_ms
    return found
