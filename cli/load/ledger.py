"""PURE. What one session has said, what the model was asked with it, and what was heard of the answers: frame by frame.

What has become of each frame is for `judgement.py` to count.

    sent ──▶ asked ──▶ heard          a frame by its number; numbers rise as they are spoken, a gap in them is nobody's loss
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cli.load.alignment import Seam
from cli.load.coding import Frame
from cli.load.sound import Samples


@dataclass
class Break:
    """A time in which this client may have had nobody to talk to."""

    cause: str
    begin: float
    end: float | None = None
    """when it was connected again; None while it is not"""
    loses: bool = True
    """its connection is gone, and what is sent meanwhile with it"""
    is_ahead: bool = False
    """its connection is about to go, and is as good as ever until then: what is sent away is listened to"""

    def takes(self, sent_at: float) -> bool:
        """Whether what was sent then is lost with the connection."""
        return self.loses and self.begin <= sent_at and (self.end is None or sent_at < self.end)


@dataclass
class Ledger:
    """Times are seconds of one clock."""

    session: int
    sent: dict[int, float] = field(default_factory=dict)
    asked: list[list[int]] = field(default_factory=list)
    """the frames of each utterance that the model was asked with"""
    given_up: set[int] = field(default_factory=set)
    """frames of requests that were given up: the network may bring one later, behind what was said since"""
    continued: list[set[int]] = field(default_factory=list)
    """the frames of each utterance with whose answer the model was asked to go on: it has nothing more to say of them"""
    heard: list[tuple[float, int]] = field(default_factory=list)
    foreign_up: int = 0
    """frames of others in what the model heard from this session"""
    foreign_down: int = 0
    broken_up: int = 0
    """places in what the model heard where something else stood than a frame"""
    broken_down: int = 0
    breaks: list[Break] = field(default_factory=list)
    announced: list[tuple[float, str]] = field(default_factory=list)
    """gaps that this client was told of"""
    troubles: list[str] = field(default_factory=list)
    """what else it was told, or ran into"""
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """times in which the harness stood still: what it had sent before was no further at their end"""
    is_alone: bool = False
    """nobody sees what the model was asked: it counts as asked with all that was sent"""
    is_coded: bool = False
    """what it says is compressed or resampled: its frames are known by where the sound of them stands (`alignment.py`)"""
    spoken: int = 0
    """of a coded one: frames that it has spoken, sent or not"""
    seams_up: list[Seam] = field(default_factory=list)
    """of a coded one: where something was moved in an utterance that the model was asked with"""
    seams_down: list[tuple[float, Seam]] = field(default_factory=list)
    """of a coded one: between all stretches that were heard"""
    unknown_down: list[Samples] = field(default_factory=list)
    """of a coded one: sound that was heard and is none of its own"""
    recorded: list[tuple[float, int]] = field(default_factory=list)
    """of a recorder that goes on while the line is broken: when it gave how many frames, silence too"""
    announced_ms: float = 0.0
    """how much was missing, as far as the client was told"""
    unanswered: int = 0
    """turns of which the model heard something, and whose answer did not become whole in time"""

    def gone(self, now: float) -> None:
        """Its connection has ended: what was ahead begins now."""
        for each in self.breaks:
            if each.is_ahead and each.end is None:
                each.begin, each.is_ahead = now, False

    def say(self, first: int, count: int, now: float) -> None:
        self.sent.update(dict.fromkeys(range(first, first + count), now))
        if self.is_alone:
            self.asked.append(list(range(first, first + count)))

    def ask(self, frames: Iterable[Frame], broken: int, seams: Iterable[Seam] = ()) -> None:
        """The model was asked with this."""
        self.seams_up += seams
        ours = [frame.number for frame in frames if frame.session == self.session]
        self.foreign_up += sum(frame.session != self.session for frame in frames)
        self.broken_up += broken
        self.asked.append(ours)

    def go_on(self, frames: Iterable[Frame]) -> None:
        """The model was asked to go on with its answer to this."""
        self.continued.append({frame.number for frame in frames if frame.session == self.session})

    def goes_on(self, numbers: range) -> bool:
        """Whether the model was asked to go on with an answer to some of these frames."""
        return any(number in numbers for utterance in self.continued for number in utterance)

    def hear(self, frames: Iterable[Frame], now: float) -> None:
        for session, number in frames:
            if session == self.session:
                self.heard.append((now, number))
            else:
                self.foreign_down += 1

    def is_answered(self, numbers: range) -> bool:
        """Whether the model was asked with some of these frames, and all of those were heard."""
        latest = self.asked[-4 * len(numbers) :]
        asked = {number for utterance in latest for number in utterance if number in numbers}
        return bool(asked) and asked <= {number for _, number in self.heard[-4 * len(numbers) :]}
