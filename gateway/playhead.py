"""PURE. How far one client is in what it was sent: what a listener has heard, to the millisecond, part by part.

What the client reports counts, and goes on from there in real time. Else the clock does: what is sent is played when all
before it is, and no later than it could have begun; a paced door knows that moment to the sample and says it (`ends_at`).
Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streams import down
from streams.ids import EntryId
from streams.stopping import Played

REMEMBERED_S = 60.0
"""What was played longer ago is forgotten: nobody interrupts it any more."""

REMEMBERED_DROPPED = 64

SAMPLES_PER_MS = 24

_SAME_S = 1e-6
"""Less than a sample."""


@dataclass(slots=True)
class _Sound:
    """A stretch of one part's audio on this client's time line."""

    entry: EntryId
    item: str
    part: int
    from_ms: float
    """where in the part it begins"""
    ms: float
    begins_at: float = 0.0
    """when the listener hears its first sample"""

    def heard_ms(self, now: float) -> float:
        """Of its part, up to here."""
        return self.from_ms + max(0.0, min(self.ms, (now - self.begins_at) * 1000))

    @property
    def ends_at(self) -> float:
        return self.begins_at + self.ms / 1000


def plays_s(message: down.DownMessage, rate: int) -> float:
    """How long the audio in an entry plays, of PCM at this rate, or of packets."""
    match message:
        case down.Audio(audio=audio):
            return len(audio) / 2 / rate
        case down.Coded(packets=packets):
            return packets.seconds
        case down.ServerEvent():
            return sum(end.seconds if end.samples else len(audio) / 2 / rate for end, audio in message.ends())
        case _:
            return 0.0


class Playhead:
    """One connection's. `rate`: samples per second of PCM in what it reads (`down`, or a play stream)."""

    def __init__(self, rate: int = 24_000) -> None:
        self.rate = rate
        self._unsent: deque[_Sound] = deque()
        self._sent: deque[_Sound] = deque()
        self._dropped: dict[tuple[str, int], float] = {}
        """parts of which the rest was never sent, and where that began"""
        self.reports = False
        """the client itself says what it has played"""
        self._last: tuple[_Sound, float] | None = None
        """the furthest that it has said: where, and how many milliseconds of the part"""
        self.on_change: Callable[[float, Played | None, float], None] = lambda since, report, now: None
        """called when what is heard from the moment `since` on is another than before; with the report that says so"""

    @property
    def sent(self) -> Iterable[_Sound]:
        """What is heard when, as far as that is known."""
        return self._sent

    # ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, entry: EntryId, message: down.DownMessage) -> None:
        """An entry is on its way to the client."""
        match message:
            case down.Audio(item=item, part=part, start_ms=start_ms, audio=audio) if audio:
                self._unsent.append(_Sound(entry, item, part, start_ms, len(audio) / 2 / self.rate * 1000))
            case down.Coded(item=item, part=part, packets=packets):
                self._read_packets(entry, item, part, packets)
            case down.ServerEvent(tail=tail) if tail:
                for end, audio in message.ends():
                    if end.samples:
                        self._read_packets(entry, end.item, end.part, end)
                    elif audio:
                        ms = len(audio) / 2 / self.rate * 1000
                        self._unsent.append(_Sound(entry, end.item, end.part, end.position / SAMPLES_PER_MS, ms))
            case _:
                pass

    def _read_packets(self, entry: EntryId, item: str, part: int, packets: down.Packets) -> None:
        """Priming and padding are not heard."""
        end = packets.position + packets.samples * len(packets.sizes)
        end -= packets.padding if isinstance(packets, down.Tail) else 0
        begin = max(0, packets.position)
        if end > begin:
            sound = _Sound(entry, item, part, begin / SAMPLES_PER_MS, (end - begin) / SAMPLES_PER_MS)
            self._unsent.append(sound)

    def wrote(self, entry: EntryId, now: float, ends_at: float | None = None) -> None:
        """All up to and with this entry is sent. `ends_at`: when its last sample is heard, where that is known."""
        sent: list[_Sound] = []
        while self._unsent and self._unsent[0].entry <= entry:
            sent.append(self._unsent.popleft())
        begins_at = max(now, self.busy_until)
        if ends_at is not None:
            begins_at = ends_at - sum(sound.ms for sound in sent) / 1000
        since = begins_at
        for sound in sent:
            sound.begins_at = begins_at
            begins_at = sound.ends_at
            self._sent.append(sound)
        if sent:
            self.on_change(since, None, now)
        while self._sent and self._sent[0].ends_at < now - REMEMBERED_S:
            self._sent.popleft()

    @property
    def busy_until(self) -> float:
        """When the last of what was sent is heard."""
        return self._sent[-1].ends_at if self._sent else 0.0

    # ── what is heard ───────────────────────────────────────────────────────────────────────────────────────────────

    def reported(self, played: Played, now: float) -> None:
        """The client says how far it is: all that is not over by then moves with it. What it has heard stays heard: a report
        of less than an earlier one was overtaken on its way, or is nonsense."""
        self.reports = True
        at = next((at for at, sound in enumerate(self._sent) if _holds(sound, played)), None)
        if at is None or self._goes_back(at, played):
            return
        sound = self._sent[at]
        self._last = sound, played.ms
        late_s = now - (sound.begins_at + (played.ms - sound.from_ms) / 1000)
        for later in list(self._sent)[at:]:
            later.begins_at += late_s
        for earlier in list(self._sent)[:at]:  # what comes before is over
            earlier.begins_at = min(earlier.begins_at, sound.begins_at - earlier.ms / 1000)
        self.on_change(min(sound.begins_at, sound.begins_at - late_s), played, now)

    def _goes_back(self, at: int, played: Played) -> bool:
        if self._last is None:
            return False
        furthest, ms = self._last
        if self._sent[at] is furthest:
            return played.ms < ms
        return any(sound is furthest for sound in list(self._sent)[at + 1 :])

    def heard(self, parts: tuple[tuple[str, int], ...], now: float) -> tuple[tuple[str, int, int], ...]:
        """How many ms of each of these parts were heard, of those that this connection knows of."""
        heard: list[tuple[str, int, int]] = []
        for item, part in parts:
            sounds = [sound for sound in (*self._sent, *self._unsent) if sound.item == item and sound.part == part]
            if sounds:
                heard.append((item, part, round(self._furthest(sounds, now))))
            elif (item, part) in self._dropped:
                heard.append((item, part, round(self._dropped[item, part])))
        return tuple(heard)

    def _furthest(self, sounds: list[_Sound], now: float) -> float:
        """What lies before the first of them, another connection has brought."""
        unsent = {id(sound) for sound in self._unsent}
        begun = [sound.heard_ms(now) for sound in sounds if id(sound) not in unsent and sound.begins_at <= now]
        return max(begun) if begun else min(sound.from_ms for sound in sounds)

    def drop(self, item: str) -> None:
        """What is not sent of it will not be."""
        for sound in self._unsent:
            if sound.item == item:
                self._forget(sound)
        self._unsent = deque(sound for sound in self._unsent if sound.item != item)

    def stop(self, items: set[str], now: float) -> None:
        """The client is silent: nothing of these items is heard from now on."""
        kept: deque[_Sound] = deque()
        for sound in self._sent:
            if sound.item in items and sound.begins_at > now:
                self._forget(sound)
                continue
            if sound.item in items:
                sound.ms = min(sound.ms, (now - sound.begins_at) * 1000)
            kept.append(sound)
        self._sent = kept
        self.on_change(min((each.begins_at for each in kept if each.ends_at >= now - _SAME_S), default=now), None, now)

    def cut(self, item: str, part: int, at_ms: float, now: float) -> None:
        """The client itself has dropped all that it had, when it had heard so much of this part."""
        self.drop(item)
        kept, since = deque[_Sound](), now
        for sound in self._sent:
            if (sound.item, sound.part) == (item, part):
                sound.ms = min(sound.ms, at_ms - sound.from_ms)
                since = min(since, sound.begins_at)
            elif sound.begins_at > now:
                sound.ms = 0.0
            if sound.ms > 0:
                kept.append(sound)
        self._sent = kept
        self.on_change(since, None, now)

    def _forget(self, sound: _Sound) -> None:
        self._dropped.setdefault((sound.item, sound.part), sound.from_ms)
        if len(self._dropped) > REMEMBERED_DROPPED:
            del self._dropped[next(iter(self._dropped))]


def _holds(sound: _Sound, played: Played) -> bool:
    inside = sound.from_ms <= played.ms <= sound.from_ms + sound.ms
    return sound.item == played.item and sound.part == played.part and inside
