"""Every key, group and channel name; no other file spells one.

All keys of a session share the hash tag `{sid}`, so that Redis Cluster keeps them in one slot. A stream's channel has the
stream's own name. See docs/streams.md for what each holds.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import quote, unquote

SESSION_TTL_MS = 15 * 60_000
"""How long the keys of a session outlive the last renewal: longer than any zombie, so that no fence falls early."""

RENEW_S = 60.0
"""How often whoever holds the lease or the connection renews them."""

SESSIONS = "parley:sessions"
"""zset: live sessions by start time (ms). No TTL; swept."""

GATEWAYS = "parley:gateways"
"""hash: the gateways that are there, by name, and what is wished of them (`streams.gateways`). It runs out with the last."""

Role = Literal["bridge", "transcoder"]


def dispatch(role: Role) -> str:
    """The stream that hands sessions to workers of this role. No TTL; entries are deleted when a session ends."""
    return f"parley:dispatch:{role}"


DISPATCH_GROUP = "workers"

PlayCodec = Literal["pcm16_8000", "pcm16_16000", "pcm16_48000", "opus", "aac"]
"""What a client may want to hear instead of `down`'s PCM16 24 kHz: see `streams.play`."""

PLAY_CODECS: tuple[PlayCodec, ...] = get_args(PlayCodec)


def at(user: str, conversation: str) -> str:
    """The index: which session this user's conversation is. Both parts are percent-encoded."""
    return f"parley:at:{quote(user, safe='')}:{quote(conversation, safe='')}"


def named_by(index: str) -> tuple[str, str]:
    """The user and the conversation that a key of the index names."""
    user, _, conversation = index.removeprefix("parley:at:").partition(":")
    return unquote(user), unquote(conversation)


def sessions_of(user: str) -> str:
    """zset: this user's sessions, live ones and kept ones, by the time (ms) at which they run out. It runs out with them."""
    return f"parley:of:{quote(user, safe='')}"


WEBHOOKS = "parley:webhooks"
"""zset: sids whose end is still to be told to the app's backend, by the time (ms) of the next try. No TTL."""

WEBHOOK_TTL_MS = 2 * 24 * 3_600_000
"""Longer than all tries to tell it."""

RECORD_TTL_MS = 24 * 3_600_000
"""How long what a client has created by request outlives its last use."""


def record(record_id: str) -> str:
    """A session as a client has created it by request (contract C); a session of ours is opened when it is used."""
    return f"parley:record:{quote(record_id, safe='')}"


def records(user: str) -> str:
    """zset: this user's records by creation time (ms)."""
    return f"parley:records:{quote(user, safe='')}"


def ticket(digest: str) -> str:
    """A browser's ticket: whose it is, and from which origin it is good. `digest`: SHA-256 of the ticket, in hex."""
    return f"parley:ticket:{digest}"


def limit(what: str, sort: str, who: str) -> str:
    """What counts against a limit: zset, by the time (ms) at which it runs out. `sort`: a user or an address."""
    return f"parley:limit:{what}:{sort}:{quote(who, safe=':')}"


USAGE_TTL_MS = 40 * 24 * 3_600_000
"""How long a user's day stays readable: a month, and some days to write the bill."""


def usage(user: str, day: str) -> str:
    """hash: what a user has used on a day (UTC, `2026-11-26`), in all and by session (`streams.accounts`)."""
    return f"parley:usage:{quote(user, safe='')}:{day}"


def new_sid() -> str:
    """A session id: 128 random bits as 32 hex digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The keys of one session."""

    sid: str

    def _key(self, name: str) -> str:
        return f"parley:{{{self.sid}}}:{name}"

    @property
    def meta(self) -> str:
        return self._key("meta")

    @property
    def attach(self) -> str:
        return self._key("attach")

    @property
    def cursors(self) -> str:
        return self._key("cursors")

    @property
    def up(self) -> str:
        return self._key("up")

    @property
    def pcm(self) -> str:
        return self._key("pcm")

    @property
    def down(self) -> str:
        return self._key("down")

    @property
    def turns(self) -> str:
        return self._key("turns")

    @property
    def lease(self) -> str:
        return self._key("lease")

    @property
    def marks(self) -> str:
        return self._key("marks")

    @property
    def heard(self) -> str:
        """What a recording needs beside the audio: when it is on, and what was heard when (`streams.heard`)."""
        return self._key("heard")

    @property
    def recorded(self) -> str:
        """How far a recording has come in each stream. That it exists says that the session is being recorded."""
        return self._key("recorded")

    @property
    def last_pcm(self) -> str:
        """`pcm` of a session that has ended, for whoever records it."""
        return self._key("last_pcm")

    @property
    def recording(self) -> tuple[str, str, str]:
        return (self.heard, self.recorded, self.last_pcm)

    @property
    def kept(self) -> str:
        """What is kept of the session when it has ended; it and the next two outlive all others."""
        return self._key("kept")

    @property
    def webhook(self) -> str:
        """What the app's backend is still to be told of the end."""
        return self._key("webhook")

    @property
    def forgotten(self) -> str:
        """Nothing is to be kept of it."""
        return self._key("forgotten")

    @property
    def control(self) -> str:
        """A channel, not a key: what gateways tell each other about this session."""
        return self._key("control")

    @property
    def plays(self) -> str:
        """A channel, not a key: somebody has opened a play stream."""
        return self._key("plays")

    def play(self, codec: PlayCodec) -> str:
        """`down` in another codec."""
        return self._key(f"play:{codec}")

    @property
    def all_plays(self) -> tuple[str, ...]:
        """Whether they exist or not."""
        return tuple(self.play(codec) for codec in PLAY_CODECS)

    @property
    def streams(self) -> tuple[str, str, str, str]:
        return (self.up, self.pcm, self.down, self.turns)

    @property
    def all(self) -> tuple[str, ...]:
        own = (self.meta, self.attach, self.cursors, self.lease, self.marks)
        return (*self.streams, *self.all_plays, *own, *self.recording)


def dispatch_field(role: Role) -> str:
    """Of a session's marks hash: where in the dispatch stream of this role it was put, as soon as it was."""
    return f"dispatch/{role}"


def marks_of(stream: str) -> str:
    """The marks hash that belongs to a session's stream."""
    return stream[: stream.index("}:")] + "}:marks"


def attach_of(stream: str) -> str:
    """Whose connection the session of this stream is."""
    return stream[: stream.index("}:")] + "}:attach"


def recorded_of(stream: str) -> str:
    """The `recorded` hash that belongs to a session's stream."""
    return stream[: stream.index("}:")] + "}:recorded"
