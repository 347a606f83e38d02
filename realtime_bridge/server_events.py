"""PURE. What upstream says: a closed union of events in the API's own names, and `parse()`.

Every struct is named after its type: `response.output_audio.delta` is `ResponseOutputAudioDelta`. Servers of the same
protocol differ in what they leave out, so reading forgives:

* what is not known is ignored, an unknown field as well as an unknown type, which comes back whole as `Unknown`;
* an index that is left out is 0; an id that is left out is "", which equals no id of ours; else what is left out is None;
* a null where there should be a value counts as left out, and 320.0 reads as 320;
* words that make up small sets (status, reason, role, …) are plain strings, for these sets grow.

What an event exists for has no default: an audio delta without `delta` is a `MalformedServerEvent`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec

from realtime_bridge.errors import MalformedServerEvent

JsonObject: TypeAlias = dict[str, Any]


# ---- what events are made of ----------------------------------------------------------------------------------------


class AudioFormat(msgspec.Struct, frozen=True):
    type: str | None = None
    """`audio/pcm`, `audio/pcmu` or `audio/pcma`"""
    rate: int | None = None
    """Hertz"""


class Transcription(msgspec.Struct, frozen=True):
    model: str | None = None
    language: str | None = None


class TurnDetection(msgspec.Struct, frozen=True):
    type: str | None = None
    """`server_vad` or `semantic_vad`"""
    threshold: float | None = None
    prefix_padding_ms: float | None = None
    silence_duration_ms: float | None = None
    idle_timeout_ms: float | None = None
    eagerness: str | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SessionAudioInput(msgspec.Struct, frozen=True):
    format: AudioFormat | str | None = None
    transcription: Transcription | None = None
    noise_reduction: JsonObject | None = None
    turn_detection: TurnDetection | None = None
    """None: push-to-talk"""


class SessionAudioOutput(msgspec.Struct, frozen=True):
    format: AudioFormat | str | None = None
    voice: str | JsonObject | None = None
    """a name, or `{"id": "voice_…"}`"""
    speed: float | None = None


class SessionAudio(msgspec.Struct, frozen=True):
    input: SessionAudioInput | None = None
    output: SessionAudioOutput | None = None


class Session(msgspec.Struct, frozen=True):
    """The effective session, as far as we look at it."""

    id: str = ""
    type: str | None = None
    """`realtime` or `transcription`"""
    model: str | None = None
    expires_at: float | None = None
    """Unix time, seconds; None when the server does not say"""
    output_modalities: tuple[str, ...] | None = None
    instructions: str | None = None
    audio: SessionAudio | None = None
    tools: tuple[JsonObject, ...] | None = None


class Conversation(msgspec.Struct, frozen=True):
    id: str = ""


class ContentPart(msgspec.Struct, frozen=True):
    """A part of an item's content (long type names) or of a response's (`audio`, `text`)."""

    type: str | None = None
    text: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct, frozen=True):
    id: str = ""
    type: str | None = None
    """`message`, `function_call`, `function_call_output`, `mcp_call`, …"""
    role: str | None = None
    """of a message: `system`, `user` or `assistant`"""
    status: str | None = None
    """`completed`, `incomplete` or `in_progress`"""
    content: tuple[ContentPart, ...] = ()
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    """of a function call: JSON, as text, as the model wrote it"""
    output: str | None = None
    """of a function call output"""


class ErrorDetail(msgspec.Struct, frozen=True):
    type: str | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
    event_id: str | None = None
    """the client event that is to blame, when it had an id"""


class CachedTokens(msgspec.Struct, frozen=True):
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


class InputTokens(msgspec.Struct, frozen=True):
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    """contained in the counts above, as are its details"""
    cached_tokens_details: CachedTokens = CachedTokens()


class OutputTokens(msgspec.Struct, frozen=True):
    text_tokens: int = 0
    """with what the model thought in silence"""
    audio_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokens = InputTokens()
    output_token_details: OutputTokens = OutputTokens()


class TranscriptionUsage(msgspec.Struct, frozen=True):
    """What a transcript costs, apart from the conversation: tokens or seconds, as `type` says."""

    type: str | None = None
    """`tokens` or `duration`"""
    seconds: float | None = None
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokens = InputTokens()


class StatusDetails(msgspec.Struct, frozen=True):
    type: str | None = None
    reason: str | None = None
    """`turn_detected`, `client_cancelled`, `max_output_tokens` or `content_filter`"""
    error: ErrorDetail | None = None


class Response(msgspec.Struct, frozen=True):
    id: str = ""
    status: str | None = None
    """`in_progress`, then `completed`, `cancelled`, `failed` or `incomplete`"""
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    conversation_id: str | None = None
    """None: out of band"""
    usage: Usage | None = None
    """None until the response is done"""
    metadata: JsonObject | None = None
    """what `response.create` carried"""


class RateLimit(msgspec.Struct, frozen=True):
    name: str | None = None
    """`requests` or `tokens`"""
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


# ---- the events -----------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The base of all events."""

    event_id: str = ""

    @property
    def type(self) -> str:
        """The event's name in the API."""
        return str(self.__struct_config__.tag)


