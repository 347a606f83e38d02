"""PURE. What somebody has heard of a text whose audio was cut off."""

from __future__ import annotations


def heard_text(text: str, heard_ms: float, spoken_ms: float) -> str:
    """The words of `text` that were heard, when `heard_ms` of its `spoken_ms` of audio were.

    No alignment of words and audio exists (the model drops a truncated item's transcript for that reason), so they are
    taken to be spread evenly: of n characters n · heard / spoken were heard, and a word that is cut was not.
    """
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
