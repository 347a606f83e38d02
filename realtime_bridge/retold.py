"""PURE. What a fresh socket was told of the conversation, and what becomes of it when the user interrupts.

An answer may still be heard when the socket that made it is gone. The next one has it as text, under the same name; what is
heard of it cannot be cut in milliseconds there. So it is told again, as far as it was heard, and taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from realtime_bridge import client_events as say
from realtime_bridge.heard_text import heard_so_far, heard_text


class Retold:
    """The items of earlier sockets."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._texts: dict[str, str] = {}
        self._spoken_ms: dict[str, float] = {}

    def named(self, items: Sequence[say.JsonObject]) -> list[say.JsonObject]:
        """Each with a name, by which the model's word of it is known: its own, where it has one, as a client may know it."""
        return [{"id": f"parley_{number}", **item} for number, item in enumerate(items, 1)]

    def has(self, item: str) -> bool:
        """Whether it was said on an earlier socket, or before the session: nobody is to hear again that it is there."""
        return item in self._names

    def told(self, items: Iterable[say.JsonObject], spoken_ms: Mapping[str, float]) -> None:
        """These are created on the socket. `spoken_ms`: how much sound each had, where that is known."""
        self._spoken_ms.update(spoken_ms)
        for item in items:
            self._names.add(item.get("id", ""))
            if item.get("role") == "assistant" and "id" in item:
                self._texts[item["id"]] = " ".join(part.get("text", "") for part in item["content"])

    def as_known(self, event: say.ClientEvent) -> list[say.ClientEvent]:
        """What to say to the model for this event, which may be about an item that it never made."""
        match event:
            case say.ConversationItemTruncate(item_id=item, audio_end_ms=heard_ms) if item in self._texts:
                text = self._texts.pop(item)
                spoken_ms = self._spoken_ms.get(item)
                text = heard_text(text, heard_ms, spoken_ms) if spoken_ms else heard_so_far(text, heard_ms, heard_ms)
                again = say.ConversationItemCreate(item=say.assistant_text(text), previous_item_id=item)
                return [*([again] if text else []), say.ConversationItemDelete(item_id=item)]
            case say.ConversationItemDelete(item_id=item):
                self._texts.pop(item, None)
        return [event]
