"""PURE. The items of the default conversation, in order."""

from __future__ import annotations

from simulator.errors import InvalidValue, NotTruncatable, UnknownCall, UnknownItem, UnknownPreviousItem
from simulator.items import Item

ROOT = "root"
"""As previous_item_id: in front of all others."""
KEPT_AUDIO = 2 * 1024 * 1024
"""Bytes of audio a conversation keeps for `conversation.item.retrieve`: some 40 s. Beyond that the oldest are forgotten,
for there may be thousands of conversations."""


class Conversation:
    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: list[Item] = []

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(self._items)

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def find(self, item_id: str) -> Item | None:
        return next((item for item in reversed(self._items) if item.id == item_id), None)

    def get(self, item_id: str, verb: str) -> Item:
        """Raises UnknownItem; `verb` is what was to be done: retrieve, delete or truncate."""
        item = self.find(item_id)
        if item is None:
            raise UnknownItem(verb, item_id)
        return item

    def previous_id(self, item: Item) -> str | None:
        index = self._items.index(item)
        return self._items[index - 1].id if index else None

    def append(self, item: Item) -> None:
        self._items.append(item)
        self._forget_oldest_audio()

    def insert(self, item: Item, previous_item_id: str | None) -> None:
        """After that item; at the end for None, in front for ROOT. Raises Refused."""
        if self.find(item.id) is not None:
            raise InvalidValue(f"An item with the id '{item.id}' already exists.", "item.id")
        if item.type == "function_call_output" and not self._has_call(str(item.body["call_id"])):
            raise UnknownCall(str(item.body["call_id"]))
        self._items.insert(self._index_after(previous_item_id), item)
        self._forget_oldest_audio()

    def delete(self, item_id: str) -> None:
        self._items.remove(self.get(item_id, "delete"))

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut the audio of what the assistant said; its transcript goes, since nobody knows which words were cut."""
        item = self.get(item_id, "truncate")
        if item.role != "assistant" or item.sound is None or content_index != item.sound_part or not item.sound.length:
            raise NotTruncatable
        if audio_end_ms > item.sound.ms:
            raise InvalidValue(
                f"Audio content of {int(item.sound.ms)}ms is already shorter than {audio_end_ms}ms.", "audio_end_ms"
            )
        item.sound.cut(audio_end_ms)
        item.parts[content_index].pop("transcript", None)

    def _has_call(self, call_id: str) -> bool:
        return any(item.type == "function_call" and item.body.get("call_id") == call_id for item in self._items)

    def _index_after(self, previous_item_id: str | None) -> int:
        if previous_item_id is None:
            return len(self._items)
        if previous_item_id == ROOT:
            return 0
        previous = self.find(previous_item_id)
        if previous is None:
            raise UnknownPreviousItem(previous_item_id)
        return self._items.index(previous) + 1

    def _forget_oldest_audio(self) -> None:
        kept = 0
        for item in reversed(self._items):
            if item.sound is not None and item.sound.pieces is not None:
                kept += item.sound.length
                if kept > KEPT_AUDIO:
                    item.sound.pieces = None
