"""PURE. What the app's own backend says in a conversation: words of the user's, words about the user, and how to behave."""

from __future__ import annotations

import msgspec

from realtime_bridge import client_events as say
from realtime_bridge.answers import Answers
from realtime_bridge.effects import Effect, Record, Send
from realtime_bridge.passthrough import Passthrough
from realtime_bridge.spoken import Position
from streams import turns
from streams.ids import EntryId
from streams.messages import ClientEvent, Text


def tell(entry: EntryId, text: Text, answers: Answers, client: Passthrough | None, now: float) -> list[Effect]:
    """Words instead of speech. A client that speaks the model's protocol decides itself what they interrupt."""
    interrupts = text.role == "user" and client is None
    effects = [*(answers.interrupt(now) if interrupts else []), *_item(entry, text)]
    if text.respond:
        waits = client is not None and client.is_asking
        effects += answers.answering.want(now, Position(entry, 0), waits=waits)
    return effects


def _item(entry: EntryId, text: Text) -> list[Effect]:
    """Which a later socket is told of, too."""
    item = f"{text.role}_{entry.left}_{entry.right}"[:32]
    committed = turns.Committed(item=item, pcm_id=str(entry), offset=0)
    if text.role == "user":
        created, said = say.user_text(text.text, item), turns.UserSaid(item=item, text=text.text)
        return [Send(say.ConversationItemCreate(item=created)), Record(committed), Record(said)]
    told = turns.SystemSaid(item=item, text=text.text)
    return [Send(say.ConversationItemCreate(item=say.system_text(text.text, item))), Record(committed), Record(told)]


def as_client_event(instructions: str) -> ClientEvent:
    """How a client that speaks the model's protocol would ask for it: so it is merged with what the client has asked for."""
    session = {"type": "realtime", "instructions": instructions}
    body = msgspec.json.encode({"type": "session.update", "session": session})
    return ClientEvent("session.update", msgspec.Raw(body))
