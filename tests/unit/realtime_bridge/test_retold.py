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
from realtime_bridge.retold import Retold


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
