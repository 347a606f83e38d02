"""PURE. The conversation: what the client said and what the model says → what to do. Time is an argument, in seconds.

Feed it with `dialled` (a fresh upstream socket), `said` (an entry of `pcm`, once `ready`), `received` (an event of the
model's) and `wake` (it is `next_wake`); each returns effects, to be done in order. The user's half is in `user_speech.py`,
the model's in `answers.py`; here they meet. Who the model is to be is in `role.py`, how a socket begins in `opening.py`,
what a client is told of an event in `for_client.py`, and what becomes of a refusal in `refusals.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from realtime_bridge import backend_words, passthrough, refusals
from realtime_bridge import server_events as hear
from realtime_bridge.again import Again
from realtime_bridge.answering import ANSWER_WITHIN_S
from realtime_bridge.answers import Answers
from realtime_bridge.effects import Effect, Finish, Record, Redial, Say
from realtime_bridge.ending import Ending
from realtime_bridge.for_client import body_for_client
from realtime_bridge.opening import Opening
from realtime_bridge.passthrough import Passthrough
from realtime_bridge.personas import Personas
from realtime_bridge.playback import Heard
from realtime_bridge.policy import Policy
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.recalled import Recalled
from realtime_bridge.rest import Rest
from realtime_bridge.retold import Retold
from realtime_bridge.role import Role
from realtime_bridge.spoken import START, Position
from realtime_bridge.tools import Tools
from realtime_bridge.unwritten import UnwrittenTurns
from realtime_bridge.updates import Updates
from realtime_bridge.user_speech import UserSpeech
from realtime_bridge.verdicts import FATAL_CODES
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import ZERO, EntryId
from streams.messages import Clear, ClientEvent, Commit, End, Instructions, SetPersona, Text
from streams.up import GenOpened


class Conversation:
    """One session's conversation with the model."""

    def __init__(self, opened: turns.Opened, personas: Personas, transcription_model: str | None) -> None:
        self.ready = False
        """the model is configured; nothing that was said goes upstream before"""
        self._role = Role(opened, personas, transcription_model)
        self._recordings = opened.turn_mode == "utterance"
        self._updates = Updates()
        self._opening = Opening()
        self.position = START
        """up to here another bridge, or socket, has dealt with what was said; what comes behind it is to be `said`"""
        self._last_id = ZERO
        self._heard_to = ZERO
        """up to here all was said to the socket before; what was only for that one is not said again"""
        self._told_to = ZERO
        """up to here the client knows what was wrong with what it said"""
        self._ending: Ending | None = None
        """the client has said goodbye; nothing that comes after it counts"""
        self._client = Passthrough() if opened.door == passthrough.DOOR else None
        """what a client has asked for that speaks the model's protocol; None for all others"""
        self._cuts_answers = self._client is None or opened.cuts_answers
        """an interruption is ours to truncate"""
        self._unwritten = UnwrittenTurns()
        self._former: Answers | None = None
        """of the socket before, which may still be heard"""
        self._again = Again(asks=self._client is None)
        self._answers: Answers
        self._rest: Rest
        self.retold: Retold
        self._tools: Tools
        self._speech: UserSpeech
        self._forget()

    def _forget(self) -> None:
        """What belonged to one socket."""
        self._answers, self.retold = Answers(), Retold()
        self._rest = Rest(self._answers.answering)
        self._tools = Tools(self._answers.answering, self._opening.owed(), client_runs_others=self._client is not None)
        self._vad_answers = True
        """the model answers a turn that it has found"""
        self._vad_answers_until = 0.0
        """the user's turn has ended, and until then the model may begin to answer it by itself"""
        responds = self._client is None
        self._unwritten.reopen()
        self._speech = UserSpeech(
            self._answers,
            self._configure,
            self._unwritten,
            self.position,
            recordings=self._recordings,
            responds=responds,
        )
        self._updates.forget()
        self._again.forget()

    def restore(self, rebuilt: Rebuilt, *, mends: bool = False) -> None:
        """Go on where another bridge, or another upstream socket, has left off. `dialled` comes next, then what `said`
        after `rebuilt.position` (whose entry comes again when only some of its samples were dealt with). `mends`: the
        client was told of a break, and is told of its end."""
        self._role.asked_for, self._role.given = rebuilt.persona, rebuilt.instructions
        self._opening.restore(rebuilt, self._role.personas, mends=mends)
        self._unwritten.restore((each.item, each.start) for each in rebuilt.unwritten)
        self.go_on_from(rebuilt.position)
        self._told_to = max(self._told_to, rebuilt.told_to)
        if self._client is not None:
            self._client.restore(rebuilt.session, rebuilt.changed_by)

    def left(self) -> list[Effect]:
        """The socket is gone, and another one follows: what is to be told and noted yet. Nothing goes upstream any more."""
        return self._answers.abandon()

    def follow(self, former: Conversation) -> None:
        """What was said on the socket before may still be heard, and interrupted; what came over it is known."""
        self._former = former._answers
        self.know(former)
        if former._ending is not None and former._ending.used_up:  # nobody says so again in `pcm`
            self._ending = former._ending

    def know(self, former: Conversation) -> None:
        """What was said to the socket before, and what the client was told of it, is not said and told again."""
        self._heard_to = max(former._last_id, former._heard_to)
        self._told_to = max(former._told_to, self._heard_to)

    def hear_on(self, parts: Sequence[Recalled], now: float) -> None:
        """What another bridge has said may still be heard, and interrupted. After `restore`."""
        self._former = Answers()
        self._former.recall(parts, now)

    def go_on_from(self, position: Position) -> None:
        """All up to here has been dealt with."""
        self.position, self._last_id = position, position.entry

    def quiet_at(self, now: float) -> Position | None:
        """From where another socket could go on this moment without anybody hearing it; None when somebody would:
        the user speaks, or an answer is wanted, generated or heard, or something has been asked and is not answered."""
        if not self.ready or self._updates or self._ending is not None or self._is_answering or self._answers.is_heard(now):
            return None
        if now < self._vad_answers_until or (self._client is not None and not self._client.is_idle):
            return None
        return self._speech.unspoken(self._last_id)

    # ── the socket ──────────────────────────────────────────────────────────────────────────────────────────────────

    def dialled(self) -> list[Effect]:
        """A fresh upstream socket is open: configure it before anything else."""
        self.ready = False
        effects = self._answers.abandon()
        self._forget()
        if self._former is not None:
            self._answers.go_on_hearing(self._former)
            self._former = None
        if self._client is not None:
            self._client.dialled()
        if (unknown := self._role.begin()) is not None:
            effects.append(Say(unknown))
        return [*effects, self._configure(self._opening.greets())]

    def _configure(self, persona: str | None = None) -> Effect:
        """A full `session.update`. `persona`: it brings this one, who greets when it is there."""
        config = self._role.session(vad=self._speech.vad)
        self._tools.offer(self._role.persona_id, self._role.persona)
        if self._client is not None:
            config = self._client.session(config, self._role.policy)
        return self._updates.ask(config, persona)

    # ── what the client said ────────────────────────────────────────────────────────────────────────────────────────

    def said(self, entry: Entry[pcm.PcmMessage], now: float) -> list[Effect]:
        """An entry of `pcm`, in order. What is wrong with it is told once, however often it is read again."""
        effects = self._heed(entry, now)
        if isinstance(entry.message, pcm.Audio):  # nothing is ever wrong with that
            return effects
        is_told = entry.id <= self._told_to
        return [each for effect in effects if (each := _about(entry.id, effect, is_told=is_told)) is not None]

    def _heed(self, entry: Entry[pcm.PcmMessage], now: float) -> list[Effect]:
        before, self._last_id = self._last_id, entry.id
        if self._ending is not None:
            return []
        here, deaf_ms = Position(entry.id, 0), self._role.deaf_ms
        match entry.message:
            case pcm.Audio(audio=audio) if entry.id == self.position.entry:
                rest = audio[2 * (skipped := self.position.samples) :]
                if not rest:
                    return []
                return self._speech.audio(entry.id, before, self._answers.without_echo(rest, deaf_ms, now), now, skipped)
            case pcm.Audio(audio=audio):
                return self._speech.audio(entry.id, before, self._answers.without_echo(audio, deaf_ms, now), now)
            case pcm.UtteranceEnd() as end:
                return self._speech.recording_end(entry.id, end, now)
            case pcm.MediaError(code=code, message=message):
                return [Say(down.Failed(code=code, message=message))]
            case pcm.Gap(missing_ms=missing_ms, filled=filled):
                message = f"About {missing_ms / 1000:.2f} s of what you sent were damaged; the rest was heard."
                silence = [] if filled else self._speech.gap(missing_ms)
                return [*silence, Say(down.Failed(code="damaged_media", message=message))]
            case Commit(event_id=event_id) if self._client is not None:
                return self._speech.commit_as_asked(passthrough.named(event_id, entry.id))
            case Clear(event_id=event_id) if self._client is not None:
                return self._speech.clear(passthrough.named(event_id, entry.id))
            case ClientEvent(type=kind) if entry.id <= self._heard_to and kind in passthrough.OF_ONE_SOCKET:
                return []
            case ClientEvent() as event:
                return self._relay(entry.id, event, self._role.policy)
            case Commit(respond=respond):
                return self._speech.commit(entry.id, now, respond=respond)
            case Clear():
                return self._speech.clear()
            case Text() as text:
                return backend_words.tell(entry.id, text, self._answers, self._client, now)
            case Instructions(instructions=instructions):
                return self._instruct(entry.id, instructions)
            case SetPersona(persona=persona):
                self._opening.greets_at = here
                return self._set_persona(persona, now)
            case End(reason=reason, after_answer=True):
                self._ending = Ending(reason, now)
                return [*self._speech.last_words(entry.id, now), *self._end_if_due(now)]
            case End(reason=reason):
                return [Finish(reason)]
            case GenOpened():
                return []

    def _instruct(self, entry: EntryId, instructions: str) -> list[Effect]:
        self._role.given = instructions
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
            self._updates.relayed(relayed.event_id, relayed.change)
        if relayed.asks and self._rest.is_under_way:
            return self._rest.give_way(relayed.effects)
        return relayed.effects

    def _set_persona(self, persona_id: str, now: float) -> list[Effect]:
        persona = self._role.personas.get(persona_id)
        if persona is None:
            return [Say(self._role.unknown(persona_id))]
        effects = self._answers.interrupt(now)
        other_voice = self._answers.voiced and persona.voice != self._role.persona.voice
        self._role.become(persona_id, persona)
        effects.append(Record(turns.PersonaChosen(persona=persona_id, fresh=other_voice)))
        if not other_voice:
            return [*effects, self._configure(persona_id)]
        # Once it has spoken, the model refuses another voice: another person begins another conversation.
        self._opening.greet_as(persona_id)
        self.ready = False
        return [*effects, Redial()]

    # ── what the model says ─────────────────────────────────────────────────────────────────────────────────────────

    def received(self, event: hear.ServerEvent | hear.Unknown, raw: str, now: float) -> list[Effect]:
        """An event of the model's, and its JSON text, which goes on to the client (audio as audio)."""
        if isinstance(event, hear.ResponseOutputAudioDelta):
            return self._answers.audio(event, now)
        theirs = self._is_theirs(event)
        comes_again = isinstance(event, hear.ResponseDone) and self._again.will_be_asked(event.response)
        told = body_for_client(event, raw, self._client, self.retold, self._role.policy, theirs=theirs)
        body = None if comes_again else told
        before, after = self._handle(event, now, theirs=theirs)
        if self._ending is not None:
            self._ending.stirred(now)
        says = [] if body is None else [Say(down.ServerEvent(type=hear.type_of(event), body=msgspec.Raw(body)))]
        return [*before, *says, *after, *self._rest.given_way(), *self._go_on_after_calls(now)]

    def tool_answered(self, call_id: str, output: str, error: str | None, now: float) -> list[Effect]:
        """A function that `CallTool` has called has answered; with an `error`, a code, the output says what went wrong."""
        return [*self._tools.answered(call_id, output, error), *self._go_on_after_calls(now)]

    def _go_on_after_calls(self, now: float) -> list[Effect]:
        asks = self._client is not None and self._client.is_asking
        return self._tools.due(now, quiet=self.ready and not asks and not self._speech.speaking)

    def _is_theirs(self, event: hear.ServerEvent | hear.Unknown) -> bool:
        """Whether it is the answer to something that a client has asked for that speaks the model's protocol."""
        if self._client is None:
            return False
        match event:
            case hear.SessionUpdated():
                return self._updates.next_is_clients
            case hear.Error(error=error):
                ours = self._updates.are_ours(error.event_id) or self._tools.is_ours(error.event_id)
                ours = ours or (error.event_id is not None and error.event_id == self._answers.answering.asked_as)
                return self.ready and error.code not in FATAL_CODES and not ours
            case _:
                return False

    def _handle(
        self, event: hear.ServerEvent | hear.Unknown, now: float, *, theirs: bool
    ) -> tuple[list[Effect], list[Effect]]:
        """What to do before the client is told of the event, and after."""
        answers, speech = self._answers, self._speech
        match event:
            case hear.SessionUpdated(session=session):
                return [], self._updated(session, now)
            case hear.InputAudioBufferSpeechStarted(item_id=item, audio_start_ms=audio_start_ms):
                speech.started(item, audio_start_ms)
                return [], answers.interrupt(now, by_model=True) if self._cuts_answers else []
            case hear.InputAudioBufferSpeechStopped(audio_end_ms=audio_end_ms):
                speech.stopped(audio_end_ms)
                if self._vad_answers:
                    self._tools.turn_ended(now)
                    self._vad_answers_until = now + ANSWER_WITHIN_S
            case hear.InputAudioBufferCommitted(item_id=item):
                return [], speech.committed(item)
            case hear.ConversationItemInputAudioTranscriptionCompleted(item_id=item, transcript=transcript):
                self._unwritten.written(item)
                return [], [Record(turns.UserSaid(item=item, text=transcript))]
            case hear.ResponseCreated(response=response):
                by_us = answers.answering.asked_as is not None
                asked = None if self._client is None or by_us else self._client.begun()
                aside = asked is not None and asked.aside
                self._again.forget()
                self._vad_answers_until = 0.0
                self._tools.created(response.id, by_us=by_us, by_client=asked is not None, aside=aside)
                self._rest.begins(response.id)
                about, outputs = asked.about if asked else speech.committed_to, self._tools.covered(response.id)
                return [], answers.created(response.id, about, outputs)
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
                return list(told), [*(each for each in effects if not isinstance(each, Say)), *refusals.of_answer(response)]
            case hear.ConversationItemAdded(item=item):
                self._tools.added(item)
                if self._client is not None:
                    self._client.added(item.id)
            case hear.ConversationItemTruncated(item_id=item, content_index=part, audio_end_ms=at_ms) if self._client:
                return [], answers.truncated(item, part, at_ms or 0)
            case hear.ConversationItemDeleted(item_id=item) if self._client is not None:
                self._unwritten.written(item)
                return [], [Record(turns.Removed(item=item))]
            case hear.Error(error=error) if self._client is not None and theirs:
                return [], self._refused(self._client, error)
            case hear.Error(error=error):
                ready, answering = self.ready, answers.answering
                return [], refusals.of_event(error, self._updates, answering, self._tools, ready=ready)
            case _:
                pass
        return [], []

    def _ask_again(self, response: hear.Response, now: float) -> None:
        if response.status == "completed":
            self._again.succeeded()
        elif self._again.will_be_asked(response):
            about = self._answers.answering.about(response.id)  # so it does not count as an answer
            if about is not None:
                self._again.ask(about, now)

    def _updated(self, session: hear.Session, now: float) -> list[Effect]:
        update = self._updates.answered()
        if update is None:
            return []
        self.ready = True
        if self._client is not None:
            self._speech.vad = passthrough.finds_turns(session, default=self._speech.vad)
            self._vad_answers = passthrough.answers_turns(session)
            if update.change is not None:
                return self._client.changed(update.change)
        told = self._opening.tell(self._answers, self.retold, self._tools)
        if update.persona is None:
            overrides = {} if self._client is None else self._client.session_overrides
            effects = [*told, *self._opening.go_on(self._role, overrides, self._answers, self.position, now)]
            self._rest.asked()
            return effects
        return [*told, Say(down.PersonaSet(persona=update.persona)), *self._opening.greet(self._role, self._answers, now)]

    def _refused(self, client: Passthrough, error: hear.ErrorDetail) -> list[Effect]:
        """The client is told by the event itself; here is what nothing will come of."""
        self._updates.drop(error.event_id)
        self._speech.refused(error.event_id)
        return client.refused(error)

    def too_far_behind(self, now: float) -> list[Effect]:
        """The client has not received what it was told long ago: break the answer off, and say so."""
        message = "Your connection is too slow for this answer; the rest of it was left out."
        return [*self._answers.interrupt(now), Say(down.Failed(code="client_too_slow", message=message))]

    def stopped(self, stop: str, heard: Heard, now: float) -> list[Effect]:
        """The client's gateway has stopped, as `Stop` has asked it to, and says how much was heard."""
        return [*self._answers.stopped(stop, heard, now), *self._go_on_after_calls(now), *self._end_if_due(now)]

    def finish(self, reason: str, now: float) -> list[Effect]:
        """No more than what is being answered: the session has used all that it may."""
        self._ending = self._ending or Ending(reason, now, used_up=True)
        return self._end_if_due(now)

    def plays_on_s(self, now: float) -> float:
        """For how long the answer is probably still heard with which the conversation is to end; nobody waits for others."""
        return 0.0 if self._ending is None else self._answers.playback.until(now) - now

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
        return [*effects, *self._rest.given_way(), *self._go_on_after_calls(now), *self._end_if_due(now)]

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


def _about(entry: EntryId, effect: Effect, *, is_told: bool) -> Effect | None:
    """What is said to have failed is about this entry of the client's; None when it was told already."""
    if not isinstance(effect, Say) or not isinstance(effect.message, down.Failed):
        return effect
    return None if is_told else Say(msgspec.structs.replace(effect.message, pcm_id=str(entry)))
