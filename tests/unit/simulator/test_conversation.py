from __future__ import annotations

import pytest

from simulator.audio_format import PCM
from simulator.conversation import KEPT_AUDIO, Conversation
from simulator.errors import Refused
from simulator.items import Item, Sound, spoken_by_user


def text_item(item_id: str) -> Item:
    return Item({"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]})


def spoken_item(item_id: str, seconds: float) -> Item:
    sound = Sound(PCM)
    sound.add(bytes(round(seconds * 48_000)))
    part = {"type": "output_audio", "transcript": "Good morning."}
    return Item({"id": item_id, "type": "message", "role": "assistant", "content": [{**part}]}, sound)


def order(conversation: Conversation) -> str:
    return "".join(item.id for item in conversation.items)


def test_insert() -> None:
    """an item goes to the end, to the front, or after another."""
    conversation = Conversation("conv_1")
    for item_id, previous in (("b", None), ("d", None), ("a", "root"), ("c", "b")):
        conversation.insert(text_item(item_id), previous)
    assert order(conversation) == "abcd"
    first, second, *_ = conversation.items
    assert (conversation.previous_id(first), conversation.previous_id(second)) == (None, "a")


@pytest.mark.parametrize(
    ("item", "previous", "code"),
    [
        (text_item("a"), None, "invalid_value"),
        (text_item("b"), "nobody", "item_not_found"),
        (Item({"id": "b", "type": "function_call_output", "call_id": "call_9"}), None, "invalid_tool_call_id"),
    ],
)
def test_insert_refused(item: Item, previous: str | None, code: str) -> None:
    """an id that is taken, a predecessor or a call that is not there: refused, and nothing changes."""
    conversation = Conversation("conv_1")
    conversation.insert(text_item("a"), None)
    with pytest.raises(Refused) as refused:
        conversation.insert(item, previous)
    assert refused.value.code == code
    assert order(conversation) == "a"


def test_delete() -> None:
    """a deleted item is gone, and cannot be deleted again."""
    conversation = Conversation("conv_1")
    conversation.insert(text_item("a"), None)
    conversation.delete("a")
    with pytest.raises(Refused) as refused:
        conversation.delete("a")
    assert refused.value.code == "item_delete_invalid_item_id"


def test_truncate() -> None:
    """the audio is cut and the transcript gone."""
    conversation = Conversation("conv_1")
    conversation.append(spoken_item("a", 1.0))
    conversation.truncate("a", 0, 400)
    item = conversation.items[0]
    assert item.sound is not None
    assert (item.sound.ms, len(item.sound.audio())) == (400, 19_200)
    assert item.wire()["content"] == [{"type": "output_audio"}]


@pytest.mark.parametrize(
    ("item", "index", "end_ms", "code"),
    [
        (spoken_item("a", 1.0), 0, 1001, "invalid_value"),
        (spoken_item("a", 1.0), 1, 10, "unsupported_content_type"),
        (spoken_item("a", 0.0), 0, 0, "unsupported_content_type"),
        (text_item("a"), 0, 10, "unsupported_content_type"),
        (spoken_by_user("a", bytes(9_600), PCM), 0, 10, "unsupported_content_type"),
        (spoken_item("b", 1.0), 0, 10, "item_truncate_invalid_item_id"),
    ],
)
def test_truncate_refused(item: Item, index: int, end_ms: int, code: str) -> None:
    """only audio of the assistant can be truncated, and only where it has some."""
    conversation = Conversation("conv_1")
    conversation.append(item)
    with pytest.raises(Refused) as refused:
        conversation.truncate("a", index, end_ms)
    assert refused.value.code == code


def test_memory() -> None:
    """the oldest audio is forgotten, its length is not."""
    conversation = Conversation("conv_1")
    for number in range(3):
        conversation.append(spoken_by_user(f"item_{number}", bytes(KEPT_AUDIO // 2), PCM))
    kept = [item.sound.pieces is not None for item in conversation.items if item.sound is not None]
    assert kept == [False, True, True]
    oldest = conversation.items[0]
    assert oldest.sound is not None
    assert oldest.sound.ms == KEPT_AUDIO / 2 / 48
    assert "audio" not in oldest.parts[0]
    assert oldest.wire(with_audio=True) == oldest.wire()
