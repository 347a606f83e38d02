"""PURE. One Realtime session: client events in, server events out, time as an argument.

    session.receive(event, now)         what the client sent (`receive_frame` for the text of a frame)
    session.due(now)  ─▶ effects        what to send by now, in order: call it after each receive, and at `timer()`
    session.timer()   ─▶ when           the time of the next call of `due`; None when nothing is planned

The session decides what follows from what; the parts know how: `listening` hears turns, `speaking` answers them,
`conversation` remembers them, `session_config` settles what holds. Whatever a client sends, it gets an answer or an
`error`, and the session lives on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from random import Random

from simulator import client_events, dialect, items, transcription
from simulator.agenda import Agenda, Close, Effect, Outbox
from simulator.answers import Echo, Utterance
from simulator.billing import Billing
from simulator.conversation import Conversation
from simulator.errors import InvalidType, NotText, Refused
from simulator.ids import Ids
from simulator.items import Item
from simulator.listening import Listener, SpeechStarted, SpeechStopped
from simulator.options import Options
from simulator.recording import Recording
from simulator.response import Response
from simulator.session_config import SessionConfig
from simulator.speaking import Speaker
from simulator.tally import Tally
from simulator.wire import Object, audio_bytes, decode, member, optional_text, text, whole

_PCM_BYTES_A_SECOND = 48_000
GOING_AWAY = 1001


class Session:
    def __init__(self, options: Options, model: str, *, now: float, wall: float, random: Random | None = None) -> None:
        """`now` is any clock that never goes back; `wall` the seconds since 1970 at that moment."""
        ids = Ids(random or Random())
        self.id = ids.new("sess")
        self.config = SessionConfig.fresh(self.id, model, int(wall + options.session_s))
        self.recording = Recording(round(options.record_s * _PCM_BYTES_A_SECOND))
        self.tally = Tally()
        self.billing = Billing()
        self.conversation = Conversation(ids.new("conv"))
        self._ids = ids
        self._is_beta = options.dialect in dialect.IS_BETA
        self._is_live = isinstance(options.answer, Echo) and options.answer.live
        self._transcription_delays_s = cycle(options.transcription_delays_s or (options.transcription_delay_s,))
        self._agenda = Agenda()
        self._outbox = Outbox(ids)
        self._listener = Listener(ids, self.config, is_live=self._is_live)
        self._speaker = Speaker(options, ids, self._outbox, self._agenda, self.conversation, self._response_done, self.id)
        self._idle_since = 0
        """counts what ends a wait for the user, so that an idle timeout planned before it is void"""
        self._outbox.emit({"type": "session.created", "session": self.config.wire})
        self._agenda.at(now + options.session_s, self._expire)

    def due(self, now: float) -> list[Effect]:
        self._agenda.run(now)
        effects = self._outbox.take()
        for effect in effects:
            if not isinstance(effect, Close):
                self.tally.send(effect)
        return effects

    def timer(self) -> float | None:
        return self._agenda.timer()

    def receive_frame(self, frame: bytes | str, now: float) -> None:
        """The text of a frame, whatever it is."""
        try:
            event = decode(frame)
            if self._is_beta:
                event = dialect.from_client(event)
        except Refused as refused:
            self._agenda.run(now)
            self._refuse(refused, str(refused))
        else:
            self.receive(event, now)

    def receive_binary(self, now: float) -> None:
        """A binary frame: no Realtime client sends any."""
        self._agenda.run(now)
        refused = NotText()
        self._refuse(refused, str(refused))

    def receive(self, event: Object, now: float) -> None:
        self._agenda.run(now)
        event_id = event.get("event_id")
        self.tally.receive(event.get("type"))
        if event.get("type") != "input_audio_buffer.append":
            self.recording.client_events.append(event)
        try:
            kind = client_events.check(event)
            _HANDLERS[kind](self, event, now)
        except Refused as refused:
            self._refuse(refused, f"{event.get('type')}: {refused}", event_id if isinstance(event_id, str) else None)

    def _refuse(self, refused: Refused, words: str, event_id: str | None = None) -> None:
        self.tally.refused += 1
        self.recording.refused.append(words)
        self._outbox.refuse(refused, event_id)

    # -- what the client asks for -------------------------------------------------------------------------------------

    def _update_session(self, event: Object, now: float) -> None:
        patch = event["session"]
        if not isinstance(patch, dict):
            raise InvalidType("session", "an object", patch)
        self.config = self.config.updated(patch, has_spoken=self._speaker.has_spoken)
        self._listener.configure(self.config)
        self._outbox.emit({"type": "session.updated", "session": self.config.wire})

    def _append_audio(self, event: Object, now: float) -> None:
        payload = text(event, "audio")
        audio = audio_bytes(payload, "audio")
        self.recording.append(audio)
        self.tally.append(len(audio), self._listener.format.sample_bytes)
        for turn in self._listener.append(audio):
            if isinstance(turn, SpeechStarted):
                self._start_speech(turn, now)
            else:
                self._stop_speech(turn, now)
        if self._is_live:
            self._speaker.hear_live(self.config, payload, audio, now)

    def _commit_audio(self, event: Object, now: float) -> None:
        item_id, audio = self._listener.commit()
        self._commit(item_id, audio, now)

    def _clear_audio(self, event: Object, now: float) -> None:
        self._listener.clear()
        self._outbox.emit({"type": "input_audio_buffer.cleared"})

    def _create_item(self, event: Object, now: float) -> None:
        record = member(event, "item")
        item_id = optional_text(record, "id") or self._ids.new("item")
        item = items.from_client(record, item_id, self._listener.format)
        utterance = Utterance(item.sound.audio(), item.sound.format) if item.sound is not None else None
        self.conversation.insert(item, optional_text(event, "previous_item_id"))
        self._announce(item)
        if utterance is not None:
            self._speaker.unanswered = utterance
        elif item.role == "assistant" and item.id == self.conversation.last_id:  # told again: what came before was answered
            self._speaker.unanswered = None

    def _retrieve_item(self, event: Object, now: float) -> None:
        item = self.conversation.get(text(event, "item_id"), "retrieve")
        self._outbox.emit({"type": "conversation.item.retrieved", "item": item.wire(with_audio=True)})

    def _truncate_item(self, event: Object, now: float) -> None:
        item_id, index, end_ms = text(event, "item_id"), whole(event, "content_index"), whole(event, "audio_end_ms")
        self.conversation.truncate(item_id, index, end_ms)
        self._outbox.emit(
            {
                "type": "conversation.item.truncated",
                "item_id": item_id,
                "content_index": index,
                "audio_end_ms": end_ms,
            }
        )

    def _delete_item(self, event: Object, now: float) -> None:
        item_id = text(event, "item_id")
        self.conversation.delete(item_id)
        self._outbox.emit({"type": "conversation.item.deleted", "item_id": item_id})

    def _create_response(self, event: Object, now: float) -> None:
        self._idle_since += 1
        self._speaker.create(self.config, member(event, "response"), now)

    def _cancel_response(self, event: Object, now: float) -> None:
        self._speaker.cancel(optional_text(event, "response_id"), "client_cancelled", now)

    # -- what follows from what was heard -----------------------------------------------------------------------------

    def _start_speech(self, turn: SpeechStarted, now: float) -> None:
        self._idle_since += 1
        self._outbox.emit(
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": int(turn.audio_start_ms),
                "item_id": turn.item_id,
            }
        )
        detection = self.config.view.audio.input.turn_detection
        if self._speaker.active is not None and detection is not None and detection.interrupt_response:
            self._speaker.cancel(None, "turn_detected", now)

    def _stop_speech(self, turn: SpeechStopped, now: float) -> None:
        self._outbox.emit(
            {
                "type": "input_audio_buffer.speech_stopped",
                "audio_end_ms": int(turn.audio_end_ms),
                "item_id": turn.item_id,
            }
        )
        self._commit(turn.item_id, turn.audio, now)
        detection = self.config.view.audio.input.turn_detection
        if detection is not None and detection.create_response:
            self._respond(now)

    def _commit(self, item_id: str, audio: bytes, now: float) -> None:
        """The user's turn becomes an item."""
        self.recording.commit(audio)
        self.tally.commit(len(audio), self._listener.format.sample_bytes)
        item = items.spoken_by_user(item_id, audio, self._listener.format)
        previous = self.conversation.last_id
        self._outbox.emit({"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id})
        self.conversation.append(item)
        self._announce(item)
        utterance = Utterance(audio, self._listener.format)
        self._speaker.unanswered = utterance
        wanted = self.config.view.audio.input.transcription
        if wanted is not None and audio:
            transcribe = partial(self._transcribe, item_id, utterance, wanted.model)
            self._agenda.at(now + next(self._transcription_delays_s), transcribe)

    def _respond(self, now: float) -> None:
        """A response that nobody asked for by name: the server's own, at the end of a turn."""
        try:
            self._speaker.create(self.config, {}, now)
        except Refused as refused:
            self._outbox.refuse(refused)

    def _announce(self, item: Item) -> None:
        """A complete item is added and done in one go."""
        previous = self.conversation.previous_id(item)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._outbox.emit({"type": kind, "previous_item_id": previous, "item": item.wire()})

    # -- what comes by itself -----------------------------------------------------------------------------------------

    def _transcribe(self, item_id: str, utterance: Utterance, model: str, _at: float) -> None:
        item = self.conversation.find(item_id)
        if item is None:
            return  # deleted meanwhile
        bill = transcription.bill(item_id, utterance, model)
        self.billing.transcribe(bill)
        for event in transcription.events(bill, utterance, self._ids):
            self._outbox.emit(event)

    def _response_done(self, response: Response, at: float) -> None:
        self.billing.respond(response.bill)
        self._plan_idle_timeout(response, at)

    def _plan_idle_timeout(self, response: Response, at: float) -> None:
        """After the response was played, the user has so long to say something."""
        detection = self.config.view.audio.input.turn_detection
        if detection is None or detection.idle_timeout_ms is None or not response.in_conversation:
            return
        self._idle_since += 1
        wait_s = response.spoken_s + detection.idle_timeout_ms / 1000
        self._agenda.at(at + wait_s, partial(self._time_out, self._idle_since, self._listener.clock_ms))

    def _time_out(self, since: int, from_ms: float, at: float) -> None:
        if since != self._idle_since or self._speaker.active is not None:
            return
        item_id = self._ids.new("item")
        self._outbox.emit(
            {
                "type": "input_audio_buffer.timeout_triggered",
                "audio_start_ms": int(from_ms),
                "audio_end_ms": int(self._listener.clock_ms),
                "item_id": item_id,
            }
        )
        self._commit(item_id, b"", at)
        self._respond(at)

    def _expire(self, _at: float) -> None:
        self.billing.is_closed = True
        self._outbox.close(GOING_AWAY, "Your session hit its maximum duration.")


_HANDLERS: dict[str, Callable[[Session, Object, float], None]] = {
    "session.update": Session._update_session,
    "input_audio_buffer.append": Session._append_audio,
    "input_audio_buffer.commit": Session._commit_audio,
    "input_audio_buffer.clear": Session._clear_audio,
    "conversation.item.create": Session._create_item,
    "conversation.item.retrieve": Session._retrieve_item,
    "conversation.item.truncate": Session._truncate_item,
    "conversation.item.delete": Session._delete_item,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
