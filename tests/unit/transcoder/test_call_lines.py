"""What the track of the user's speech keeps of an entry."""

from __future__ import annotations

from streams import pcm
from streams.messages import Commit
from transcoder import call_lines


def test_speech_was_there_when_its_source_was() -> None:
    """A transcoder that died is relieved after seconds, and all that was said meanwhile comes at once."""
    assert call_lines.said_ms(pcm.Audio(b"ab", offset=7, said_ms=1_000)) == 1_000


def test_what_no_transcoder_made_says_nothing_of_it() -> None:
    assert call_lines.said_ms(pcm.Audio(b"ab")) is None
    assert call_lines.said_ms(Commit()) is None
