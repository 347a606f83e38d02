"""PURE. The responses under way: one for the default conversation, any number out of band."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simulator import audio_format, items, usage
from simulator.agenda import Agenda, Outbox
from simulator.answers import Echo, Question, Speech, Utterance
from simulator.conversation import Conversation
from simulator.errors import AlreadyActive, InvalidValue, NotActive
from simulator.ids import Ids
from simulator.items import Item
from simulator.options import Options
from simulator.outputs import Live, OutputItem, Pace, Pause, Place, Studio
from simulator.response import Response, Terms
from simulator.session_config import SessionConfig, check_modalities, check_reasoning, check_voice
from simulator.usage import Tokens
from simulator.wire import Json, Object, member, members, optional_text, text

RATE_LIMITS_AFTER_S = 0.04
"""As seen: `rate_limits.updated` follows `response.done` by some 40 ms."""
_TOKENS_A_MINUTE = 40_000


class Speaker:
    def __init__(
        self,
        options: Options,
        ids: Ids,
        outbox: Outbox,
        agenda: Agenda,
        conversation: Conversation,
        on_done: Callable[[Response, float], None],
        session: str,
    ) -> None:
        self.unanswered: Utterance | None = None
        """what the user said last, until a response takes it"""
        self.has_spoken = False
        """whether assistant audio was ever sent: the voice is settled then"""
        self._answer = options.answer
        self._think_s = options.think_s
        self._fails = iter(options.fails)
        self._pace = Pace(options.delta_ms, options.speed, options.odd_deltas)
        self._ids, self._outbox, self._agenda = ids, outbox, agenda
        self._conversation = conversation
        self._on_done = on_done
        self._session = session
        self._active: Response | None = None
        self._aside: dict[str, Response] = {}
        self._read_before = Tokens()

    @property
    def active(self) -> Response | None:
        """The response of the default conversation."""
        return self._active

    def create(self, config: SessionConfig, request: Object, now: float) -> None:
        """Begin a response, by `response.create` or at the end of a turn. Raises Refused."""
        check_modalities(request, "response.output_modalities")
        check_reasoning(config, request, "response.reasoning")
        voice = member(member(request, "audio"), "output").get("voice")
        check_voice(config, voice, "response.audio.output.voice", has_spoken=self.has_spoken)
        aside = request.get("conversation") == "none"
        if not aside and self._active is not None:
            raise AlreadyActive(self._active.id)
        terms = self._terms(config, request, None if aside else self._conversation)
        context = self._context(config, request)
        if isinstance(self._answer, Echo) and self._answer.live and not aside:
            self._begin_live(terms, now)
            return
        utterance = _last_heard(context) if "input" in request else self.unanswered
        may_call = _effective(config, request, "tool_choice") != "none"
        fails = next(self._fails, None)
        before = _last_heard(context) if utterance is None else None
        question = Question(utterance, may_call, *_answered_calls(context), self._session, before)
        outputs = () if fails else self._answer.outputs(question)
        if not aside and any(isinstance(output, Speech) for output in outputs):
            self.unanswered = None
        response_id = self._ids.new("resp")
        studio = self._studio(terms)
        made = tuple(studio.item(output, response_id, index) for index, output in enumerate(outputs))
        response = Response(response_id, terms, made, self._think_s, fails)
        self._bill(response, config, request, context)
        self._begin(response, now)

    def hear_live(self, config: SessionConfig, payload: str, audio: bytes, now: float) -> None:
        """Answer an append at once, in the one long response that a live echo is. `payload` is `audio` in base64."""
        if self._active is None:
            self._begin_live(self._terms(config, {}, self._conversation), now)
        if self._active is not None and (live := self._active.live) is not None:
            self.has_spoken = True
            self._outbox.emit(live.heard(payload, audio, config.input_format))

    def cancel(self, response_id: str | None, reason: str, now: float) -> None:
        """Stop that response, or the active one for None. Raises NotActive."""
        if response_id is None or (self._active is not None and self._active.id == response_id):
            response = self._active
        else:
            response = self._aside.get(response_id)
        if response is None:
            raise NotActive
        for event in response.stop(reason):
            self._outbox.emit(event)
        self._finish(response, now)

    def _begin(self, response: Response, now: float) -> None:
        if response.in_conversation:
            self._active = response
        else:
            self._aside[response.id] = response
        self._advance(response, now)

    def _begin_live(self, terms: Terms, now: float) -> None:
        response_id = self._ids.new("resp")
        live: OutputItem = Live(self._studio(terms), Place(response_id, 0, self._ids.new("item")))
        self._begin(Response(response_id, terms, (live,), 0.0), now)

    def _advance(self, response: Response, at: float) -> None:
        """Send what comes next, up to the next pause or the end."""
        if response.status != "in_progress":
            return  # it was stopped during the pause
        for step in response.steps:
            if isinstance(step, Pause):
                self._agenda.at(at + step.seconds, partial(self._advance, response))
                return
            self.has_spoken |= step["type"] == "response.output_audio.delta"
            self._outbox.emit(step)
        self._finish(response, at)

    def _finish(self, response: Response, at: float) -> None:
        if response.in_conversation:
            self._active = None
        else:
            del self._aside[response.id]
        self._agenda.at(at + RATE_LIMITS_AFTER_S, partial(self._tell_rate_limits, response))
        self._on_done(response, at)

    def _tell_rate_limits(self, response: Response, _at: float) -> None:
        used = response.tokens_read.total + response.tokens_written.total
        self._outbox.emit(
            {
                "type": "rate_limits.updated",
                "rate_limits": [
                    {
                        "name": "tokens",
                        "limit": _TOKENS_A_MINUTE,
                        "remaining": max(0, _TOKENS_A_MINUTE - used),
                        "reset_seconds": round(used / _TOKENS_A_MINUTE * 60, 3),
                    }
                ],
            }
        )

    def _terms(self, config: SessionConfig, request: Object, conversation: Conversation | None) -> Terms:
        session_output = member(member(config.wire, "audio"), "output")
        output = {**session_output, **member(member(request, "audio"), "output")}
        modalities = _effective(config, request, "output_modalities")
        return Terms(
            modality="text" if modalities == ["text"] else "audio",
            audio_output={"format": output["format"], "voice": output["voice"]},
            max_output_tokens=_effective(config, request, "max_output_tokens"),
            metadata=request.get("metadata"),
            conversation=conversation,
        )

    def _studio(self, terms: Terms) -> Studio:
        sound = audio_format.from_wire(member(terms.audio_output, "format"))
        return Studio(self._ids, self._pace, sound, terms.modality)

    def _context(self, config: SessionConfig, request: Object) -> list[Item]:
        """The items a response is made from: the conversation, or what its `input` lists instead."""
        if "input" not in request:
            return list(self._conversation.items)
        context = []
        for index, record in enumerate(members(request, "input")):
            if record["type"] != "item_reference":
                item_id = optional_text(record, "id") or self._ids.new("item")
                context.append(items.from_client(record, item_id, config.input_format))
                continue
            item = self._conversation.find(text(record, "id"))
            if item is None:
                raise InvalidValue(f"Item with id '{record['id']}' not found.", f"response.input[{index}].id")
            context.append(item)
        return context

    def _bill(self, response: Response, config: SessionConfig, request: Object, context: list[Item]) -> None:
        instructions = str(_effective(config, request, "instructions") or "")
        tools = str(_effective(config, request, "tools") or "")
        response.tokens_read = usage.of_text(instructions + tools) + usage.of_items(context)
        if response.in_conversation:
            response.tokens_cached = self._read_before.common(response.tokens_read)
            self._read_before = response.tokens_read


def _effective(config: SessionConfig, request: Object, key: str) -> Json:
    return request.get(key, config.wire.get(key))


def _last_heard(context: list[Item]) -> Utterance | None:
    for item in reversed(context):
        if item.role == "user" and item.sound is not None:
            return Utterance(item.sound.audio(), item.sound.format)
    return None


def _answered_calls(context: list[Item]) -> tuple[tuple[str, ...], bool]:
    """What functions have answered since the assistant said something; and whether one has not."""
    told: list[str] = []
    waiting: set[str] = set()
    for item in context:
        if item.role == "assistant":
            told.clear()
        elif item.type == "function_call":
            waiting.add(text(item.body, "call_id"))
        elif item.type == "function_call_output":
            waiting.discard(text(item.body, "call_id"))
            told.append(text(item.body, "output"))
    return tuple(told), bool(waiting)
