"""What several streams carry alike: the base of all messages, and the control that travels in order with the audio."""

from __future__ import annotations

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


class Clear(Message, frozen=True, tag="clear"):
    """Forget the speech since the last commit."""


class Text(Message, frozen=True, tag="text"):
    """The user typed this; it is a turn of its own."""

    text: str


class SetPersona(Message, frozen=True, tag="persona"):
    """Be this persona from here on, and greet."""

    persona: str


class End(Message, frozen=True, tag="end"):
    """The session ends when all before this entry has been dealt with."""

    reason: str
