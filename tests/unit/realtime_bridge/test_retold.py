"""What a fresh socket was told, and then cut."""

from __future__ import annotations

from realtime_bridge.client_events import (
    ConversationItemCreate,
    ConversationItemDelete,
    ConversationItemTruncate,
    ResponseCancel,
    assistant_text,
    user_text,
)
from realtime_bridge.effects import Effect, Say, Send
from realtime_bridge.rebuild import rebuild
from realtime_bridge.retold import Retold
from streams import turns
from streams.consumer import Entry
from streams.ids import BIRTH, EntryId
from tests.unit.realtime_bridge.talking import Talk


def test_text_is_not_cut_but_told_again() -> None:
    """In the words that were heard, in its place; once."""
    retold = Retold()
    retold.told([user_text("Hi", "u1"), assistant_text("one two three four", "a1"), assistant_text("nameless")], {})
    truncate = ConversationItemTruncate(item_id="a1", content_index=0, audio_end_ms=400)
    assert retold.as_known(truncate) == [
        ConversationItemCreate(item=assistant_text("one two"), previous_item_id="a1"),
        ConversationItemDelete(item_id="a1"),
    ]
    assert retold.as_known(truncate) == [truncate]


def test_all_else_goes_up_as_it_is() -> None:
    """What this socket has made it can cut."""
    retold = Retold()
    retold.told([assistant_text("one two three four", "a1")], {})
    for event in (ConversationItemTruncate(item_id="a2", content_index=0, audio_end_ms=4), ResponseCancel()):
        assert retold.as_known(event) == [event]
    delete = ConversationItemDelete(item_id="a1")
    assert retold.as_known(delete) == [delete]


def test_a_field_client_is_not_told_again_what_there_is() -> None:
    """After a break the model says of each item that it has it: that is nothing new, and goes into no stream."""
    said: list[turns.TurnsMessage] = [
        turns.Opened(user="ann", door="mobile", history=(turns.HistoryLine("user", "I am Ann."),)),
        turns.Committed(item="u1", pcm_id="1-1", offset=0),
        turns.UserSaid(item="u1", text="Hello."),
        turns.Answered(response="r1", pcm_id="1-1", offset=0),
    ]
    rebuilt = rebuild([Entry(EntryId(BIRTH.left, number), message) for number, message in enumerate(said, 1)])
    assert rebuilt is not None
    talk = Talk(rebuilt=rebuilt)
    talk.conversation.dialled()
    effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    items = [
        effect.event.item
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.event, ConversationItemCreate)
    ]
    assert [item["content"][0]["text"] for item in items] == ["I am Ann.", "Hello."]

    def tells(kind: str, item: object) -> list[Effect]:
        return [effect for effect in talk.hears({"type": kind, "item": item}) if isinstance(effect, Say)]

    for item in items:
        assert tells("conversation.item.added", item) == tells("conversation.item.done", item) == []
    assert len(tells("conversation.item.added", {**items[0], "id": "item_new"})) == 1
