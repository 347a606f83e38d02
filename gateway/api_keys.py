"""PURE. Keys that are shown as they are: of the app's own backend, of operators, and of those who may listen."""

from __future__ import annotations

import hashlib
import hmac

MIN_KEY_CHARS = 32
"""As of a secret of tokens: a shorter one can be found by trying."""


class ApiKeys:
    """Those that are valid at the moment: while they are rotated, several."""

    def __init__(self, keys: str) -> None:
        """`keys`: of a setting, with blanks between; none: nobody has one. Raises ValueError, a sentence."""
        if any(len(key) < MIN_KEY_CHARS for key in keys.split()):
            sentence = f"a key must have at least {MIN_KEY_CHARS} characters, and several have blanks between"
            raise ValueError(f"{sentence}; make one with `openssl rand -hex 32`")
        self._digests = tuple(_digest(key) for key in keys.split())

    def __bool__(self) -> bool:
        return bool(self._digests)

    def have(self, shown: str) -> bool:
        """Whether it is one of them. How long that takes says nothing of how much of it is right."""
        digest = _digest(shown)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
