"""PURE. What a session has used: the sum of the `Used` entries of its `turns`, for whoever reads them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from streams.turns import Used

NANO_USD = 1_000_000_000
"""In a dollar."""


class Usage(msgspec.Struct, frozen=True):
    """A sum. Cached tokens are contained in those that were read (`…_in`)."""

    responses: int = 0
    transcriptions: int = 0
    text_in: int = 0
    audio_in: int = 0
    image_in: int = 0
    cached_text_in: int = 0
    cached_audio_in: int = 0
    cached_image_in: int = 0
    text_out: int = 0
    audio_out: int = 0
    spoken_ms: int = 0
    """audio that the model has generated"""
    transcribed_ms: int = 0
    """audio whose transcription is billed by time"""
    nano_usd: int = 0
    """billionths of a dollar"""
    unpriced: int = 0
    """responses and transcriptions of which nobody knows what they cost: they are not in `nano_usd`"""

    @property
    def tokens(self) -> int:
        return self.text_in + self.audio_in + self.image_in + self.text_out + self.audio_out

    @property
    def usd(self) -> str:
        """To the last digit: integers only."""
        return f"{self.nano_usd // NANO_USD}.{self.nano_usd % NANO_USD:09d}"

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Spent(msgspec.Struct, frozen=True):
    """Of one day (UTC), by a session or by a user."""

    nano_usd: int = 0
    """billionths of a dollar"""
    ms: int = 0
    """for which sessions lasted"""
    tokens: int = 0
    responses: int = 0
    transcriptions: int = 0
    unpriced: int = 0
    """responses and transcriptions of which nobody knows what they cost"""


DAY_MS = 86_400_000


def day_of(ms: int) -> str:
    """The day (UTC) of a Unix time in milliseconds, as `2026-11-26`."""
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


def by_day(entries: Iterable[Used], started_ms: int, now_ms: int) -> dict[str, Spent]:
    """What a session has spent on each of its days: each entry counts on the day on which the model told of it."""
    days: dict[str, list[Used]] = {day_of(at): [] for at in range(started_ms, now_ms, DAY_MS)}
    days.setdefault(day_of(max(started_ms, now_ms)), [])
    for used in each_once(entries):
        days.setdefault(day_of(used.at_ms), []).append(used)
    spent: dict[str, Spent] = {}
    for day, of_day in days.items():
        begins = round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000
        usage = sum(map(of, of_day), Usage())
        spent[day] = Spent(
            nano_usd=usage.nano_usd,
            ms=max(0, min(now_ms, begins + DAY_MS) - max(started_ms, begins)),
            tokens=usage.tokens,
            responses=usage.responses,
            transcriptions=usage.transcriptions,
            unpriced=usage.unpriced,
        )
    return spent


def of(used: Used) -> Usage:
    """One entry as a sum."""
    spoken = used.of == "response"
    return Usage(
        responses=int(spoken),
        transcriptions=int(not spoken),
        **{name: getattr(used, name) for name in _ALIKE},
        spoken_ms=used.audio_ms if spoken else 0,
        transcribed_ms=0 if spoken else used.audio_ms,
        nano_usd=used.nano_usd or 0,
        unpriced=int(used.nano_usd is None),
    )


def key(used: Used) -> tuple[str, str, int] | None:
    """What is one and the same, however often it is told; None where the model's server gives no names."""
    return (used.of, used.id, used.part) if used.id else None


def each_once(entries: Iterable[Used]) -> list[Used]:
    """In their order, the first of each."""
    known: set[tuple[str, str, int]] = set()
    kept: list[Used] = []
    for used in entries:
        if (name := key(used)) is not None:
            if name in known:
                continue
            known.add(name)
        kept.append(used)
    return kept


def total(entries: Iterable[Used]) -> Usage:
    """What they come to."""
    return sum(map(of, each_once(entries)), Usage())


_ALIKE = sorted(set(Usage.__struct_fields__) & set(Used.__struct_fields__) - {"nano_usd"})
"""Counted in a sum as in an entry: tokens, by what they are."""
