"""PURE. Which of the model's events a client is told of, and as what. Its audio goes another way: `Answers.audio`."""

from __future__ import annotations

from realtime_bridge import passthrough
from realtime_bridge import server_events as hear
from realtime_bridge.passthrough import Passthrough
from realtime_bridge.policy import Policy, without_secrets
from realtime_bridge.retold import Retold


def body_for_client(
    event: hear.ServerEvent | hear.Unknown,
    raw: str,
    client: Passthrough | None,
    retold: Retold,
    policy: Policy,
    *,
    theirs: bool,
) -> bytes | None:
    """The event as the client is told of it; None when it is between us and the model.

    `raw`: its JSON text; `client`: if it speaks the model's protocol; `theirs`: it answers that client.
    """
    match event:
        case hear.SessionCreated():
            return None
        case hear.ConversationItemAdded(item=item) | hear.ConversationItemDone(item=item) if retold.has(item.id):
            return None  # it was said long ago
        case hear.SessionUpdated():
            return passthrough.session_for_client(raw, policy) if theirs else None
        case hear.Error(error=error):
            return client.error_for_client(error, raw) if client is not None and theirs else None
        case hear.ResponseDone():
            return without_secrets(raw).encode()  # it may have failed, and quote what the server said to us
        case _:
            return raw.encode()
