"""PURE. The user's half: speech on its way to the model, and where a turn ends.

A streaming client's speech goes upstream as it comes. A client that sends whole recordings has them held here until their
end is there, because only then is it known what they are: a turn of their own, or a slice of one speech (`slices.py`).
Slices are said to the model as one: what was committed too early is taken back (its item deleted) and appended again from
`pcm`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from realtime_bridge.answers import Answers
from realtime_bridge.client_events import ConversationItemDelete, InputAudioBufferClear, InputAudioBufferCommit
from realtime_bridge.effects import Effect, Reappend, Record, Say, Send, SendAudio, Trim
from realtime_bridge.slices import Kind, Slices
from realtime_bridge.spoken import SAMPLES_PER_MS, START, Position, Spoken
from realtime_bridge.unwritten import UnwrittenTurns
from streams import down, pcm, turns
from streams.ids import ZERO, EntryId, just_before

MIN_COMMIT_SAMPLES = 100 * SAMPLES_PER_MS
"""The API refuses to commit less than 100 ms."""

MAX_OPEN_SAMPLES = 120_000 * SAMPLES_PER_MS
"""An utterance that is open for two minutes is committed: nothing is kept for ever."""

KEEP_UNSPOKEN_SAMPLES = 15_000 * SAMPLES_PER_MS
"""While the VAD hears no speech, so much of what was sent is kept."""

UNSPOKEN_TAIL_SAMPLES = 2_000 * SAMPLES_PER_MS
"""The VAD may be about to hear speech that has begun in here: another socket hears it again."""

ENDING_SAMPLES = 15_000 * SAMPLES_PER_MS
"""So much may be said after the end of a turn before it is an item, or never becomes one."""

FORGET_SAMPLES = 5_000 * SAMPLES_PER_MS
"""And so much more before it is let go: a trim costs two commands, which is too much for every frame."""

SLICES_END_AFTER_S = 1.5
"""A series of slices whose next one is this late has ended, though no silence said so."""

BYTES_PER_SAMPLE = 2

BEFORE_SPEECH_MS = 300
"""Of what came before the beginning that the VAD names is kept as part of a turn: not every server counts its padding in."""

END_OF_SPEECH = bytes(800 * SAMPLES_PER_MS * BYTES_PER_SAMPLE)
"""Silence by which the VAD finds the end of a speech whose client fell silent by not sending."""

MAX_GAP_MS = 300
"""A hole becomes at most this much silence, lest it end the user's turn."""


@dataclass(slots=True)
class Recording:
    """One whole recording, from its first entry in `pcm` to its commit and its item."""

    after: EntryId
    """the entry before its first one"""
    spans: list[tuple[EntryId, int]] = field(default_factory=list)
    """its entries, and how many samples each"""
    audio: list[bytes] = field(default_factory=list)
    """not sent yet"""
    end: EntryId = ZERO
    """the entry that says that it is whole"""
    item: str | None = None
    taken_back: bool = False
    """its item is to be deleted as soon as it is known"""

    @property
    def samples(self) -> int:
        return sum(samples for _, samples in self.spans)


