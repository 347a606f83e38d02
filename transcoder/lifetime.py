"""PURE. How long a decoder child is kept.

What hostile bytes may have left in one ends with it, and so does what libraries leak. A new one is started before the
old one goes, so nobody waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    seconds: float = 600.0
    files: int = 2_000
    """whole files that it decodes; of streams only the time counts"""
    grace_s: float = 60.0
    """how long a child that takes no new streams waits for those that it has; then they go on in another one"""

    def is_over(self, age_s: float, files: int) -> bool:
        return age_s >= self.seconds or files >= self.files


USUAL = Lifetime()
