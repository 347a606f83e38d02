"""PURE. Who the model is to be: a persona, with what the app's own backend says in place of its instructions."""

from __future__ import annotations

from realtime_bridge import client_events as say
from realtime_bridge.personas import Persona, Personas
from realtime_bridge.policy import Policy
from realtime_bridge.prompts import GO_ON, GREET
from streams import down, turns


class Role:
    """One session's."""

    def __init__(self, opened: turns.Opened, personas: Personas, transcription_model: str | None) -> None:
        self.personas = personas
        self.persona: Persona = personas.default
        self.persona_id = personas.default_id
        self.asked_for = opened.persona
        """the persona of the first socket, as the client or `turns` names it; `begin` looks whether there is one"""
        self.given: str | None = None
        """the app's backend's instructions, in place of the persona's"""
        self._recordings = opened.turn_mode == "utterance"
        self._transcription_model = transcription_model

    @property
    def policy(self) -> Policy:
        """What a client that speaks the model's protocol may change of it."""
        return Policy(bool(self.persona.locked))

    @property
    def instructions(self) -> str:
        """The persona's, or those given in place of them."""
        return self.persona.instructions if self.given is None else self.given

    def begin(self) -> down.Failed | None:
        """Be who was asked for; what the client is told when there is no such persona."""
        asked_for, self.asked_for = self.asked_for, None
        if asked_for is None:
            return None
        persona = self.personas.get(asked_for)
        if persona is None:
            return self.unknown(asked_for)
        self.persona, self.persona_id = persona, asked_for
        return None

    def become(self, persona_id: str, persona: Persona) -> None:
        """Somebody else, who knows nothing of the instructions that were given."""
        self.persona, self.persona_id, self.given = persona, persona_id, None

    def unknown(self, persona_id: str) -> down.Failed:
        """What the client is told."""
        known = ", ".join(self.personas.by_id)
        message = f"There is no persona {persona_id!r} here. Known are: {known}."
        return down.Failed(code="unknown_persona", message=message)

    @property
    def deaf_ms(self) -> int | None:
        """How much of the beginning of each answer may be heard as its own echo: see `Playback.may_echo`."""
        return 0 if self._recordings else self.persona.deaf_ms

    def session(self, *, vad: bool) -> say.JsonObject:
        """The session that the model is asked for. `vad`: it is to find the turns."""
        detection = self.persona.turn_detection
        if self._recordings and vad:
            detection = detection or say.ServerVad()  # slices of one speech: push-to-talk is not what this client does
        return say.session_config(
            instructions=self.instructions,
            voice=self.persona.voice,
            turn_detection=detection if vad else None,
            transcription_model=self._transcription_model,
            noise_reduction=self.persona.noise_reduction,
            tools=[tool.declared for tool in self.persona.tools],
            tool_choice=self.persona.declared_tool_choice,
        )

    # A response's own instructions replace the session's, so those below begin with them.

    def to_greet(self) -> say.JsonObject | None:
        """The response in which this persona says its first words; None: it says none."""
        greeting = GREET if self.persona.greeting is None else self.persona.greeting
        return {"instructions": f"{self.persona.instructions}\n\n{greeting}"} if greeting else None

    def to_go_on(self, overrides: say.JsonObject) -> say.JsonObject:
        """The response that says the rest of one that broke off. `overrides`: what the client has changed of the session."""
        instructions = self.policy.session(overrides).get("instructions", self.instructions)
        return {"instructions": f"{instructions}\n\n{GO_ON}"}
