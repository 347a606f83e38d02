"""PURE. Which words of an answer that broke off were heard: those of its sound that came.

No server aligns words with sound, and the words come ahead of it, nobody says how far. So the estimate is

    letters heard = letters so far × heard / received,   and at most `LETTERS_A_SECOND` for each second heard

cut back to the end of a word. The bound is what keeps words that came ahead from counting as heard: fast speech has some 20
letters a second. A part that is complete needs no bound; there the proportion is as good as speech is even.
"""

from __future__ import annotations

from realtime_bridge.heard_text import heard_text

LETTERS_A_SECOND = 20.0


def heard_so_far(text: str, heard_ms: float, received_ms: float) -> str:
    """The beginning of `text` that was heard, when neither all words nor all sound of the part have come."""
    letters = len(text) * min(1.0, heard_ms / received_ms) if received_ms > 0 else 0.0
    return heard_text(text, min(letters, heard_ms / 1000 * LETTERS_A_SECOND), len(text))
