"""PURE. The conversation: what the client said and what the model says → what to do. Time is an argument, in seconds.

Feed it with `dialled` (a fresh upstream socket), `said` (an entry of `pcm`, once `ready`), `received` (an event of the
model's) and `wake` (it is `next_wake`); each returns effects, to be done in order. The user's half is in `user_speech.py`,
the model's in `answers.py`; here they meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from realtime_bridge import backend_words, passthrough
from realtime_bridge import client_events as say
from realtime_bridge import server_events as hear
from realtime_bridge.again import Again, code_of
from realtime_bridge.answers import Answers
from realtime_bridge.effects import Break, Effect, Finish, Record, Redial, Say, Send
from realtime_bridge.ending import Ending
from realtime_bridge.passthrough import Change, Passthrough
from realtime_bridge.personas import Persona, Personas
from realtime_bridge.playback import Heard
from realtime_bridge.policy import Policy, without_secrets
from realtime_bridge.prompts import GO_ON, GREET
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.recalled import Recalled
from realtime_bridge.retold import Retold
from realtime_bridge.spoken import START, Position
from realtime_bridge.tools import Owed, Tools
from realtime_bridge.user_speech import UserSpeech
from realtime_bridge.verdicts import BENIGN_CODES, EXPIRED, FATAL_CODES
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import ZERO, EntryId
from streams.messages import Clear, ClientEvent, Commit, End, Instructions, SetPersona, Text
from streams.up import GenOpened


@dataclass(frozen=True, slots=True)
class _Update:
    """A `session.update` that is not answered yet."""

    event_id: str
    persona: str | None
    """that it brings, and who greets when it is there"""
    change: Change | None = None
    """the client's own, which is to hear of it"""


