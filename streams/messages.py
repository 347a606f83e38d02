"""What several streams carry alike: the base of all messages, and the control that travels in order with the audio."""

from __future__ import annotations

from typing import Literal

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="kind"):
    """The base of everything that is stored in a stream. Its tag is the entry's `kind`."""

    def join(self, later: Message) -> Message | None:
        """One message that says both, or None when they must stay apart. Only audio joins: control and files never do."""
        return None


class Commit(Message, frozen=True, tag="commit"):
    """The user's turn ends here."""

    respond: bool = True
    """ask the model for an answer"""
    event_id: str | None = None
    """the client's own name for it, where it speaks the model's protocol; so in `Clear`"""


class Clear(Message, frozen=True, tag="clear"):
    """Forget the speech since the last commit."""

    event_id: str | None = None


class ClientEvent(Message, frozen=True, tag="client_event"):
    """An event of the model's protocol from a client that speaks it itself. Speech, commit and clear are not among them."""

    type: str
    body: msgspec.Raw
    """the event as JSON"""


VOID = "parley.void"
"""The `type` of a numbered event that was refused at the door: it keeps its number, and says nothing."""


class Text(Message, frozen=True, tag="text"):
    """Said in words: a turn of its own, where it is the user's."""

    text: str
    role: Literal["user", "system"] = "user"
    respond: bool = True
    """ask the model for an answer"""


class Instructions(Message, frozen=True, tag="instructions"):
    """Be told to behave like this from here on, in place of what the persona says; until another persona comes."""

    instructions: str


class SetPersona(Message, frozen=True, tag="persona"):
    """Be this persona from here on, and greet."""

    persona: str


class End(Message, frozen=True, tag="end"):
    """The session ends when all before this entry has been dealt with."""

    reason: str
    after_answer: bool = False
    """what was said and not committed is committed, and the model says its answer first"""
