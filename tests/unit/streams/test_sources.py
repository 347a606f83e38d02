"""What a client may say that it sends."""

from __future__ import annotations

import pytest

from streams.sources import is_chunked, read_chunked
from transcoder.errors import UnsupportedMedia
from transcoder.stream import demuxer_for


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("stream", "stream"),
        ("opus", "opus"),
        ("pcm_f32le 48000 2", "pcm_f32le 48000 2"),
        ("pcm_mulaw  8000", "pcm_mulaw 8000 1"),
        ("pcm_s16le 96000 8", "pcm_s16le 96000 8"),
    ],
)
def test_what_there_is(said: str, source: str) -> None:
    """And the transcoder takes it."""
    assert read_chunked(said) == source
    assert is_chunked(source)
    demuxer_for(source)


@pytest.mark.parametrize(
    "said",
    ["", "files", "pcm16", "pcm16 16000", "webm", "opus 48000", "stream 1", "pcm_s16le", "pcm_s16le 7999", "pcm_s24le 48000",
     "pcm_s16le 48000 9", "pcm_s16le 48000 0", "pcm_s16le 48000 1 1", "pcm_s16le x",
     "pcm_s16le \u0664\u0668\u0660\u0660\u0660"],
)  # fmt: skip
def test_what_there_is_not(said: str) -> None:
    assert read_chunked(said) is None


@pytest.mark.parametrize("source", ["pcm_s24le 48000", "opus 48000", "webm"])
def test_a_gen_with_another_source_is_refused_by_the_transcoder(source: str) -> None:
    assert is_chunked(source)
    with pytest.raises(UnsupportedMedia):
        demuxer_for(source)


@pytest.mark.parametrize("source", ["files", "pcm16", "pcm16 16000"])
def test_what_is_not_in_chunks(source: str) -> None:
    assert not is_chunked(source)
