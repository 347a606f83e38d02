"""PURE. An entry of a recorded session → the line that its track keeps of it, and its sound."""

from __future__ import annotations

import msgspec

from streams import down, heard, messages, pcm
from streams.ids import EntryId
from transcoder.track_lines import AnyLine, Generated, Gone, Happened, Played, Plays, Spoken, Stretch, Switch, Whole

BYTES_PER_SAMPLE = 2


def of_heard(entry: EntryId, message: heard.HeardMessage) -> AnyLine:
    """The id is the time."""
    now = entry.left
    match message:
        case heard.Switched(on=on, by=by):
            return Switch(now, on, by)
        case heard.Left(connection=connection):
            return Gone(now, connection)
        case heard.Playing():
            return Plays(
                now,
                message.connection,
                message.after,
                message.exact,
                now + message.since_ms,
                tuple(Stretch(s.item, s.part, s.from_ms, s.ms, now + s.begins_ms) for s in message.sounds),
                tuple(Played(r.item, r.part, r.ms, now + r.at_ms) for r in message.reports),
            )


def said_ms(message: pcm.PcmMessage) -> int | None:
    """When the client's speech was there, where a transcoder made this of it: maybe seconds later, after one has died."""
    return message.said_ms if isinstance(message, pcm.Audio) else None


def of_pcm(at_ms: int, message: pcm.PcmMessage, offset: int) -> tuple[AnyLine | None, bytes]:
    """`offset`: samples in the track so far."""
    match message:
        case pcm.Audio(audio=audio):
            return Spoken(at_ms, offset, len(audio) // BYTES_PER_SAMPLE), audio
        case pcm.UtteranceEnd(arrived_ms=arrived_ms):
            return Whole(at_ms, arrived_ms), b""
        case pcm.MediaError() | pcm.Gap() | messages.Commit() | messages.Clear() | messages.Text() | messages.End():
            return _happened(at_ms, f"user.{message.__struct_config__.tag}", msgspec.to_builtins(message)), b""
        case messages.SetPersona() | messages.Instructions():
            return _happened(at_ms, f"user.{message.__struct_config__.tag}", None), b""
        case _:
            return None, b""


def of_down(at_ms: int, entry: EntryId, message: down.DownMessage, offset: int) -> tuple[AnyLine | None, bytes]:
    """`offset`: samples in the track so far."""
    match message:
        case down.Audio(item=item, part=part, start_ms=start_ms, audio=audio):
            samples = len(audio) // BYTES_PER_SAMPLE
            return Generated(at_ms, str(entry), item, part, start_ms, offset, samples), audio
        case down.ServerEvent(type=kind, body=body):
            return (None if kind.endswith(".delta") else Happened(at_ms, kind, body)), b""
        case down.Opened() | down.Coded():
            return None, b""
        case _:
            kind = str(message.__struct_config__.tag)
            return _happened(at_ms, f"parley.{kind}", msgspec.to_builtins(message)), b""


def _happened(at_ms: int, kind: str, said: object) -> Happened:
    if isinstance(said, dict):
        said = {name: value for name, value in said.items() if name != "kind"}
    return Happened(at_ms, kind, msgspec.Raw(msgspec.json.encode(said or None)))
