"""PURE. What came back, beside what came when the call was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TypeVar

import numpy as np

from cli.replay.call import RATE, Call, Said, Samples

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """One answer then, and the one that came in its place; None where there is none."""

    then_s: float | None
    now_s: float | None
    alike: float | None
    """of the sound, 0 to 1: the peak of the cross-correlation of what both have"""
    words: float | None
    """of the text, 0 to 1"""


@dataclass(frozen=True)
class Comparison:
    user_s: float
    turns: list[Turn]
    user_words: float | None
    """how much what was understood is the same, 0 to 1; None when one of them says nothing of it"""
    then: Said
    now: Said

    @property
    def good(self) -> bool:
        """As many answers came back as there were."""
        return bool(self.now.answers) and len(self.now.answers) == len(self.then.answers)


def compare(call: Call, now: Said) -> Comparison:
    then = call.then
    turns = []
    for at in range(max(len(then.answers), len(now.answers))):
        old, new = _at(then.answers, at), _at(now.answers, at)
        turns.append(
            Turn(
                None if old is None else len(old) / RATE,
                None if new is None else len(new) / RATE,
                None if old is None or new is None else alike(old, new),
                same_words(_at(then.model_words, at), _at(now.model_words, at)),
            )
        )
    understood = same_words(" ".join(then.user_words) or None, " ".join(now.user_words) or None)
    return Comparison(call.seconds, turns, understood, then, now)


def alike(old: Samples, new: Samples) -> float:
    """Wherever in each other they lie."""
    a, b = old.astype(np.float64), new.astype(np.float64)
    if len(a) < len(b):
        a, b = b, a
    if not len(b) or not b.any():
        return 0.0
    length = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.irfft(np.fft.rfft(a, length) * np.conj(np.fft.rfft(b, length)), length)
    places = product[: len(a) - len(b) + 1]
    at = int(np.argmax(places))
    there = a[at : at + len(b)]
    power = float(np.sqrt((there @ there) * (b @ b)))
    return round(float(places[at]) / power, 3) if power else 0.0


def same_words(old: str | None, new: str | None) -> float | None:
    if old is None or new is None:
        return None
    return round(SequenceMatcher(None, old.split(), new.split()).ratio(), 3)


def _at(things: list[T], at: int) -> T | None:
    return things[at] if at < len(things) else None
