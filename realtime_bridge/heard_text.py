"""PURE. Which words of an answer somebody has heard whose audio was cut off.

No server aligns words with sound (the model drops a truncated item's transcript for that reason), so letters are taken to be
spread evenly over it, and a word that is cut was not heard. Of an answer that broke off, the words come ahead of the sound,
nobody says how far:

    letters heard = letters so far × heard / received,   and at most `LETTERS_A_SECOND` for each second heard

The bound is what keeps words that came ahead from counting as heard: fast speech has some 20 letters a second. A part that
is complete needs no bound; there the proportion is as good as speech is even.
"""

from __future__ import annotations

LETTERS_A_SECOND = 20.0


def heard_text(text: str, heard_ms: float, spoken_ms: float) -> str:
    """The words of `text` that were heard, when `heard_ms` of its `spoken_ms` of audio were."""
    if spoken_ms <= 0 or heard_ms <= 0:
        return ""
    length = int(len(text) * heard_ms / spoken_ms)
    if length >= len(text):
        return text
    head = text[:length]
    if text[length].isspace() or head[-1:].isspace():
        return head.rstrip()
    words = head.rsplit(maxsplit=1)  # the last one is cut; where there are no spaces, as in Chinese, nothing is a word
    if len(words) == 2:
        return words[0].rstrip()
    return head if not any(letter.isspace() for letter in text) else ""


def heard_so_far(text: str, heard_ms: float, received_ms: float) -> str:
    """The beginning of `text` that was heard, when neither all words nor all sound of the part have come."""
    letters = len(text) * min(1.0, heard_ms / received_ms) if received_ms > 0 else 0.0
    return heard_text(text, min(letters, heard_ms / 1000 * LETTERS_A_SECOND), len(text))
