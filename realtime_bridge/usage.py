"""PURE. The bill of a session as it grows: what the model tells about a response, or a transcription → a `Used` entry.

Every `response.done` counts, however it ended: a cancelled one has cost what it had generated, and what it had read. Each is
counted once, by its id; a bridge that takes over begins with the entries of the ones before. What a broken socket had begun
is never told: it is written down as `lost`, without numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from realtime_bridge import server_events as hear
from realtime_bridge.audio_cut import BYTES_PER_MS
from realtime_bridge.prices import Prices
from streams.turns import Used
from streams.usage import Usage, key, of, total

LOST = "lost"
"""The status of a response of which nobody will say what it has cost."""


class Bill:
    """All that one session has used, over bridges and upstream sockets."""

    def __init__(self, prices: Prices, known: Iterable[Used] = ()) -> None:
        self.entries = list(known)
        self.sum: Usage = total(self.entries)
        self.unpriced: set[str] = set()
        """models without a price, as far as they were used"""
        self._counted = {name for used in self.entries if (name := key(used)) is not None}
        self._prices = prices

    def count(self, used: Used, numbers: dict[str, int] | None) -> list[Used]:
        """Priced, and entered. `numbers`: None when the model's server has not said what it took."""
        if numbers is None:
            return self.enter(used)
        used = msgspec.structs.replace(used, **numbers)
        price = self._prices.of(used.model)
        if price is None:
            self.unpriced.add(used.model)
            return self.enter(used)
        return self.enter(msgspec.structs.replace(used, nano_usd=price.nano_usd(used)))

    def enter(self, used: Used) -> list[Used]:
        """Nothing when it is there already."""
        if (name := key(used)) is not None:
            if name in self._counted:
                return []
            self._counted.add(name)
        self.entries.append(used)
        self.sum += of(used)
        return [used]


class Meter:
    """What is used on one upstream socket."""

    def __init__(self, bill: Bill, model: str, transcription_model: str | None) -> None:
        self._bill = bill
        self._model, self._transcription_model = model, transcription_model or ""
        self._transcribes = transcription_model is not None
        self._open: dict[str, int] = {}
        """bytes of audio, of the responses that are not done"""
        self._untold: set[str] = set()
        """items whose transcription is still to come"""

    @property
    def settled(self) -> bool:
        """Whether the model has told of all that it was asked for."""
        return not self._open and not self._untold

    @property
    def running(self) -> tuple[str, ...]:
        """Responses that are not done."""
        return tuple(self._open)

    def heard(self, event: hear.ServerEvent | hear.Unknown, now_ms: int) -> list[Used]:
        """What an event of the model's adds to the bill: nearly always nothing."""
        match event:
            case hear.ResponseOutputAudioDelta(response_id=response, delta=delta):
                if response in self._open:
                    self._open[response] += len(delta) // 4 * 3 - delta.endswith("=") - delta.endswith("==")
            case hear.SessionCreated(session=session) | hear.SessionUpdated(session=session):
                self._follow(session)
            case hear.ResponseCreated(response=response):
                self._open[response.id] = 0
            case hear.ResponseDone(response=response):
                audio_ms = self._open.pop(response.id, 0) // BYTES_PER_MS
                used = self._response(response.id, now_ms, response.status, audio_ms)
                return self._bill.count(used, None if response.usage is None else _tokens(response.usage))
            case hear.InputAudioBufferCommitted(item_id=item):
                if self._transcribes:
                    self._untold.add(item)
            case hear.ConversationItemDeleted(item_id=item):
                self._untold.discard(item)
            case hear.ConversationItemInputAudioTranscriptionFailed(item_id=item):
                self._untold.discard(item)
            case hear.ConversationItemInputAudioTranscriptionCompleted(item_id=item, content_index=part, usage=usage):
                self._untold.discard(item)
                used = Used(of="transcription", id=item, model=self._transcription_model, at_ms=now_ms, part=part)
                return self._bill.count(used, None if usage is None else _of_transcription(usage))
            case _:
                pass
        return []

    def closed(self, now_ms: int) -> list[Used]:
        """The socket is no more; what was running on it is never told of."""
        running, self._open = self._open, {}
        self._untold.clear()
        return self.lost(running, now_ms, running)

    def lost(self, responses: Iterable[str], now_ms: int, sizes: Mapping[str, int] | None = None) -> list[Used]:
        """Nobody will say what these have cost. `sizes`: bytes of their audio, where that is known."""
        sizes = sizes or {}
        lost = (self._response(name, now_ms, LOST, sizes.get(name, 0) // BYTES_PER_MS) for name in responses)
        return [used for each in lost for used in self._bill.enter(each)]

    def _response(self, response: str, now_ms: int, status: str | None, audio_ms: int) -> Used:
        return Used(of="response", id=response, model=self._model, at_ms=now_ms, status=status, audio_ms=audio_ms)

    def _follow(self, session: hear.Session) -> None:
        """The models that are really at work: the server says so, a client may have chosen another."""
        self._model = session.model or self._model
        if session.audio is not None and session.audio.input is not None:
            transcription = session.audio.input.transcription
            self._transcribes = transcription is not None
            if transcription is not None and transcription.model:
                self._transcription_model = transcription.model


_SORTS = ("text", "audio", "image")


def _tokens(usage: hear.Usage) -> dict[str, int]:
    """Of a response, by sort. What a server does not tell apart counts as text."""
    read = _parts(usage.input_token_details, usage.input_tokens, rest="text")
    written = _parts(usage.output_token_details, usage.output_tokens, rest="text")
    cached = _cached(usage.input_token_details, read)
    return {
        **{f"{sort}_in": read[sort] for sort in _SORTS},
        **{f"cached_{sort}_in": cached[sort] for sort in _SORTS},
        "text_out": written["text"],
        "audio_out": written["audio"],
    }


def _of_transcription(usage: hear.TranscriptionUsage) -> dict[str, int]:
    """By sort, or by time. What a server does not tell apart is what it has heard."""
    if usage.seconds is not None:
        return {"audio_ms": max(0, round(usage.seconds * 1000))}
    read = _parts(usage.input_token_details, usage.input_tokens, rest="audio")
    return {**{f"{sort}_in": read[sort] for sort in _SORTS}, "text_out": max(0, usage.output_tokens)}


def _parts(details: hear.InputTokens | hear.OutputTokens, tokens: int, *, rest: str) -> dict[str, int]:
    parts = {sort: max(0, getattr(details, f"{sort}_tokens", 0)) for sort in _SORTS}
    parts[rest] += max(0, tokens - sum(parts.values()))
    return parts


def _cached(details: hear.InputTokens, read: dict[str, int]) -> dict[str, int]:
    """Never more than was read. A server that tells only how many in all is taken to have cached text first."""
    cached = {sort: min(read[sort], max(0, getattr(details.cached_tokens_details, f"{sort}_tokens"))) for sort in _SORTS}
    left = details.cached_tokens - sum(cached.values())
    for sort in _SORTS:
        more = max(0, min(left, read[sort] - cached[sort]))
        cached[sort] += more
        left -= more
    return cached
