"""PURE. Ids in the shapes seen on the wire: a prefix and 21 letters and digits."""

from __future__ import annotations

import string
from random import Random

_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """Makes ids; give it a seeded Random and it makes the same ones again."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def new(self, prefix: str) -> str:
        """Such as `item_` and 21 characters."""
        return f"{prefix}_{self._letters(21)}"

    def call(self) -> str:
        """A call id: `call_` and 16 characters; the reference allows at most 32 in all."""
        return f"call_{self._letters(16)}"

    def obfuscation(self) -> str:
        """The 11 to 14 letters that text deltas carry so that their length tells nothing."""
        return self._letters(self._random.randint(11, 14))

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_ALPHABET, k=count))