class ItemEvent(Event, frozen=True, kw_only=True):
    item: Item
    previous_item_id: str | None = None
    """None: the first"""


class ItemIdEvent(Event, frozen=True, kw_only=True):
    item_id: str = ""


class ItemPartEvent(ItemIdEvent, frozen=True, kw_only=True):
    content_index: int = 0


class ResponseIdEvent(Event, frozen=True, kw_only=True):
    response_id: str = ""


class OutputEvent(ResponseIdEvent, frozen=True, kw_only=True):
    """Something about one item of a response."""

    item_id: str = ""
    output_index: int = 0


class OutputItemEvent(ResponseIdEvent, frozen=True, kw_only=True):
    item: Item
    output_index: int = 0


class OutputPartEvent(OutputEvent, frozen=True, kw_only=True):
    """Something about one part of an item of a response."""

    content_index: int = 0


class SessionCreated(Event, frozen=True, kw_only=True, tag="session.created"):
    session: Session


class SessionUpdated(Event, frozen=True, kw_only=True, tag="session.updated"):
    session: Session


class ConversationCreated(Event, frozen=True, kw_only=True, tag="conversation.created"):
    """Not sent by OpenAI any more; xAI and older servers do."""

    conversation: Conversation = Conversation()


class ConversationItemAdded(ItemEvent, frozen=True, kw_only=True, tag="conversation.item.added"):
    pass


class ConversationItemDone(ItemEvent, frozen=True, kw_only=True, tag="conversation.item.done"):
    pass


class ConversationItemCreated(ItemEvent, frozen=True, kw_only=True, tag="conversation.item.created"):
    """The older name of `conversation.item.added`."""


class ConversationItemRetrieved(Event, frozen=True, kw_only=True, tag="conversation.item.retrieved"):
    item: Item


class ConversationItemTruncated(ItemPartEvent, frozen=True, kw_only=True, tag="conversation.item.truncated"):
    audio_end_ms: int | None = None


class ConversationItemDeleted(ItemIdEvent, frozen=True, kw_only=True, tag="conversation.item.deleted"):
    pass


class ConversationItemInputAudioTranscriptionDelta(
    ItemPartEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.delta"
):
    delta: str = ""


class ConversationItemInputAudioTranscriptionCompleted(
    ItemPartEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.completed"
):
    """What the user said. Comes whenever it comes: keyed by its item, never by its place in the order."""

    transcript: str
    usage: TranscriptionUsage | None = None


class ConversationItemInputAudioTranscriptionFailed(
    ItemPartEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.failed"
):
    error: ErrorDetail = ErrorDetail()


class ConversationItemInputAudioTranscriptionSegment(
    ItemPartEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.segment"
):
    id: str = ""
    text: str
    speaker: str | None = None
    start: float | None = None
    """seconds"""
    end: float | None = None
    """seconds"""


