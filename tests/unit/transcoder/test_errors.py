"""Errors that cross from the child to the worker, and what they say."""

from __future__ import annotations

import pytest

from transcoder.errors import (
    BrokenMedia,
    DecoderBusy,
    DecoderFailed,
    Empty,
    MediaError,
    NotAudio,
    TooLarge,
    TooLong,
    UnsupportedMedia,
    rebuild,
)

ALL = [
    Empty(),
    NotAudio("this is a ZIP archive"),
    UnsupportedMedia("this is a WebM file"),
    BrokenMedia("cut off"),
    TooLarge(20_000_000, 16_000_000),
    TooLong(130.5, 120.0),
    TooLong(121.0, 120.0, at_least=True),
    TooLong(121.0, 12.0, wait_s=109.0),
    DecoderFailed("it died"),
    DecoderBusy(),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.code)
def test_a_copy_says_the_same(error: MediaError) -> None:
    """rebuild makes the same error from what crosses the wire."""
    copy = rebuild(error.code, str(error), error.facts())
    assert type(copy) is type(error)
    assert (copy.code, str(copy), copy.facts()) == (error.code, str(error), error.facts())
    assert copy.message == str(error)


@pytest.mark.parametrize("code", ["", "nonsense", "media_error", "too_long", "too_large"])
def test_nonsense_is_no_error_of_ours(code: str) -> None:
    with pytest.raises(ValueError, match="no such media error"):
        rebuild(code, "a sentence", {})


def test_too_long_says_how_much_and_when() -> None:
    error = TooLong(100.0, 20.0)
    assert "100.0 s of audio and 20.0 s are allowed now" in str(error)
    assert "in 80 s" in str(error.fits_in(80.0))
    assert "never" in str(error.fits_in(None))
    assert "more than 20.0 s" in str(TooLong(20.01, 20.0, at_least=True))


def test_whose_fault_it_is() -> None:
    assert BrokenMedia("x").fault == "client"
    assert DecoderFailed("x").fault == "server"
    assert DecoderFailed("x").recoverable
    assert not NotAudio("x").recoverable
