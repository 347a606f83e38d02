"""Where in `pcm` each sample of the model's input came from."""

from __future__ import annotations

import pytest

from realtime_bridge.spoken import Position, Spoken
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
