"""What this bridge says to the client (`down`) and notes for whoever comes after it (`turns`), under its epoch."""

from __future__ import annotations

from msgspec.structs import replace

from realtime_bridge.backlog import Backlog
from realtime_bridge.policy import without_secrets
from streams import down, turns
from streams.hub import Hub
from streams.ids import EntryId
from streams.producer import Chained, Producer
from streams.sessions import Session


class Ledger:
    """One reign's. Whose epoch is over is told `Fenced` at the next `flush`, and nothing of it is stored."""

    def __init__(self, hub: Hub, session: Session, epoch: int) -> None:
        self.epoch = epoch
        self._down = Producer(hub.writer, session.keys.down, Chained(epoch))
        self._turns = Producer(hub.writer, session.keys.turns, Chained(epoch))
        self.backlog = Backlog(epoch)
        self.answers_from: EntryId | None = None
        """the first entry of the answer that is being generated: a rebuild reads from there"""

    def say(self, message: down.DownMessage) -> bool:
        """Tell the client. Whether it is time to look what has arrived."""
        number = self._down.next_number
        if isinstance(message, down.Failed):
            message = replace(message, message=without_secrets(message.message))
        self._down.put(message)
        if isinstance(message, down.ServerEvent):
            if message.type == "response.created":
                self.answers_from = EntryId(self.epoch, number)
            elif message.type == "response.done":
                self.answers_from = None
        return isinstance(message, down.Audio) and self.backlog.said(number, len(message.audio))

    def record(self, message: turns.TurnsMessage) -> None:
        """Remember what was said."""
        self._turns.put(message)

    async def flush(self) -> None:
        """Returns when all of it is stored."""
        await self._down.flush()
        await self._turns.flush()
