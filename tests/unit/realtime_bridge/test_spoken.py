"""Where in `pcm` each sample of the model's input came from."""

from __future__ import annotations

import pytest

from realtime_bridge.spoken import START, Position, Spoken
from streams.ids import EntryId

FIRST, SECOND = EntryId(1, 1), EntryId(1, 2)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (0, None),
        (1, Position(FIRST, 6)),
        (100, Position(FIRST, 105)),
        (101, Position(FIRST, 105)),  # silence of ours belongs to nobody: what came before it is meant
        (150, Position(FIRST, 105)),
        (151, Position(SECOND, 1)),
        (200, Position(SECOND, 50)),
        (230, Position(SECOND, 50)),
        (231, None),
    ],
)
def test_each_sample_has_its_place(sample: int, expected: Position | None) -> None:
    """A hundred samples behind five that were dealt with before, 50 of silence, 50 more, and silence again."""
    spoken = Spoken()
    spoken.appended(FIRST, 100, skipped=5)
    spoken.inserted(50)
    spoken.appended(SECOND, 50)
    spoken.inserted(30)
    assert spoken.at(sample) == expected


@pytest.mark.parametrize(("skipped", "expected"), [(0, Position(FIRST, 0)), (7, Position(SECOND, 7))])
def test_what_comes_before_the_first_sample(skipped: int, expected: Position) -> None:
    """Whoever goes on behind it misses nothing: an entry of which no samples are named counts as dealt with."""
    spoken = Spoken()
    assert spoken.first == START
    spoken.appended(SECOND, 100, skipped)
    assert spoken.first == expected
