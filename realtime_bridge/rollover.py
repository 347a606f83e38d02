"""PURE. When to leave a socket whose time runs out, ahead of its server.

```
  opened ─────────── any time ───────────▶ from: at the first quiet moment ─────▶ at_latest: now ──▶ expires
```
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST_LOOK_S = 300.0
"""So long before the end, at most, a quiet moment is good enough. In shorter sessions it is the last quarter."""

LATEST_S = 30.0
"""So long before the end it happens anyway: a dial, with what may go wrong in it, has to fit in. At most a tenth."""

LOOK_EVERY_S = 0.25


class Window(NamedTuple):
    """In seconds from now."""

    look_from: float
    at_latest: float


def window(expires_in_s: float | None, max_age_s: float | None) -> Window | None:
    """When to roll over. `expires_in_s`: what the server says, None or nonsense (its clock is not ours) for nothing;
    `max_age_s`: what the operator says, None for nothing. None: never."""
    said = [each for each in (expires_in_s, max_age_s) if each is not None and each > 0]
    if not said:
        return None
    end = min(said)
    return Window(end - min(LONGEST_LOOK_S, end / 4), end - min(LATEST_S, end / 10))


def wait_s(tries: int, left_s: float) -> float:
    """After so many dials of which nothing came: longer each time, but not past the last moment, `left_s` from now. From
    then on each second."""
    return max(0.0, min(2.0**tries, 30.0, left_s)) if left_s > 0 else 1.0
