"""Which words count as heard."""

from __future__ import annotations

import pytest

from realtime_bridge.heard_text import heard_so_far

WORDS = "one two three four five"


@pytest.mark.parametrize(
    ("heard_ms", "received_ms", "text"),
    [
        (0, 1_000, ""),
        (2_000, 2_000, WORDS),
        (3_000, 2_000, WORDS),  # nobody hears more than there was
        (1_000, 2_000, "one two"),
        (600, 600, "one two"),  # the words are ahead of the sound: 12 letters at most
        (50, 1_000, ""),
    ],
)
def test_as_much_as_the_sound_that_was_heard(heard_ms: int, received_ms: int, text: str) -> None:
    """In proportion, cut back to the end of a word, and not faster than anybody speaks."""
    assert heard_so_far(WORDS, heard_ms, received_ms) == text


def test_a_script_without_blanks_is_cut_anywhere() -> None:
    """There is no end of a word to be found."""
    assert heard_so_far("早上好今天天气很好", 500, 1_000) == "早上好今"
