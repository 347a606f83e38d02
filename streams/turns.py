"""`parley:{sid}:turns`: what the session is, and what was said, by whom, as heard.

All that a rebuild or a takeover needs.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from streams.codec import Decoder
from streams.down import EpochTaken
from streams.messages import Message

__all__ = [
    "Answered",
    "AssistantSaid",
    "Begun",
    "Committed",
    "EpochTaken",
    "HistoryLine",
    "InstructionsGiven",
    "Opened",
    "PersonaChosen",
    "Removed",
    "SessionChanged",
    "SystemSaid",
    "Timed",
    "ToolAnswered",
    "ToolCalled",
    "TurnMode",
    "TurnsMessage",
    "Used",
    "UserSaid",
    "is_file_stem",
]

TurnMode = Literal["utterance", "server_vad"]
"""`utterance`: the client sends whole recordings, each a turn; `server_vad`: it streams, the model finds the turns"""


_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_file_stem(text: str) -> bool:
    """Whether a recording may be called so: one file name of plain letters, that leads nowhere else."""
    return _FILE_STEM.fullmatch(text) is not None


class HistoryLine(Message, frozen=True, tag="line"):
    role: Literal["user", "assistant"]
    content: str


class Opened(Message, frozen=True, tag="opened"):
    """How the session was asked for. Always the first entry."""

    user: str
    door: str
    persona: str | None = None
    turn_mode: TurnMode = "server_vad"
    numbered: bool = False
    """the client numbers what it says: nothing is taken without its number"""
    input: str | None = None
    """what its chunks in `up` are (`streams.sources.read_chunked`); None: it sends PCM16, or whole recordings"""
    cuts_answers: bool = False
    """of a client that speaks the model's protocol: an answer that is interrupted is truncated for it, as for all others"""
    history: tuple[HistoryLine, ...] = ()
    """what was said before this session, as the client told it"""
    session: msgspec.Raw | None = None
    """what the session of a client that speaks the model's protocol begins with, as if it had changed it so: JSON"""
    record: str | None = None
    """what the transcoder is to call the WAV file (without `.wav`) that it keeps of what is streamed; see `is_file_stem`"""
    recorded_by: str | None = None
    """both voices may be recorded (`streams.heard`): by whose word from the beginning; empty: nobody has agreed yet"""


class Committed(Message, frozen=True, tag="committed"):
    """The user's speech up to here is an item of the conversation; a takeover re-appends only what follows."""

    item: str
    pcm_id: str
    """the last entry of `pcm` whose audio is in the item"""
    offset: int
    """samples of that entry that are in the item"""
    start_id: str | None = None
    """where the model heard it begin: this entry of `pcm`; None: it is all that was said since the item before"""
    start_offset: int | None = None
    """samples of that entry that came before"""


class Removed(Message, frozen=True, tag="removed"):
    """The user's item was taken back: what it held is said again as part of another."""

    item: str


class Begun(Message, frozen=True, tag="begun"):
    """The model has begun to answer all that was said up to here."""

    response: str
    pcm_id: str
    offset: int = 0
    """samples of that entry that belong to it"""
    calls: tuple[str, ...] = ()
    """tool calls whose outputs it was told before"""


class Answered(Message, frozen=True, tag="answered"):
    """The model has said its last word about all that was said up to here; a takeover goes on behind it."""

    response: str
    pcm_id: str
    offset: int = 0
    """samples of that entry that belong to it"""
    calls: tuple[str, ...] = ()
    """tool calls whose outputs it was told before it began: nothing more is owed for them"""
    whole: bool = True
    """False: its socket broke in the middle, and the rest of it is to be said yet"""


class PersonaChosen(Message, frozen=True, tag="persona"):
    persona: str
    fresh: bool = False
    """its voice needed another upstream session: what was said before does not concern it"""


class InstructionsGiven(Message, frozen=True, tag="instructions"):
    """The app's backend has told the model how to behave; a persona that is chosen later brings its own."""

    instructions: str


