"""PURE. What happens in a session, in lines for a person. Sound comes ten times a second: it has a line for each second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TOLD_EACH_MS = 1_000
"""Of sound."""

_HIDDEN = frozenset({"side", "id", "kind", "type", "event", "event_id", "item", "response", "part", "audio"})


class Narrator:
    """Of one session."""

    def __init__(self) -> None:
        self._side, self._ms = "", 0.0

    def told(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """The lines that this entry makes."""
        side = str(entry["side"])
        if entry["kind"] == "audio":
            if side != self._side:
                yield from self.rest()
            self._side, self._ms = side, self._ms + float(entry["ms"])
            if self._ms >= TOLD_EACH_MS:
                yield from self.rest()
            return
        if str(entry.get("type", "")).endswith(".delta") and _words(entry) is None:
            return  # a word that is not shown, as often as sound comes
        yield from self.rest()
        yield f"{_ARROWS[side]} {_sentence(entry)}"

    def rest(self) -> Iterator[str]:
        """Of sound that has no line yet."""
        if self._ms:
            yield f"{_ARROWS[self._side]} {self._ms / 1000:.1f} s of sound"
        self._side, self._ms = "", 0.0


_ARROWS = {"user": "▶", "model": "◀"}


def _sentence(entry: Mapping[str, Any]) -> str:
    words = _words(entry)
    more = [f"{name} {_short(value)}" for name, value in entry.items() if name not in _HIDDEN and value not in ("", None)]
    about = [f"“{words}”"] if words is not None else more
    return " · ".join([str(entry.get("type") or entry["kind"]), *([", ".join(about)] if about else [])])


def _words(entry: Mapping[str, Any]) -> str | None:
    event = entry.get("event")
    for place in (event if isinstance(event, dict) else {}, entry):
        for name in ("transcript", "delta", "text"):
            if isinstance(place.get(name), str):
                return str(place[name])
    return None


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items() if isinstance(each, int | float | str))
    return str(value)