class Conversation:
    """One session's conversation with the model."""

    def __init__(self, opened: turns.Opened, personas: Personas, transcription_model: str | None) -> None:
        self.ready = False
        """the model is configured; nothing that was said goes upstream before"""
        self._personas = personas
        self._persona: Persona = personas.default
        self._persona_id = personas.default_id
        self._instructions: str | None = None
        """the app's backend's, in place of the persona's"""
        self._asked_for = opened.persona
        self._recordings = opened.turn_mode == "utterance"
        self._transcription_model = transcription_model
        self._updates: deque[_Update] = deque()
        self._update_count = 0
        self._greets: str | None = None
        """the persona that greets on the next socket"""
        self._greets_at = START
        """where in `pcm` it was asked for"""
        self._context: list[say.JsonObject] = []
        """items that the next socket is told of before anything is said"""
        self._position = START
        """up to here another bridge, or another socket of ours, has dealt with what was said"""
        self._last_id = ZERO
        self._heard_to = ZERO
        """up to here all was said to the socket before; what was only for that one is not said again"""
        self._goes_on = False
        """the model is to say the rest of an answer that a socket broke off"""
        self._mends = False
        """the client is told that the conversation goes on, when it does"""
        self._ending: Ending | None = None
        """the client has said goodbye; nothing that comes after it counts"""
        self._client = Passthrough() if opened.door == passthrough.DOOR else None
        """what a client has asked for that speaks the model's protocol; None for all others"""
        self._cuts_answers = self._client is None or opened.cuts_answers
        """an interruption is ours to truncate"""
        self._owed: list[Owed] = []
        """function calls that the next socket has to answer to"""
        self._answers = Answers()
        self._former: Answers | None = None
        """of the socket before, which may still be heard"""
        self.retold = Retold()
        self._again = Again()
        self._tools = self._new_tools()
        self._speech = self._new_speech()

    def _new_tools(self) -> Tools:
        owed, self._owed = self._owed, []
        return Tools(self._answers.answering, owed, client_runs_others=self._client is not None)

    def _new_speech(self) -> UserSpeech:
        responds = self._client is None
        return UserSpeech(self._answers, self._configure, recordings=self._recordings, responds=responds)

    def restore(self, rebuilt: Rebuilt, *, mends: bool = False) -> None:
        """Go on where another bridge, or another upstream socket, has left off. `dialled` comes next, then what `said`
        after `rebuilt.position` (whose entry comes again when only some of its samples were dealt with). `mends`: the
        client was told of a break, and is told of its end."""
        self._asked_for, self._context, self._goes_on = rebuilt.persona, rebuilt.items, rebuilt.goes_on
        self._mends = mends
        self.go_on_from(rebuilt.position)
        self._owed = [each.of(self._personas) for each in rebuilt.owed]
        self._instructions = rebuilt.instructions
        if self._client is not None:
            self._client.restore(rebuilt.session, rebuilt.changed_by)

    @property
    def position(self) -> Position:
        """What comes behind it is to be `said`."""
        return self._position

    def left(self) -> list[Effect]:
        """The socket is gone, and another one follows: what is to be told and noted yet. Nothing goes upstream any more."""
        return self._answers.abandon()

    def follow(self, former: Conversation) -> None:
        """What was said on the socket before may still be heard, and interrupted; what came over it is known."""
        self._former, self._heard_to = former._answers, max(former._last_id, former._heard_to)
        if former._ending is not None and former._ending.used_up:  # nobody says so again in `pcm`
            self._ending = former._ending

    def hear_on(self, parts: Sequence[Recalled], now: float) -> None:
        """What another bridge has said may still be heard, and interrupted. After `restore`."""
        self._former = Answers()
        self._former.recall(parts, now)

    def go_on_from(self, position: Position) -> None:
        """All up to here has been dealt with."""
        self._position, self._last_id = position, position.entry

    def quiet_at(self, now: float) -> Position | None:
        """From where another socket could go on this moment without anybody hearing it; None when somebody would:
        the user speaks, or an answer is wanted, generated or heard, or something has been asked and is not answered."""
        if not self.ready or self._updates or self._ending is not None or self._is_answering or self._answers.is_heard(now):
            return None
        if self._client is not None and not self._client.is_idle:
            return None
        return self._speech.unspoken(self._last_id)

    # ── the socket ──────────────────────────────────────────────────────────────────────────────────────────────────

    def dialled(self) -> list[Effect]:
        """A fresh upstream socket is open: configure it before anything else."""
        self.ready = False
        self._updates.clear()
        effects = self._answers.abandon()
        self._answers, self.retold = Answers(), Retold()
        if self._former is not None:
            self._answers.go_on_hearing(self._former)
            self._former = None
        self._again.forget()
        self._tools = self._new_tools()
        self._speech = self._new_speech()
        if self._client is not None:
            self._client.dialled()
        effects += self._choose_first_persona()
        greets, self._greets = self._greets, None
        return [*effects, self._configure(greets)]

    def _choose_first_persona(self) -> list[Effect]:
        asked_for, self._asked_for = self._asked_for, None
        if asked_for is None:
            return []
        persona = self._personas.get(asked_for)
        if persona is None:
            return [self._unknown_persona(asked_for)]
        self._persona, self._persona_id = persona, asked_for
        return []

    @property
    def _policy(self) -> Policy:
        return Policy(bool(self._persona.locked))

    def _configure(self, persona: str | None = None) -> Effect:
        """A full `session.update`. `persona`: it brings this one, who greets when it is there."""
        self._update_count += 1
        event_id = f"update_{self._update_count}"
        self._updates.append(_Update(event_id, persona))
        detection = self._persona.turn_detection
        if self._recordings and self._speech.vad:
            detection = detection or say.ServerVad()  # slices of one speech: push-to-talk is not what this client does
        config = say.session_config(
            instructions=self._persona.instructions if self._instructions is None else self._instructions,
            voice=self._persona.voice,
            turn_detection=detection if self._speech.vad else None,
            transcription_model=self._transcription_model,
            noise_reduction=self._persona.noise_reduction,
            tools=[tool.declared for tool in self._persona.tools],
            tool_choice=self._persona.declared_tool_choice,
        )
        self._tools.offer(self._persona_id, self._persona)
        if self._client is not None:
            self._client.offered = config["tools"]
            overrides = self._policy.session(self._client.session_overrides)
            config = self._client.with_offered(passthrough.merged(config, overrides))
        return Send(say.SessionUpdate(session=config, event_id=event_id))

    # ── what the client said ────────────────────────────────────────────────────────────────────────────────────────

    def said(self, entry: Entry[pcm.PcmMessage], now: float) -> list[Effect]:
        """An entry of `pcm`, in order."""
        before, self._last_id = self._last_id, entry.id
        if self._ending is not None:
            return []
        here, is_known = Position(entry.id, 0), entry.id <= self._heard_to
        match entry.message:
            case pcm.Audio(audio=audio) if entry.id == self._position.entry:
                rest = audio[2 * (skipped := self._position.samples) :]
                if not rest:
                    return []
                return self._speech.audio(entry.id, before, self._without_echo(rest, now), now, skipped)
            case pcm.Audio(audio=audio):
                return self._speech.audio(entry.id, before, self._without_echo(audio, now), now)
            case pcm.UtteranceEnd() as end:
                return self._speech.recording_end(entry.id, end, now)
            case pcm.MediaError(code=code, message=message):
                return [] if is_known else [Say(down.Failed(code=code, message=message))]
            case pcm.Gap(missing_ms=missing_ms, filled=filled):
                message = f"About {missing_ms / 1000:.2f} s of what you sent were damaged; the rest was heard."
                silence = [] if filled else self._speech.gap(missing_ms)
                told = [] if is_known else [Say(down.Failed(code="damaged_media", message=message))]
                return [*silence, *told]
            case Commit(event_id=event_id) if self._client is not None:
                return self._speech.commit_as_asked(passthrough.named(event_id, entry.id))
            case Clear(event_id=event_id) if self._client is not None:
                return self._speech.clear(passthrough.named(event_id, entry.id))
            case ClientEvent(type=kind) if is_known and kind in passthrough.OF_ONE_SOCKET:
                return []
            case ClientEvent() as event:
                return self._relay(entry.id, event, self._policy)
            case Commit(respond=respond):
                return self._speech.commit(entry.id, now, respond=respond)
            case Clear():
                return self._speech.clear()
            case Text() as text:
                return backend_words.tell(entry.id, text, self._answers, self._client, now)
            case Instructions(instructions=instructions):
                return self._instruct(entry.id, instructions)
            case SetPersona(persona=persona):
                self._greets_at = here
                return self._set_persona(persona, now)
            case End(reason=reason, after_answer=True):
                self._ending = Ending(reason, now)
                return [*self._speech.last_words(entry.id, now), *self._end_if_due(now)]
            case End(reason=reason):
                return [Finish(reason)]
            case GenOpened():
                return []

    def _without_echo(self, audio: bytes, now: float) -> bytes:
        """Silence instead of what may be the answer's own echo, where the persona says so: lest it interrupt itself."""
        deaf_ms = self._persona.deaf_ms
        if deaf_ms == 0 or self._recordings or not self._answers.playback.may_echo(now, deaf_ms):
            return audio
        return bytes(len(audio))

    def _instruct(self, entry: EntryId, instructions: str) -> list[Effect]:
        self._instructions = instructions
        given = Record(turns.InstructionsGiven(instructions=instructions))
        if self._client is None:
            return [given, self._configure()]
        return [given, *self._relay(entry, backend_words.as_client_event(instructions), Policy())]

    def _relay(self, entry: EntryId, event: ClientEvent, policy: Policy) -> list[Effect]:
        """An event for the model, from a client that speaks its protocol."""
        if self._client is None or self._tools.runs(passthrough.answered_call(event)):
            return []
        relayed = self._client.relay(entry, event, policy)
        if relayed is None:
            return []
        if relayed.change is not None:
            self._updates.append(_Update(relayed.event_id, None, relayed.change))
        return relayed.effects

    def _set_persona(self, persona_id: str, now: float) -> list[Effect]:
        persona = self._personas.get(persona_id)
        if persona is None:
            return [self._unknown_persona(persona_id)]
        effects = self._answers.interrupt(now)
        other_voice = self._answers.voiced and persona.voice != self._persona.voice
        self._persona, self._persona_id, self._instructions = persona, persona_id, None
        effects.append(Record(turns.PersonaChosen(persona=persona_id, fresh=other_voice)))
        if not other_voice:
            return [*effects, self._configure(persona_id)]
        # Once it has spoken, the model refuses another voice: another person begins another conversation.
        self._greets = persona_id
        self.ready = False
        return [*effects, Redial()]

    def _greet(self, now: float) -> list[Effect]:
        greeting = GREET if self._persona.greeting is None else self._persona.greeting
        if not greeting:
            return []
        # A response's own instructions replace the session's, so they begin with them.
        instructions = f"{self._persona.instructions}\n\n{greeting}"
        return self._answers.answering.want(now, self._greets_at, {"instructions": instructions})

    def _unknown_persona(self, persona_id: str) -> Say:
        known = ", ".join(self._personas.by_id)
        message = f"There is no persona {persona_id!r} here. Known are: {known}."
        return Say(down.Failed(code="unknown_persona", message=message))

    # ── what the model says ─────────────────────────────────────────────────────────────────────────────────────────

    def received(self, event: hear.ServerEvent | hear.Unknown, raw: str, now: float) -> list[Effect]:
        """An event of the model's, and its JSON text, which goes on to the client (audio as audio)."""
        if isinstance(event, hear.ResponseOutputAudioDelta):
            return self._answers.audio(event, now)
        body = self._body_for_client(event, raw)
        before, after = self._handle(event, now)
        if self._ending is not None:
            self._ending.stirred(now)
        told = [] if body is None else [Say(down.ServerEvent(type=hear.type_of(event), body=msgspec.Raw(body)))]
        return [*before, *told, *after, *self._go_on_after_calls(now)]

    def tool_answered(self, call_id: str, output: str, error: str | None, now: float) -> list[Effect]:
        """A function that `CallTool` has called has answered; with an `error`, a code, the output says what went wrong."""
        return [*self._tools.answered(call_id, output, error), *self._go_on_after_calls(now)]

    def _go_on_after_calls(self, now: float) -> list[Effect]:
        asks = self._client is not None and self._client.is_asking
        return self._tools.due(now, quiet=self.ready and not asks and not self._speech.speaking)

    def _body_for_client(self, event: hear.ServerEvent | hear.Unknown, raw: str) -> bytes | None:
        """The event as the client is told of it; None when it is between us and the model."""
        match event:
            case hear.SessionCreated():
                return None
            case hear.ResponseDone(response=response) if self._client is None and self._again.will_be_asked(response):
                return None
            case hear.ConversationItemAdded(item=item) | hear.ConversationItemDone(item=item) if self._client is not None:
                return None if self._client.is_retold(item.id) else raw.encode()
            case hear.SessionUpdated():
                theirs = self._client is not None and self._updates and self._updates[0].change is not None
                return passthrough.session_for_client(raw, self._policy) if theirs else None
            case hear.Error(error=error):
                theirs = self._client is not None and self._is_theirs(error)
                return self._client.error_for_client(error, raw) if self._client is not None and theirs else None
            case hear.ResponseDone():
                return without_secrets(raw).encode()  # it may have failed, and quote what the server said to us
            case _:
                return raw.encode()

    def _is_theirs(self, error: hear.ErrorDetail) -> bool:
        """Whether an error is for a client that speaks the model's protocol to deal with."""
        ours = any(update.event_id == error.event_id and update.change is None for update in self._updates)
        ours = ours or self._tools.is_ours(error.event_id)
        ours = ours or (error.event_id is not None and error.event_id == self._answers.answering.asked_as)
        return self.ready and error.code not in FATAL_CODES and not ours

    def _handle(self, event: hear.ServerEvent | hear.Unknown, now: float) -> tuple[list[Effect], list[Effect]]:
        """What to do before the client is told of the event, and after."""
        answers, speech = self._answers, self._speech
        match event:
            case hear.SessionUpdated(session=session):
                return [], self._updated(session, now)
            case hear.InputAudioBufferSpeechStarted():
                speech.started()
                return [], answers.interrupt(now, by_model=True) if self._cuts_answers else []
            case hear.InputAudioBufferSpeechStopped(audio_end_ms=audio_end_ms):
                speech.stopped(audio_end_ms)
                self._tools.turn_ended(now)
            case hear.InputAudioBufferCommitted(item_id=item):
                return [], speech.committed(item)
            case hear.ConversationItemInputAudioTranscriptionCompleted(item_id=item, transcript=transcript):
                return [], [Record(turns.UserSaid(item=item, text=transcript))]
            case hear.ResponseCreated(response=response):
                by_us = answers.answering.asked_as is not None
                asked = None if self._client is None or by_us else self._client.begun()
                aside = asked is not None and asked.aside
                self._again.forget()
                self._tools.created(response.id, by_us=by_us, by_client=asked is not None, aside=aside)
                effects = answers.answering.created(response.id, asked.about if asked else speech.committed_to)
                return [], [*effects, *self._note_begun(response.id)]
            case hear.ResponseOutputItemDone(response_id=response_id, item=item):
                self._tools.item_done(response_id, item)
            case hear.ResponseOutputAudioDone():
                return answers.audio_done(event, now), []
            case hear.ResponseOutputAudioTranscriptDone() | hear.ResponseOutputTextDone():
                answers.text_done(event)
            case hear.ResponseDone(response=response):
                self._ask_again(response, now)
                # What is left of the audio goes before the event that says that all has come.
                called, outputs = self._tools.done(response), self._tools.settled(response.id)
                effects = answers.done(response, now, called, outputs)
                told = [effect for effect in effects if isinstance(effect, Say)]
                return list(told), [*(each for each in effects if not isinstance(each, Say)), *self._fatal(response)]
            case hear.ConversationItemAdded(item=item):
                self._tools.added(item)
                if self._client is not None:
                    self._client.added(item.id)
            case hear.ConversationItemTruncated(item_id=item, content_index=part, audio_end_ms=at_ms) if self._client:
                return [], answers.truncated(item, part, at_ms or 0)
            case hear.ConversationItemDeleted(item_id=item) if self._client is not None:
                return [], [Record(turns.Removed(item=item))]
            case hear.Error(error=error) if self._client is not None and self._is_theirs(error):
                return [], self._refused(self._client, error)
            case hear.Error(error=error):
                return [], self._error(error, now)
            case _:
                pass
        return [], []

    def _ask_again(self, response: hear.Response, now: float) -> None:
        """If the server had no room for it, and the client does not see to it by itself."""
        if response.status == "completed":
            self._again.succeeded()
        if self._client is not None or not self._again.will_be_asked(response):
            return
        about = self._answers.answering.about(response.id)  # so it does not count as an answer
        if about is not None:
            self._again.ask(about, now)

    def _fatal(self, response: hear.Response) -> list[Effect]:
        """What nobody can mend by asking again."""
        code = code_of(response)
        if code not in FATAL_CODES or code is None:
            return []
        what, advice = FATAL_CODES[code]
        return [Say(down.Failed(code=code, message=f"The model refused {what} ({code}): {advice}.")), Finish(code)]

    def _note_begun(self, response: str) -> list[Effect]:
        about = self._answers.answering.answers_to(response)
        if about is None:
            return []
        return [Record(turns.Begun(response=response, pcm_id=str(about.entry), offset=about.samples))]

    def _updated(self, session: hear.Session, now: float) -> list[Effect]:
        if not self._updates:
            return []
        update = self._updates.popleft()
        self.ready = True
        if self._client is not None:
            self._speech.vad = passthrough.finds_turns(session, default=self._speech.vad)
            if update.change is not None:
                return self._client.changed(update.change)
        context, self._context = self._context, []
        if self._client is not None:
            context = self._client.retell(context)
        self.retold.told(context, self._answers.recalled(context))
        told: list[Effect] = [Send(say.ConversationItemCreate(item=item)) for item in context]
        told += self._tools.ready()
        if self._mends:
            told.append(Say(down.Resumed()))
            self._mends = False
        if update.persona is None:
            return [*told, *self._go_on(now)]
        return [*told, Say(down.PersonaSet(persona=update.persona)), *self._greet(now)]

    def _go_on(self, now: float) -> list[Effect]:
        """Ask for the rest of an answer that broke off, once."""
        wanted, self._goes_on = self._goes_on, False
        if not wanted:
            return []
        session = {} if self._client is None else self._policy.session(self._client.session_overrides)
        ours = self._persona.instructions if self._instructions is None else self._instructions
        # A response's own instructions replace the session's, so they begin with them.
        instructions = f"{session.get('instructions', ours)}\n\n{GO_ON}"
        return self._answers.answering.want(now, self._position, {"instructions": instructions})

    def _error(self, error: hear.ErrorDetail, now: float) -> list[Effect]:
        code, message = error.code or error.type or "upstream_error", error.message or "The model reported an error."
        refused = next((update for update in self._updates if update.event_id == error.event_id), None)
        if refused is None and error.event_id is None and not self.ready and self._updates:
            refused = self._updates[0]  # servers that do not name the event: nothing else was asked yet
        if code == EXPIRED:
            return [Break(code, message)]
        if code in FATAL_CODES or (refused is not None and not self.ready):
            return [Say(down.Failed(code=code, message=message)), Finish(code)]
        if refused is not None:
            self._updates.remove(refused)
        elif code == "conversation_already_has_active_response":
            ours = self._tools.refused(error.event_id, busy=True)
            if self._answers.answering.refused(error.event_id, busy=True) or ours:
                return []
        elif code in BENIGN_CODES:
            return []
        else:
            self._tools.refused(error.event_id, busy=False)
            self._answers.answering.refused(error.event_id, busy=False)
        return [Say(down.Failed(code=code, message=message))]

    def _refused(self, client: Passthrough, error: hear.ErrorDetail) -> list[Effect]:
        """The client is told by the event itself; here is what nothing will come of."""
        self._updates = deque(update for update in self._updates if update.event_id != error.event_id)
        self._speech.refused(error.event_id)
        return client.refused(error)

    def too_far_behind(self, now: float) -> list[Effect]:
        """The client has not received what it was told long ago: break the answer off, and say so."""
        message = "Your connection is too slow for this answer; the rest of it was left out."
        return [*self._answers.interrupt(now), Say(down.Failed(code="client_too_slow", message=message))]

    def stopped(self, stop: str, heard: Heard, now: float) -> list[Effect]:
        """The client's gateway has stopped, as `Stop` has asked it to, and says how much was heard."""
        return [*self._answers.stopped(stop, heard, now), *self._end_if_due(now)]

    def finish(self, reason: str, now: float) -> list[Effect]:
        """No more than what is being answered: the session has used all that it may."""
        self._ending = self._ending or Ending(reason, now, used_up=True)
        return self._end_if_due(now)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def next_wake(self) -> float | None:
        """When `wake` wants to be called; None: not before something happens."""
        answers = self._answers
        deadlines = [self._speech.deadline, answers.deadline, answers.answering.deadline]
        deadlines += [self._again.deadline, self._tools.deadline]
        if self._ending is not None:
            deadlines.append(self._ending.deadline(busy=self._is_answering))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def wake(self, now: float) -> list[Effect]:
        """A deadline may have passed."""
        effects = self._answers.overdue(now)
        if self._speech.deadline is not None and now >= self._speech.deadline:
            effects += self._speech.no_more_slices(now)
        if self._answers.answering.overdue(now):
            message = "The model did not begin to answer in time. Please say it again."
            effects.append(Say(down.Failed(code="no_answer", message=message)))
            self._tools.gave_up()
        if (about := self._again.due(now)) is not None:
            effects += self._answers.answering.want(now, about)
        return [*effects, *self._go_on_after_calls(now), *self._end_if_due(now)]

    @property
    def _is_answering(self) -> bool:
        return self._answers.answering.is_busy or self._tools.owes or self._again.deadline is not None

    def _end_if_due(self, now: float) -> list[Effect]:
        if self._ending is None or not self._ending.is_due(now, busy=self._is_answering):
            return []
        if self._speech.speaking and not self._ending.used_up:  # the model's VAD finds no end of it
            self._ending.stirred(now)
            return self._speech.last_words(self._last_id, now)
        return [Finish(self._ending.reason)]
