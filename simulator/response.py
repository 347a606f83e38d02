"""PURE. One response: from `response.created`, through its output items, to the `response.done` that every response gets.

in_progress ─┬─ all was said ──▶ completed
             ├─ on demand ──▶ failed
             ├─ max_output_tokens ──▶ incomplete
             └─ stop(reason) ──▶ cancelled   (client_cancelled, turn_detected)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from simulator import usage
from simulator.billing import Bill
from simulator.conversation import Conversation
from simulator.outputs import Live, OutputItem, Pause, Step
from simulator.usage import Tokens
from simulator.wire import Json, Object


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for this response alone: the session's settings, with those of its `response.create` above them."""

    modality: str
    audio_output: Object
    """format and voice"""
    max_output_tokens: Json
    metadata: Json
    conversation: Conversation | None
    """None for a response out of band, which leaves no trace in any conversation"""


class Response:
    def __init__(
        self, response_id: str, terms: Terms, outputs: tuple[OutputItem, ...], think_s: float, fails: str | None = None
    ) -> None:
        self.id = response_id
        self.status = "in_progress"
        self.tokens_read = Tokens()
        """the input this response is billed for"""
        self.tokens_cached = Tokens()
        self.bill = Bill(response_id)
        """of a response that has ended"""
        self.steps = self._play(think_s)
        """events and pauses up to the end; `stop` cuts them off"""
        self._terms, self._fails = terms, fails
        self._outputs = outputs
        self._begun: list[OutputItem] = []
        self._open: OutputItem | None = None

    @property
    def in_conversation(self) -> bool:
        return self._terms.conversation is not None

    @property
    def live(self) -> Live | None:
        """The endless item of a live echo, while it is open."""
        return self._open if isinstance(self._open, Live) else None

    @property
    def tokens_written(self) -> Tokens:
        return sum((output.tokens() for output in self._begun), Tokens())

    @property
    def spoken_s(self) -> float:
        """Seconds of audio sent so far."""
        return sum(output.item.sound.ms for output in self._begun if output.item.sound is not None) / 1000

    @property
    def _is_spent(self) -> bool:
        """Whether more was said than was allowed: by less than one delta, since a delta is not cut."""
        allowed = self._terms.max_output_tokens
        return isinstance(allowed, int) and self.tokens_written.total > allowed

    def stop(self, reason: str) -> Iterator[Object]:
        """The events that end it early: what was open is closed as incomplete."""
        self.steps.close()
        if self._open is not None:
            yield from self._close(self._open, "incomplete")
        yield self._done("cancelled", {"type": "cancelled", "reason": reason})

    def _play(self, think_s: float) -> Generator[Step, None, None]:
        yield self._event("response.created")
        if think_s:
            yield Pause(think_s)
        if self._fails is not None:
            error: Object = {"type": "server_error", "code": self._fails, "message": "On demand."}
            yield self._done("failed", {"type": "failed", "error": error})
            return
        for output in self._outputs:
            yield from self._begin(output)
            for step in output.deltas():
                yield step
                if self._is_spent:
                    yield from self._close(output, "incomplete")
                    yield self._done("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
                    return
            yield from self._close(output, "completed")
        yield self._done("completed", None)

    def _begin(self, output: OutputItem) -> Iterator[Object]:
        self._begun.append(output)
        self._open = output
        yield self._item_event("response.output_item.added", output)
        if self._terms.conversation is not None:
            self._terms.conversation.append(output.item)
            yield self._conversation_event("conversation.item.added", output, self._terms.conversation)
        yield from output.opening()

    def _close(self, output: OutputItem, status: str) -> Iterator[Object]:
        self._open = None
        yield from output.closing()
        output.item.body["status"] = status
        conversation = self._terms.conversation
        if conversation is not None and conversation.find(output.item.id) is not None:  # not deleted meanwhile
            yield self._conversation_event("conversation.item.done", output, conversation)
        yield self._item_event("response.output_item.done", output)

    def _done(self, status: str, details: Object | None) -> Object:
        self.status = status
        if self._begun:
            self.bill = Bill(self.id, self.tokens_read, self.tokens_cached, self.tokens_written, status=status)
        else:
            self.bill = Bill(self.id, status=status)
        billed = usage.wire(self.bill.read, self.bill.cached, self.bill.written)
        return self._event("response.done", status_details=details, usage=billed)

    def _item_event(self, kind: str, output: OutputItem) -> Object:
        index = self._outputs.index(output)
        return {"type": kind, "response_id": self.id, "output_index": index, "item": output.item.wire()}

    @staticmethod
    def _conversation_event(kind: str, output: OutputItem, conversation: Conversation) -> Object:
        previous = conversation.previous_id(output.item)
        return {"type": kind, "previous_item_id": previous, "item": output.item.wire()}

    def _event(self, kind: str, status_details: Json = None, usage: Json = None) -> Object:
        conversation = self._terms.conversation
        return {
            "type": kind,
            "response": {
                "object": "realtime.response",
                "id": self.id,
                "status": self.status,
                "status_details": status_details,
                "output": [output.item.wire() for output in self._begun],
                "conversation_id": None if conversation is None else conversation.id,
                "output_modalities": [self._terms.modality],
                "max_output_tokens": self._terms.max_output_tokens,
                "audio": {"output": self._terms.audio_output},
                "usage": usage,
                "metadata": self._terms.metadata,
            },
        }
