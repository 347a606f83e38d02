"""The first event of an un-numbered writer must not be skipped by the second."""

from __future__ import annotations

from secrets import token_hex

from streams import codec, pcm
from streams.keys import marks_of
from streams.sessions import Session
from streams.writer import Writer


async def test_the_second_event_does_not_overtake_the_first(writer: Writer, session: Session) -> None:
    """Event 1 had no luck (OOM, LOADING, a fail-over between two commands of a pipeline); event 2 got through."""
    stream, mark = session.keys.pcm, token_hex(4)
    two = codec.encode(pcm.Audio(b"22"))
    what, _ = await writer.append(stream, marks_of(stream), (b"marked", mark, 2, 2), two)
    assert what == b"want"
    one = codec.encode(pcm.Audio(b"11"))
    what, _ = await writer.append(stream, marks_of(stream), (b"marked", mark, 1, 1), one)
    assert what == b"ok"  # today: "stored", and its audio is nowhere