class UserSpeech:
    """The speech that goes up one upstream socket."""

    def __init__(
        self,
        answers: Answers,
        configure: Callable[[], Effect],
        unwritten: UnwrittenTurns,
        begin: Position,
        *,
        recordings: bool,
        responds: bool = True,
    ) -> None:
        """`begin`: up to there the speech is in items of sockets before."""
        self.vad = not recordings
        """the model finds the turns"""
        self.deadline: float | None = None
        """when a series of slices counts as ended"""
        self._answers, self._configure, self._unwritten = answers, configure, unwritten
        self._recordings = recordings
        self._responds = responds
        """what is committed by us is answered; else the client asks for what it wants"""
        self._asked: deque[tuple[str, int]] = deque()
        """the client's own commits that are not answered yet, and where on the model's audio clock"""
        self._slices = Slices()
        self._recording: Recording | None = None
        self._speech: list[Recording] = []
        """the last recordings, as far as each continues the one before"""
        self._last_end = ZERO
        """where the last recording ended"""
        self._committing: deque[Recording] = deque()
        self._spoken = Spoken()
        self._committed_at = 0
        """the model's audio clock at the last commit"""
        self.speaking = False
        """the model's VAD hears the user"""
        self._stopped_at: int | None = None
        """the model's audio clock where its VAD heard the end of speech"""
        self._previous_commit = 0
        """the model's audio clock at the end of the turn before the last"""
        self._let_go_to = ZERO
        """in `pcm`"""
        self.committed_to = START
        """up to where the speech is in an item of this socket"""
        self._begin = begin
        self._ends_at: int | None = None
        """the model's audio clock when what was said was over; it is no item yet, and its sound is not let go"""
        self._heard_from: tuple[str, Position] | None = None
        """the item that is being said, as the VAD hears it, and where it begins"""

    # ── from the client ─────────────────────────────────────────────────────────────────────────────────────────────

    def audio(self, entry: EntryId, before: EntryId, audio: bytes, now: float, skipped: int = 0) -> list[Effect]:
        """Speech. `before` is the entry before this one; `skipped` samples of it were dealt with by another bridge."""
        samples = len(audio) // BYTES_PER_SAMPLE
        if self._recordings:
            if self._recording is None:
                self._recording = Recording(after=before)
            self._recording.spans.append((entry, samples))
            self._recording.audio.append(audio)
            return []
        self._spoken.appended(entry, samples, skipped)
        if self._open_samples >= MAX_OPEN_SAMPLES:
            return [SendAudio(audio), *self.commit(entry, now, respond=self._responds)]
        return [SendAudio(audio), *self._forget_unspoken()]

    def gap(self, missing_ms: int) -> list[Effect]:
        """A hole in a streaming client's speech."""
        return [] if self._recordings else [self._silence(bytes(min(missing_ms, MAX_GAP_MS) * 48))]

    def commit(self, entry: EntryId, now: float, *, respond: bool) -> list[Effect]:
        """The turn ends here: the client says so in this entry, or it has been open for too long."""
        if self._open_samples < MIN_COMMIT_SAMPLES:
            return [*self.clear(), _too_short()]
        self._committed_at = self._spoken.clock
        asked = self._answers.answering.want(now, Position(entry, 0)) if respond else []
        return [Send(InputAudioBufferCommit()), *asked]

    def commit_as_asked(self, event_id: str) -> list[Effect]:
        """The client speaks the model's protocol and commits whatever there is: the model answers, or refuses."""
        self._committed_at = self._spoken.clock
        self._asked.append((event_id, self._spoken.clock))
        return [Send(InputAudioBufferCommit(event_id=event_id))]

    def refused(self, event_id: str | None) -> None:
        """If that was the name of a commit, nothing comes of it."""
        self._asked = deque(each for each in self._asked if each[0] != event_id)

    def clear(self, event_id: str | None = None) -> list[Effect]:
        """The client says to forget what is not committed."""
        self._committed_at = self._spoken.clock
        return [Send(InputAudioBufferClear(event_id=event_id))]

    def last_words(self, entry: EntryId, now: float) -> list[Effect]:
        """The client says no more. What it was saying is a turn, if there is anything in it."""
        if self._recordings or not self._open_samples:
            return []
        if self.vad and not self.speaking:
            return [self._silence(END_OF_SPEECH)]  # if there is speech in what was sent last, its end is found now
        self.speaking = False  # of what is committed by us the VAD may hear no end
        # Another bridge, or socket, is to read the goodbye again.
        return (
            self.commit(just_before(entry), now, respond=True) if self._open_samples >= MIN_COMMIT_SAMPLES else self.clear()
        )

    def recording_end(self, entry: EntryId, end: pcm.UtteranceEnd, now: float) -> list[Effect]:
        """A whole recording is there, as this entry says: decide what it is."""
        recording, self._recording = self._recording, None
        if recording is None or recording.samples < MIN_COMMIT_SAMPLES:
            return [_too_short()]
        recording.end = self._last_end = entry
        kind = self._slices.arrived(end.arrived_ms, end.samples // SAMPLES_PER_MS)
        if self.vad and kind is Kind.SLICE:
            self._expect_next_slice(end, now)
            self._speech = [recording]
            return self._send(recording)
        if kind is Kind.SLICE:
            return self._go_over_to_vad(recording, end, now)
        return self._take_turn(recording, now, continues=kind is Kind.CONTINUES)

    def _take_turn(self, recording: Recording, now: float, *, continues: bool) -> list[Effect]:
        """Commit it and ask for an answer. One that goes on where the last one ended may turn out to be a slice."""
        effects = self._answers.interrupt(now)
        if self.vad:
            self.vad, self.deadline = False, None
            effects += [self._configure(), Send(InputAudioBufferClear())]
        if self._speech and not continues:
            effects += self._let_go(recording.after)
            self._speech = []
        self._speech.append(recording)
        return [*effects, *self._send(recording), *self._commit_recording(recording, now)]

    def _go_over_to_vad(self, recording: Recording, end: pcm.UtteranceEnd, now: float) -> list[Effect]:
        """It is a slice, as those before it were: all of them are one speech, whose end the model is to find."""
        self.vad = True
        self._expect_next_slice(end, now)
        effects = [*self._answers.interrupt(now), *self._take_back(), self._configure()]
        self._speech.append(recording)
        return [*effects, *self._append_again(), *self._send(recording)]

    def _take_back(self) -> list[Effect]:
        effects: list[Effect] = []
        for recording in self._speech:
            if recording.item is not None and not recording.taken_back:
                effects += self._delete(recording.item)
            recording.taken_back = True
        return effects

    def _append_again(self) -> list[Effect]:
        *earlier, last = self._speech
        for entry, samples in (span for recording in earlier for span in recording.spans):
            self._spoken.appended(entry, samples)
        return [Reappend(after=earlier[0].after, upto=last.after)] if earlier else []

    def _send(self, recording: Recording) -> list[Effect]:
        for entry, samples in recording.spans:
            self._spoken.appended(entry, samples)
        audio, recording.audio = recording.audio, []
        return [SendAudio(piece) for piece in audio]

    def _commit_recording(self, recording: Recording, now: float) -> list[Effect]:
        self._committing.append(recording)
        self._committed_at = self._spoken.clock
        return [Send(InputAudioBufferCommit()), *self._answers.answering.want(now, Position(recording.end, 0))]

    def _expect_next_slice(self, end: pcm.UtteranceEnd, now: float) -> None:
        self.deadline = now + end.samples / SAMPLES_PER_MS / 1000 + SLICES_END_AFTER_S

    def no_more_slices(self, now: float) -> list[Effect]:
        """The deadline has passed: the user has ended the recording, and an answer is due."""
        self.deadline = None
        if self.speaking:
            return [self._silence(END_OF_SPEECH)]
        return self.commit(self._last_end, now, respond=True) if self._open_samples >= MIN_COMMIT_SAMPLES else []

    def _silence(self, audio: bytes) -> Effect:
        self._spoken.inserted(len(audio) // BYTES_PER_SAMPLE)
        return SendAudio(audio)

    @property
    def _open_samples(self) -> int:
        return self._spoken.clock - self._committed_at

    @property
    def _is_ending(self) -> bool:
        """Not for ever: a server may drop what it has heard without a word."""
        return self._ends_at is not None and self._spoken.clock - self._ends_at < ENDING_SAMPLES

    def _forget_unspoken(self) -> list[Effect]:
        horizon = self._spoken.clock - KEEP_UNSPOKEN_SAMPLES
        if self.speaking or self._is_ending or not self.vad or horizon - self._spoken.oldest < FORGET_SAMPLES:
            return []
        self._committed_at = max(self._committed_at, horizon)
        dropped = self._spoken.forget_before(horizon)
        return [] if dropped is None else self._let_go(dropped)

    def _let_go(self, upto: EntryId) -> list[Effect]:
        """Nobody asks for this sound any more, but for what is no item yet, or has no words."""
        if self._committing:
            upto = min(upto, self._committing[0].after)
        upto = self._unwritten.may_go(upto, self._spoken.clock)
        if upto <= self._let_go_to:
            return []
        self._let_go_to = upto
        return [Trim(upto)]

    def unspoken(self, last: EntryId) -> Position | None:
        """From where another socket would have to hear what was said up to `last`; None while somebody speaks, or
        something is said that is no turn yet."""
        if self._recordings and not self.vad:
            return None if self._recording is not None or self._committing else Position(last, 0)
        if self.speaking or self.deadline is not None or self._asked or self._recording is not None:
            return None
        if not self.vad or not self._open_samples:
            return None if self._open_samples else Position(last, 0)
        tail = max(self._committed_at, self._spoken.clock - UNSPOKEN_TAIL_SAMPLES)
        if self._spoken.oldest == self._spoken.clock:
            return Position(last, 0)
        return self._spoken.at(tail) or self._spoken.first

    # ── from the model ──────────────────────────────────────────────────────────────────────────────────────────────

    def started(self, item: str, audio_start_ms: int | None) -> None:
        """The VAD hears speech, which is going to be this item, from this point of its audio clock on."""
        self.speaking = True
        # Looked up now: before the item is there, so much may be said that this place is forgotten.
        start = None if audio_start_ms is None else self._spoken.at((audio_start_ms - BEFORE_SPEECH_MS) * SAMPLES_PER_MS)
        self._heard_from = None if start is None else (item, start)

    def stopped(self, audio_end_ms: int | None) -> None:
        """The VAD hears its end, at this point of its audio clock."""
        self.speaking, self._ends_at = False, self._spoken.clock
        self._stopped_at = None if audio_end_ms is None else audio_end_ms * SAMPLES_PER_MS

    def committed(self, item: str) -> list[Effect]:
        """The input buffer became this item."""
        if self._committing:
            recording = self._committing.popleft()
            recording.item = item
            effects = [self._record(item, Position(recording.end, 0))]
            return [*effects, *self._delete(item)] if recording.taken_back else effects
        asked_at = self._asked.popleft()[1] if self._stopped_at is None and self._asked else self._spoken.clock
        end = asked_at if self._stopped_at is None else min(self._stopped_at, self._spoken.clock)
        start = None if self._stopped_at is None or self._recordings else self._start_of(item)
        self._stopped_at, self._heard_from, self._ends_at = None, None, None
        self._committed_at = max(self._committed_at, end)
        position = Position(self._last_end, 0) if self._recordings else self._spoken.at(end)
        effects = [self._record(item, position, start)] if position is not None else []
        # What was committed now is not answered yet: if this bridge dies, the next one has to say it again.
        dropped = self._spoken.forget_before(self._previous_commit)
        self._previous_commit = end
        return effects if dropped is None or self._recordings else [*effects, *self._let_go(dropped)]

    def _start_of(self, item: str) -> Position | None:
        """Where the VAD has heard this one begin, which it has also heard end."""
        named, start = self._heard_from or ("", None)
        return start if named in ("", item) else None

    def _record(self, item: str, end: Position, start: Position | None = None) -> Effect:
        """An item ends here. `start`: it begins there, and not at the end of the one before."""
        before, self.committed_to = max(self._begin, self.committed_to), max(self.committed_to, end)
        if start is None or not before < start < end:
            self._unwritten.committed(item, before, self._spoken.clock)
            return Record(turns.Committed(item, str(end.entry), end.samples))
        self._unwritten.committed(item, start, self._spoken.clock)
        return Record(turns.Committed(item, str(end.entry), end.samples, str(start.entry), start.samples))

    def _delete(self, item: str) -> list[Effect]:
        self._unwritten.written(item)
        return [Send(ConversationItemDelete(item_id=item)), Record(turns.Removed(item=item))]


def _too_short() -> Say:
    message = "That was shorter than a tenth of a second. Hold the button while you speak, and send it again."
    return Say(down.Failed(code="too_short", message=message))
