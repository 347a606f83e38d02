"""Property tests on the real server: any interleaving of writers, time-outs and resends gives one history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.typing import EncodableT

from streams import codec, turns, up
from streams.ids import SEQ_STRIDE, EntryId
from streams.messages import Message, Text
from streams.producer import Marked, Numbered, Scheme, open_left
from streams.sessions import Session, Sessions
from streams.writer import Writer
from tests.contract.streams.entries import texts

CALM = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Attempt:
    """One try to append events `first` to `last` of a writer; a lost answer makes the writer try the same again."""

    writer: int
    first: int
    last: int


async def offer(writer: Writer, stream: str, session: Session, scheme: Scheme, attempt: Attempt) -> list[Any]:
    message: Message = Text(f"{attempt.writer}:{attempt.first}-{attempt.last}")
    arguments: Sequence[EncodableT] = scheme.arguments(attempt.first, attempt.last)
    answer: list[Any] = await writer.append(stream, session.keys.marks, arguments, codec.encode(message))
    return answer


async def stored(redis: Redis, stream: str) -> list[tuple[int, int, int]]:
    """(writer, first, last) of each entry, in order."""
    found = []
    for text in await texts(redis, stream):
        writer, _, span = text.partition(":")
        first, _, last = span.partition("-")
        found.append((int(writer), int(first), int(last)))
    return found


async def new_session(redis: Redis) -> Session:
    await redis.flushdb()
    return (await Sessions(redis).create(turns.Opened(user="u", door="d"), "u")).session


lengths = st.lists(st.integers(1, 4), min_size=1, max_size=8)


@CALM
@given(plans=st.tuples(lengths, lengths), data=st.data())
async def test_two_writers_that_do_not_number(redis: Redis, plans: tuple[list[int], list[int]], data: st.DataObject) -> None:
    """Each sends its entries in order, any entry any number of times, also late copies of old ones: each is stored once."""
    session = await new_session(redis)
    stream = session.keys.up
    entries: list[list[Attempt]] = []
    for writer_no, plan in enumerate(plans):
        at, attempts = 1, []
        for length in plan:
            attempts.append(Attempt(writer_no, at, at + length - 1))
            at += length
        entries.append(attempts)
    schemes = [Marked("a"), Marked("b")]
    progress = [0, 0]
    async with Writer(redis) as writer:
        while any(progress[w] < len(entries[w]) for w in (0, 1)):
            w = data.draw(st.sampled_from([w for w in (0, 1) if progress[w] < len(entries[w])]), label="who")
            attempt = entries[w][progress[w]]
            answer = await offer(writer, stream, session, schemes[w], attempt)
            assert answer[0] in (b"ok", b"stored")
            if not data.draw(st.booleans(), label="the answer was lost"):
                progress[w] += 1
            if progress[w] and data.draw(st.booleans(), label="a late copy arrives"):
                copy = entries[w][data.draw(st.integers(0, progress[w] - 1), label="of which")]
                assert (await offer(writer, stream, session, schemes[w], copy))[0] == b"stored"
    found = await stored(redis, stream)
    for w in (0, 1):
        assert [entry[1:] for entry in found if entry[0] == w] == [(a.first, a.last) for a in entries[w]]


@CALM
@given(data=st.data())
async def test_two_gateways_of_one_client_that_numbers(redis: Redis, data: st.DataObject) -> None:
    """An old gateway drains what it read, a new one is given the same numbers joined otherwise: no number twice."""
    session = await new_session(redis)
    stream, total = session.keys.pcm, 24
    async with Writer(redis) as writer:
        gen = await open_left(writer, stream, up.GenOpened(source="pcm16"), 5)
        scheme = Numbered(gen)
        have = 0
        for _ in range(200):
            if have >= total:
                break
            first = data.draw(st.integers(max(1, have - 4), min(have + 2, total)), label="from")
            last = data.draw(st.integers(first, min(first + 5, total)), label="to")
            what, where = await offer(writer, stream, session, scheme, Attempt(0, first, last))
            if what == b"ok":
                assert first == have + 1
                assert EntryId.parse(where) == EntryId(gen, last * SEQ_STRIDE)
                have = last
            elif what == b"want":
                assert int(where) == have
                assert first != have + 1
            else:
                assert what == b"stored"
                assert last <= have
    numbers = [n for _, first, last in await stored(redis, stream) for n in range(first, last + 1)]
    assert numbers == list(range(1, have + 1))