class InputAudioBufferSpeechStarted(ItemIdEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_started"):
    """The interruption signal. `item_id` is the user item that is going to be."""

    audio_start_ms: int | None = None
    """in appended audio since the session began, prefix padding taken off"""


class InputAudioBufferSpeechStopped(ItemIdEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_stopped"):
    audio_end_ms: int | None = None
    """in appended audio since the session began"""


class InputAudioBufferCommitted(ItemIdEvent, frozen=True, kw_only=True, tag="input_audio_buffer.committed"):
    previous_item_id: str | None = None


class InputAudioBufferCleared(Event, frozen=True, kw_only=True, tag="input_audio_buffer.cleared"):
    pass


class InputAudioBufferTimeoutTriggered(ItemIdEvent, frozen=True, kw_only=True, tag="input_audio_buffer.timeout_triggered"):
    audio_start_ms: int | None = None
    audio_end_ms: int | None = None


class InputAudioBufferDtmfEventReceived(Event, frozen=True, kw_only=True, tag="input_audio_buffer.dtmf_event_received"):
    """Telephone keys; on SIP calls only."""

    event: str = ""
    received_at: float | None = None
    """Unix time, seconds"""


class OutputAudioBufferStarted(ResponseIdEvent, frozen=True, kw_only=True, tag="output_audio_buffer.started"):
    """WebRTC and SIP only, as are its two siblings."""


class OutputAudioBufferStopped(ResponseIdEvent, frozen=True, kw_only=True, tag="output_audio_buffer.stopped"):
    pass


class OutputAudioBufferCleared(ResponseIdEvent, frozen=True, kw_only=True, tag="output_audio_buffer.cleared"):
    pass


class ResponseCreated(Event, frozen=True, kw_only=True, tag="response.created"):
    response: Response


class ResponseDone(Event, frozen=True, kw_only=True, tag="response.done"):
    response: Response


class ResponseOutputItemAdded(OutputItemEvent, frozen=True, kw_only=True, tag="response.output_item.added"):
    pass


class ResponseOutputItemDone(OutputItemEvent, frozen=True, kw_only=True, tag="response.output_item.done"):
    pass


class ResponseContentPartAdded(OutputPartEvent, frozen=True, kw_only=True, tag="response.content_part.added"):
    part: ContentPart = ContentPart()


class ResponseContentPartDone(OutputPartEvent, frozen=True, kw_only=True, tag="response.content_part.done"):
    part: ContentPart = ContentPart()


class ResponseOutputTextDelta(OutputPartEvent, frozen=True, kw_only=True, tag="response.output_text.delta"):
    delta: str


class ResponseOutputTextDone(OutputPartEvent, frozen=True, kw_only=True, tag="response.output_text.done"):
    text: str


class ResponseOutputAudioDelta(OutputPartEvent, frozen=True, kw_only=True, tag="response.output_audio.delta"):
    delta: str
    """base64; not always whole samples"""


class ResponseOutputAudioDone(OutputPartEvent, frozen=True, kw_only=True, tag="response.output_audio.done"):
    pass


class ResponseOutputAudioTranscriptDelta(
    OutputPartEvent, frozen=True, kw_only=True, tag="response.output_audio_transcript.delta"
):
    delta: str


class ResponseOutputAudioTranscriptDone(
    OutputPartEvent, frozen=True, kw_only=True, tag="response.output_audio_transcript.done"
):
    transcript: str


class ResponseFunctionCallArgumentsDelta(
    OutputEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"
):
    call_id: str = ""
    delta: str


class ResponseFunctionCallArgumentsDone(OutputEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    call_id: str = ""
    name: str | None = None
    arguments: str


class ResponseMcpCallArgumentsDelta(OutputEvent, frozen=True, kw_only=True, tag="response.mcp_call_arguments.delta"):
    delta: str


class ResponseMcpCallArgumentsDone(OutputEvent, frozen=True, kw_only=True, tag="response.mcp_call_arguments.done"):
    arguments: str


class ResponseMcpCallInProgress(ItemIdEvent, frozen=True, kw_only=True, tag="response.mcp_call.in_progress"):
    output_index: int = 0


class ResponseMcpCallCompleted(ItemIdEvent, frozen=True, kw_only=True, tag="response.mcp_call.completed"):
    output_index: int = 0


class ResponseMcpCallFailed(ItemIdEvent, frozen=True, kw_only=True, tag="response.mcp_call.failed"):
    output_index: int = 0


class McpListToolsInProgress(ItemIdEvent, frozen=True, kw_only=True, tag="mcp_list_tools.in_progress"):
    pass


class McpListToolsCompleted(ItemIdEvent, frozen=True, kw_only=True, tag="mcp_list_tools.completed"):
    pass


class McpListToolsFailed(ItemIdEvent, frozen=True, kw_only=True, tag="mcp_list_tools.failed"):
    pass


class RateLimitsUpdated(Event, frozen=True, kw_only=True, tag="rate_limits.updated"):
    rate_limits: tuple[RateLimit, ...] = ()


class Error(Event, frozen=True, kw_only=True, tag="error"):
    """Closes nothing by itself; a CLOSE follows where the session is over."""

    error: ErrorDetail


class Unknown(NamedTuple):
    """An event of a type we do not know, to be counted and passed over."""

    type: str
    raw: bytes


ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | ConversationCreated
    | ConversationItemAdded
    | ConversationItemDone
    | ConversationItemCreated
    | ConversationItemRetrieved
    | ConversationItemTruncated
    | ConversationItemDeleted
    | ConversationItemInputAudioTranscriptionDelta
    | ConversationItemInputAudioTranscriptionCompleted
    | ConversationItemInputAudioTranscriptionFailed
    | ConversationItemInputAudioTranscriptionSegment
    | InputAudioBufferSpeechStarted
    | InputAudioBufferSpeechStopped
    | InputAudioBufferCommitted
    | InputAudioBufferCleared
    | InputAudioBufferTimeoutTriggered
    | InputAudioBufferDtmfEventReceived
    | OutputAudioBufferStarted
    | OutputAudioBufferStopped
    | OutputAudioBufferCleared
    | ResponseCreated
    | ResponseDone
    | ResponseOutputItemAdded
    | ResponseOutputItemDone
    | ResponseContentPartAdded
    | ResponseContentPartDone
    | ResponseOutputTextDelta
    | ResponseOutputTextDone
    | ResponseOutputAudioDelta
    | ResponseOutputAudioDone
    | ResponseOutputAudioTranscriptDelta
    | ResponseOutputAudioTranscriptDone
    | ResponseFunctionCallArgumentsDelta
    | ResponseFunctionCallArgumentsDone
    | ResponseMcpCallArgumentsDelta
    | ResponseMcpCallArgumentsDone
    | ResponseMcpCallInProgress
    | ResponseMcpCallCompleted
    | ResponseMcpCallFailed
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpListToolsFailed
    | RateLimitsUpdated
    | Error
)


# ---- reading --------------------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    type: str


TYPES: dict[str, type[Event]] = {str(each.__struct_config__.tag): each for each in get_args(ServerEvent)}
"""Every known event by its name in the API."""

_event: msgspec.json.Decoder[ServerEvent] = msgspec.json.Decoder(ServerEvent)
_envelope = msgspec.json.Decoder(_Envelope)
_anything = msgspec.json.Decoder()


def type_of(event: ServerEvent | Unknown) -> str:
    """The event's name in the API."""
    return event.type


def parse(raw: str | bytes) -> ServerEvent | Unknown:
    """One frame as an event. Raises MalformedServerEvent, and nothing else."""
    try:
        return _event.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _parse_slowly(raw)


def _parse_slowly(raw: str | bytes) -> ServerEvent | Unknown:
    """What the one fast decode could not read: an unknown type, a server of looser habits, or no event at all."""
    try:
        name = _envelope.decode(raw).type
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedServerEvent(_why(error)) from error
    if name not in TYPES:
        return Unknown(name, raw.encode() if isinstance(raw, str) else raw)
    try:
        event: ServerEvent = msgspec.convert(_tidy(_anything.decode(raw)), ServerEvent)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedServerEvent(_why(error), name) from error
    return event


def _tidy(value: Any) -> Any:
    """Without nulls, and with whole numbers as integers."""
    match value:
        case dict():
            return {key: _tidy(each) for key, each in value.items() if each is not None}
        case list():
            return [_tidy(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value


def _why(error: Exception) -> str:
    """Paths, types and byte counts; never a value, for that may be what somebody said."""
    match error:
        case UnicodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deep"
    return str(error)