class SessionChanged(Message, frozen=True, tag="session"):
    """A client that speaks the model's protocol has changed its session; `session` holds all its changes so far."""

    session: msgspec.Raw
    """JSON"""
    pcm_id: str
    """the entry with the latest of them"""


class UserSaid(Message, frozen=True, tag="user"):
    item: str
    text: str


class SystemSaid(Message, frozen=True, tag="system"):
    """The app's backend has told the model this."""

    item: str
    text: str


class AssistantSaid(Message, frozen=True, tag="assistant"):
    response: str
    item: str
    text: str
    """as generated; of an interrupted item, what is estimated to have been heard of it"""
    heard_ms: int | None = None
    """None: all of it"""


class ToolCalled(Message, frozen=True, tag="tool_call"):
    """The model has called a function. Counts only when its response is `Answered`: else the model decides again."""

    response: str
    """empty: the client has told the model of this call"""
    item: str
    call_id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may not hold"""
    by_client: bool = False
    """the client runs it; else the bridge does, and whoever takes over has to, until `ToolAnswered` is there"""
    pcm_id: str | None = None
    """the entry by which the client has told the model of it"""


class ToolAnswered(Message, frozen=True, tag="tool_output"):
    """What the function answered. The first one of a call counts."""

    call_id: str
    output: str
    """as the model is told: mostly JSON"""
    error: str | None = None
    """a code, where the call failed and `output` says so"""
    pcm_id: str | None = None
    """the entry with the client's answer; None: the bridge has run it"""


class Used(Message, frozen=True, tag="used"):
    """What one response, or one transcription, has cost. Each stands here once: the sums of a session are the sums of these.

    Every number may be added up over entries; of `nano_usd` those that are None are not known.
    """

    of: Literal["response", "transcription"]
    id: str
    """of the response, or of the item that was transcribed"""
    model: str
    at_ms: int
    """Unix time, when the model told of it; says to which day (UTC) it counts"""
    part: int = 0
    """of a transcription: which part of its item"""
    status: str | None = None
    """of a response: `completed`, `cancelled`, `failed` or `incomplete`"""
    text_in: int = 0
    """tokens, as are all up to `audio_out`; contains `cached_text_in`, and so do the two that follow theirs"""
    audio_in: int = 0
    image_in: int = 0
    cached_text_in: int = 0
    cached_audio_in: int = 0
    cached_image_in: int = 0
    text_out: int = 0
    audio_out: int = 0
    audio_ms: int = 0
    """of a response: the audio that was generated; of a transcription that is billed by time: what it is billed for"""
    nano_usd: int | None = None
    """billionths of a dollar; None: there is no price for this model"""


class Timed(Message, frozen=True, tag="timed"):
    """How long one turn took, when all that will be known of it is. Each time is Unix time in ms; None: not known, or never.

    `said_ms`, `first_byte_ms` and `playback_ms` are of the gateway's clock, the others of the bridge's.
    """

    item: str
    """what the user said"""
    response: str
    """whose sound came first; empty: none has come"""
    answer: str
    """its item"""
    said_ms: int | None = None
    """the last of what the user said was at the gateway"""
    committed_ms: int | None = None
    """the model had it as an item"""
    first_delta_ms: int | None = None
    """the first sound of the answer was at the bridge"""
    first_byte_ms: int | None = None
    """and on the client's wire"""
    playback_ms: int | None = None
    """the client began to play it, as it says"""


TurnsMessage = (
    Opened
    | EpochTaken
    | Committed
    | Removed
    | Begun
    | Answered
    | PersonaChosen
    | InstructionsGiven
    | SessionChanged
    | UserSaid
    | SystemSaid
    | AssistantSaid
    | ToolCalled
    | ToolAnswered
    | Used
    | Timed
)

decoder: Decoder[TurnsMessage] = Decoder(TurnsMessage)
