"""Sessions are handed out once, kept by whoever works on them, found when nobody does, and never stolen from the healthy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.load.far import Line
from runtime.embedded import EmbeddedServer
from streams import dispatch, down, keys, turns
from streams.attach import Attachment, is_alive, presence, read_control, say_alive
from streams.connection import connect
from streams.dispatch import KEEP_EVERY_S, Assignments, Lease, hand_out, is_handed_out_as
from streams.errors import LeaseLost, StreamUnavailable
from streams.hub import Hub, open_hub
from streams.ids import BIRTH, EntryId
from streams.producer import Chained, Producer
from streams.sessions import Session, Sessions
from streams.workforce import Workforce
from streams.writer import Writer
from tests.contract.streams.entries import silent
from tests.reigns import reign


@pytest.fixture
async def hub(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Hub]:
    async with open_hub(redis_server.url) as hub:
        yield hub


ORPHAN_MS = 60_000
"""No pause of this machine makes one: where there is to be one, its worker is said to have been silent."""


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machinery with small numbers."""
    monkeypatch.setattr(dispatch, "BLOCK_MS", 50)
    monkeypatch.setattr(dispatch, "ALIVE_MARGIN_MS", 60_000)
    monkeypatch.setattr(dispatch, "ORPHAN_MS", {"bridge": ORPHAN_MS, "transcoder": ORPHAN_MS})
    monkeypatch.setattr("streams.workforce.KEEP_EVERY_S", 0.05)


@pytest.fixture
def _soon_orphaned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody keeps is an orphan in a moment."""
    monkeypatch.setattr(dispatch, "ORPHAN_MS", {"bridge": 300, "transcoder": 300})


async def assignments(hub: Hub, name: str) -> Assignments:
    ours = Assignments(hub, "bridge", name)
    await ours.open()
    return ours


async def test_a_session_is_handed_to_one_worker(hub: Hub, session: Session) -> None:
    """However often it is handed out."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    for _ in range(3):
        await hand_out(hub.redis, session, "bridge")
    taken = [*await one.take(10), *await two.take(10)]
    assert [assignment.session for assignment in taken] == [session]
    await hand_out(hub.redis, session, "bridge")
    assert await two.take(10) == []


async def test_a_session_that_is_done_is_handed_out_anew(hub: Hub, session: Session) -> None:
    """Its entry is gone from the stream and from the list of pending ones."""
    one = await assignments(hub, "one")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    await one.done(assignment)
    assert await hub.redis.xlen(keys.dispatch("bridge")) == 0
    await hand_out(hub.redis, session, "bridge")
    assert len(await one.take(1)) == 1


async def test_an_orphan_is_found_and_a_kept_session_is_not(hub: Hub, session: Session) -> None:
    """Who keeps its sessions keeps them; who does not has lost them."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    for _ in range(2):
        await silent(hub.redis, "bridge", "one", [assignment], ORPHAN_MS - 1)
        assert await one.keep([assignment]) == []
        assert await two.claim_orphans(10) == []
    await silent(hub.redis, "bridge", "one", [assignment], ORPHAN_MS)
    (orphan,) = await two.claim_orphans(10)
    assert orphan == assignment


@pytest.mark.usefixtures("_soon_orphaned")
async def test_what_will_be_an_orphan_is_looked_at_when_it_is_one(hub: Hub, session: Session) -> None:
    """Whoever has looked knows when that will be, and need not look again and again."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    looks = 1
    async with asyncio.timeout(20):
        while not (orphans := await two.claim_orphans(10)):
            looks += 1
            await asyncio.sleep(two.look_again_s)
    assert orphans == [assignment]
    assert looks <= 4


async def test_a_worker_looks_again_before_it_keeps_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there may be an orphan by then."""
    ours, stop, did = await assignments(hub, "one"), asyncio.Event(), list[str]()

    async def keep(_: object) -> list[dispatch.Assignment]:
        did.append("keep")
        return []

    async def claim_orphans(_: int) -> list[dispatch.Assignment]:
        did.append("look")
        ours.look_again_s = 0.0 if did.count("look") % 3 else 60.0
        return []

    monkeypatch.setattr(ours, "keep", keep)
    monkeypatch.setattr(ours, "claim_orphans", claim_orphans)
    running = asyncio.create_task(Workforce(ours, lambda _: Job("one", "", []), 5).run(stop))
    whole = "keep look look look keep"  # where this process stands still, a round may be cut short
    await until(lambda: whole in " ".join(did))
    stop.set()
    await running


async def test_a_worker_that_was_asleep_does_not_steal_back(hub: Hub, session: Session) -> None:
    """It asks first, and learns what it has lost."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    one._kept_at = time.monotonic() - 60
    await silent(hub.redis, "bridge", "one", [assignment], ORPHAN_MS)
    assert len(await two.claim_orphans(10)) == 1
    assert await one.keep([assignment]) == [assignment]
    assert await two.keep([assignment]) == []


async def test_what_is_let_go_is_found_at_once(hub: Hub, session: Session) -> None:
    """Nobody waits for it to look orphaned."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    await one.let_go(assignment)
    assert await two.claim_orphans(1) == [assignment]


async def test_what_was_let_go_is_left_to_the_others_for_a_whole_look(hub: Hub, session: Session) -> None:
    """They look when they look: nobody has planned to, for nobody knew before."""
    one, two, three = [await assignments(hub, name) for name in ("one", "two", "three")]
    await hand_out(hub.redis, session, "bridge")
    other = await Sessions(hub.redis).create(turns.Opened(user="bob", door="d"), "c")
    await hand_out(hub.redis, other.session, "bridge")
    for assignment in await one.take(2):
        await one.let_go(assignment)
    for each in (two, three):
        assert await each.take(1) == []
    assert len(await two.claim_orphans(10)) == 1
    assert two.look_again_s >= KEEP_EVERY_S
    assert len(await three.claim_orphans(10)) == 1


async def test_who_cannot_keep_what_it_has_finds_out_that_it_was_late(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when each of its tries fails at once."""
    one, two = await assignments(hub, "one"), await assignments(hub, "two")
    await hand_out(hub.redis, session, "bridge")
    (assignment,) = await one.take(1)
    await silent(hub.redis, "bridge", "one", [assignment], ORPHAN_MS)
    assert len(await two.claim_orphans(10)) == 1
    one._kept_at = time.monotonic() - ORPHAN_MS / 1000
    with monkeypatch.context() as away:
        away.setattr(one._redis_now, "xpending_range", AsyncMock(side_effect=RedisConnectionError("away")))
        with pytest.raises(StreamUnavailable):
            await one.keep([assignment])
    assert await one.keep([assignment]) == [assignment]


async def orphaned(hub: Hub, count: int) -> None:
    """So many sessions, whose worker is dead."""
    dead = await assignments(hub, "dead")
    for number in range(count):
        creation = await Sessions(hub.redis).create(turns.Opened(user=f"u{number}", door="d"), "c")
        await hand_out(hub.redis, creation.session, "bridge")
    taken = await dead.take(count)
    assert len(taken) == count
    await silent(hub.redis, "bridge", "dead", taken, ORPHAN_MS)


async def test_orphans_are_shared_by_all_that_are_alive(hub: Hub) -> None:
    """Whoever looks first does not take them all; the one who is asleep, or has no room, is waited for once."""
    one, two, asleep = [await assignments(hub, name) for name in ("one", "two", "asleep")]
    await orphaned(hub, 12)
    for each in (one, two, asleep):
        assert await each.take(1) == []
    assert [len(await each.claim_orphans(100)) for each in (one, two)] == [4, 4]
    assert len(await two.claim_orphans(1)) == 1
    assert len(await one.claim_orphans(100)) == 3
    assert await one.claim_orphans(100) == []


async def test_who_has_less_takes_more(hub: Hub, session: Session) -> None:
    """Also who has only just begun."""
    busy, fresh = await assignments(hub, "busy"), await assignments(hub, "fresh")
    await hand_out(hub.redis, session, "bridge")
    mine = await busy.take(1)
    await orphaned(hub, 5)
    assert await fresh.take(1) == []
    assert await busy.keep(mine) == []
    assert [len(await each.claim_orphans(100)) for each in (busy, fresh)] == [2, 3]


async def test_a_second_entry_of_a_session_is_known_as_that(hub: Hub, session: Session) -> None:
    """Two gateways may hand out at once; the entry that the session remembers is the one that stands."""
    one = await assignments(hub, "one")
    await hand_out(hub.redis, session, "bridge")
    await hub.redis.xadd(keys.dispatch("bridge"), {"sid": session.sid, "at": session.at})
    first, second = await one.take(2)
    assert await is_handed_out_as(hub.redis, first, "bridge")
    assert not await is_handed_out_as(hub.redis, second, "bridge")


async def test_a_lease_is_held_by_one_and_renewed_only_while_it_is_ours(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that was robbed finds out at the next renewal, and does not believe in itself longer than its clock says."""
    monkeypatch.setattr(dispatch, "LEASE_RENEW_S", 0.02)
    seen: list[bool] = []
    mine, theirs = Lease(hub.redis, session, "one"), Lease(hub.redis, session, "two")
    assert await mine.acquire()
    assert not await theirs.acquire()
    keeping = asyncio.create_task(mine.keep(seen.append))
    await until(lambda: len(seen) >= 2)
    assert mine.held
    assert not any(seen)
    await hub.redis.delete(session.keys.lease)
    assert await theirs.acquire_within(1)
    await asyncio.wait_for(keeping, 10)
    assert not mine.held
    await mine.release()
    assert await theirs.holder() is not None


async def test_a_renewal_that_failed_is_tried_again_at_once(
    redis_server: EmbeddedServer, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not when the next one is due: by then the lease may be over."""
    monkeypatch.setattr(dispatch, "LEASE_RENEW_S", 0.0)
    renewed = asyncio.Event()
    stalls: list[asyncio.Task[None]] = []

    def is_renewed(_: bool) -> None:
        monkeypatch.setattr(dispatch, "LEASE_RENEW_S", 3600.0)
        if not stalls:  # what it asks at once is not answered, however long it takes us to cut the line
            stalls.append(asyncio.create_task(line.stall(3600)))
        renewed.set()

    async with Line(redis_server.url, delay_s=0.05).open() as line, connect(line.url) as redis:
        lease = Lease(redis, session, "one")
        assert await lease.acquire()
        keeping = asyncio.create_task(lease.keep(is_renewed))
        await asyncio.wait_for(renewed.wait(), 10)
        for _ in range(10):
            await asyncio.sleep(0.002)  # it asks again at once, and its question is on the line
        renewed.clear()
        line.cut()
        stalls[0].cancel()
        await asyncio.wait_for(renewed.wait(), 10)
        assert "could not be renewed" in caplog.text
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_a_new_reign_fences_the_old_one(hub: Hub, session: Session) -> None:
    """Epochs rise, in `turns` and in `down` alike, whatever was written to one of them alone."""
    first = await reign(hub, session, "one")
    await hub.redis.execute_command("XADD", session.keys.down, f"{first + 5}-0", "kind", "epoch", "owner", "x")
    await hub.redis.hdel(session.keys.marks, "down")
    second = await reign(hub, session, "two")
    assert second > first + 5


async def test_who_was_stopped_while_it_began_fences_nobody(
    hub: Hub, writer: Writer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epoch is in `turns`, and not yet in `down`, when its lease runs out; it goes on when another one reigns."""
    is_stopped, goes_on, append = asyncio.Event(), asyncio.Event(), writer.append

    async def append_when_it_goes_on(stream: str, *rest: Any) -> Any:
        if stream == session.keys.down:
            is_stopped.set()
            await goes_on.wait()
        return await append(stream, *rest)

    monkeypatch.setattr(writer, "append", append_when_it_goes_on)
    mine, theirs = Lease(hub.redis, session, "one"), Lease(hub.redis, session, "two")
    assert await mine.acquire()
    begins = asyncio.create_task(mine.take_epoch(writer))
    await asyncio.wait_for(is_stopped.wait(), 5)
    await hub.redis.delete(session.keys.lease)
    assert await theirs.acquire()
    epoch = await theirs.take_epoch(hub.writer)
    said = Producer(hub.writer, session.keys.down, Chained(epoch))
    await said.append(down.Reconnecting())
    goes_on.set()
    with pytest.raises(LeaseLost):
        await begins
    said.append(down.Resumed())
    await asyncio.wait_for(said.flush(), 5)
    noted = Producer(hub.writer, session.keys.turns, Chained(epoch))
    noted.append(turns.Begun("r1", "7-5", 10))
    await asyncio.wait_for(noted.flush(), 5)


class Job:
    """Work that counts who did it."""

    done: dict[str, list[str]]

    def __init__(self, worker: str, sid: str, log: list[tuple[str, str]]) -> None:
        self._worker, self._sid, self._log = worker, sid, log
        self._left = asyncio.Event()

    @property
    def holds(self) -> bool:
        return True

    @property
    def is_busy(self) -> bool:
        return True

    def leave(self) -> None:
        self._left.set()

    def retire(self, within_s: float) -> None:
        self.retired_within_s = within_s

    async def run(self) -> bool:
        self._log.append((self._worker, self._sid))
        await self._left.wait()
        return False


async def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - several tasks and a server make it so
            await asyncio.sleep(0.005)


async def test_half_of_the_workers_stop_and_the_others_take_all(hub: Hub, redis: Redis) -> None:
    """No session without a worker, none with two, none of the healthy ones moved."""
    log: list[tuple[str, str]] = []
    sessions = [(await Sessions(redis).create(turns.Opened(user=f"u{n}", door="d"), "c")).session for n in range(20)]
    stops = {name: asyncio.Event() for name in ("a", "b", "c", "d")}
    tasks = {}
    for name, stop in stops.items():

        def start(assignment: dispatch.Assignment, name: str = name) -> Job:
            return Job(name, assignment.session.sid, log)

        tasks[name] = asyncio.create_task(Workforce(await assignments(hub, name), start, 15).run(stop))
    for session in sessions:
        await hand_out(hub.redis, session, "bridge")
    await until(lambda: len(log) == 20)
    first = {sid: worker for worker, sid in log}
    for name in ("a", "b"):
        tasks[name].cancel()
    lost = [sid for sid, worker in first.items() if worker in ("a", "b")]
    await until(lambda: len(log) == 20 + len(lost))
    await asyncio.sleep(0.19)
    again = log[20:]
    assert sorted(sid for _, sid in again) == sorted(lost)
    assert all(worker in ("c", "d") for worker, _ in again)
    for name in ("c", "d"):
        stops[name].set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


class Robbed(Job):
    """It has lost the session as soon as it is told so, and takes its time to end."""

    is_robbed = False

    @property
    def holds(self) -> bool:
        return not self.is_robbed


@pytest.mark.usefixtures("_soon_orphaned")
@pytest.mark.parametrize("is_over", [False, True])
async def test_who_claims_what_it_has_just_lost_begins_again(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    """A worker that was stopped, and woke up before anybody else looked: else nobody would keep it. Not where it is over."""
    log, works, stop = list[tuple[str, str]](), list[Robbed](), asyncio.Event()
    claimed = asyncio.Event()

    class Ends(Robbed):
        async def run(self) -> bool:
            await super().run()
            return is_over

    def start(assignment: dispatch.Assignment) -> Job:
        works.append(Ends("one", assignment.session.sid, log))
        return works[-1]

    ours = await assignments(hub, "one")
    claim = ours.claim_orphans

    async def claim_orphans(count: int) -> list[dispatch.Assignment]:
        if claimed.is_set() or not works or not works[0].is_robbed:
            return []  # it is none yet, or would be one again
        if found := await claim(count):
            claimed.set()
        return found

    monkeypatch.setattr(ours, "claim_orphans", claim_orphans)
    workforce = Workforce(ours, start, 5)
    running = asyncio.create_task(workforce.run(stop))
    await hand_out(hub.redis, session, "bridge")
    await until(lambda: len(log) == 1)
    works[0].is_robbed = True
    await asyncio.wait_for(claimed.wait(), 5)
    assert len(log) == 1
    works[0].leave()
    if is_over:
        await until(lambda: not workforce.sessions)
        assert await hub.redis.xlen(keys.dispatch("bridge")) == 0
    else:
        await until(lambda: len(log) == 2)
    stop.set()
    await running
    assert len(works) == (1 if is_over else 2)


class Phone:
    """A gateway's ear on a control channel: it answers probes while its client is there."""

    def __init__(self, hub: Hub, session: Session, *, alive: bool) -> None:
        self._hub, self._session, self._alive = hub, session, alive
        self.heard_words: list[tuple[str, str]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def heard(self, data: bytes) -> None:
        what, argument = read_control(data)
        self.heard_words.append((what, argument))
        if what == "probe" and self._alive:
            self._tasks.append(asyncio.create_task(say_alive(self._hub.redis, self._session, argument)))

    def missed(self) -> None:
        pass


async def test_the_newest_connection_has_the_session_and_the_older_is_told(hub: Hub, session: Session) -> None:
    """Taken only when asked to; the one before cannot renew or detach it any more."""
    old, new = Attachment(hub.redis, session, "g1"), Attachment(hub.redis, session, "g2")
    phone = Phone(hub, session, alive=True)
    assert await old.attach(take=False)
    await hub.bus.subscribe(session.keys.control, phone)
    assert not await new.attach(take=False)
    assert await new.attach(take=True)
    await until(lambda: ("attached", new.value) in phone.heard_words)
    assert not await old.renew()
    await old.detach()
    assert (await presence(hub.redis, session)).attached
    await new.detach()
    left = await presence(hub.redis, session)
    assert not left.attached
    assert left.detached_ms > 0
    await hub.bus.unsubscribe(session.keys.control, phone)


async def test_a_client_that_answers_is_alive_and_a_silent_one_is_not(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody there: known at once. Somebody there who does not answer: known in a moment."""
    monkeypatch.setattr("streams.attach.PROBE_S", 3600.0)
    assert not await is_alive(hub.redis, hub.bus, session)
    for alive in (True, False):
        monkeypatch.setattr("streams.attach.PROBE_S", 20.0 if alive else 0.2)
        phone = Phone(hub, session, alive=alive)
        await hub.bus.subscribe(session.keys.control, phone)
        assert await is_alive(hub.redis, hub.bus, session) is alive
        await hub.bus.unsubscribe(session.keys.control, phone)


async def test_who_asks_after_a_client_that_lets_go_waits_no_longer(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection was asked, and is over before it could answer."""
    monkeypatch.setattr("streams.attach.PROBE_S", 3600.0)
    held = Attachment(hub.redis, session, "g1")
    assert await held.attach(take=False)
    phone = Phone(hub, session, alive=False)
    await hub.bus.subscribe(session.keys.control, phone)
    asked = asyncio.create_task(is_alive(hub.redis, hub.bus, session))
    await until(lambda: any(what == "probe" for what, _ in phone.heard_words))
    await held.detach()
    async with asyncio.timeout(5):
        assert not await asked
    await hub.bus.unsubscribe(session.keys.control, phone)


async def test_a_place_is_kept_by_who_has_the_session(hub: Hub, session: Session) -> None:
    """A connection that was replaced, and wakes late, turns nothing back; who has it may have less than the one before."""
    sessions = Sessions(hub.redis)
    old, new = (Attachment(hub.redis, session, gateway) for gateway in ("g1", "g2"))
    for attachment, n, is_at in ((old, 100, 100), (new, 160, 160), (old, 165, 160), (new, 150, 150)):
        if (attachment, n) in ((old, 100), (new, 160)):
            assert await attachment.attach(take=True)
        await sessions.set_cursor(session, "arrived", EntryId(5, n), attachment.value)
        assert await sessions.cursor(session, "arrived") == EntryId(5, is_at)
    await new.detach()
    for n, is_at in ((105, 150), (170, 170)):  # nobody has it: only on
        await sessions.set_cursor(session, "arrived", EntryId(5, n), old.value)
        assert await sessions.cursor(session, "arrived") == EntryId(5, is_at)
    await sessions.set_cursor(session, "arrived", EntryId(4, 900))
    assert await sessions.cursor(session, "arrived") == EntryId(5, 170)
    await sessions.set_cursor(session, "arrived", EntryId(6, 1))
    assert await sessions.cursor(session, "arrived") == EntryId(6, 1)


async def test_a_session_in_which_nothing_was_said_ends_with_its_connection(hub: Hub, session: Session) -> None:
    """Nothing is left of it."""
    sessions, mine = Sessions(hub.redis), Attachment(hub.redis, session, "g")
    assert await mine.attach(take=True)
    assert await sessions.end_unspoken(session, mine.value)
    assert await hub.redis.exists(*session.keys.all, session.at) == 0
    assert await hub.redis.zscore(keys.SESSIONS, session.sid) is None


async def test_it_goes_on_when_another_connection_has_taken_it_up_a_moment_before(hub: Hub, session: Session) -> None:
    sessions = Sessions(hub.redis)
    old, new = Attachment(hub.redis, session, "g1"), Attachment(hub.redis, session, "g2")
    assert await old.attach(take=True)
    assert await new.attach(take=True)
    assert not await sessions.end_unspoken(session, old.value)
    assert await new.renew()
    assert await sessions.find("ann", "ann") == session


async def test_it_goes_on_when_something_was_said_a_moment_before(hub: Hub, session: Session) -> None:
    """By a request, or over another connection."""
    sessions, mine = Sessions(hub.redis), Attachment(hub.redis, session, "g")
    assert await mine.attach(take=True)
    await hand_out(hub.redis, session, "bridge")
    assert not await sessions.end_unspoken(session, mine.value)
    assert await sessions.find("ann", "ann") == session


async def test_an_ended_session_is_attached_by_nobody(hub: Hub, session: Session) -> None:
    """And no key comes back."""
    await Sessions(hub.redis).end(session, linger_ms=0)
    assert not await Attachment(hub.redis, session, "g").attach(take=True)
    await Sessions(hub.redis).set_cursor(session, "arrived", BIRTH)
    await hand_out(hub.redis, session, "bridge")
    assert [key async for key in hub.redis.scan_iter("parley:{*")] == []


async def test_sessions_that_ran_out_are_struck_off_the_list(hub: Hub, session: Session) -> None:
    """The list has no TTL of its own."""
    sessions = Sessions(hub.redis)
    assert await sessions.reap() == 0
    await hub.redis.delete(*session.keys.all)
    assert await sessions.reap() == 1
    assert await hub.redis.zcard(keys.SESSIONS) == 0


async def test_work_that_ends_while_it_is_asked_for_stops_nobody(
    hub: Hub, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told lost when it has just ended: the worker goes on keeping the others."""
    ours, stop, log = await assignments(hub, "one"), asyncio.Event(), list[tuple[str, str]]()
    unknown = dispatch.Assignment(BIRTH, session)

    async def keep(_: object) -> list[dispatch.Assignment]:
        return [unknown]

    monkeypatch.setattr(ours, "keep", keep)
    running = asyncio.create_task(Workforce(ours, lambda assignment: Job("one", assignment.session.sid, log), 5).run(stop))
    await asyncio.sleep(0.12)
    await hand_out(hub.redis, session, "bridge")
    await until(lambda: len(log) == 1)
    assert not running.done()
    stop.set()
    await running


async def test_a_worker_that_cannot_keep_its_sessions_ends(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a fault of ours: the process must not go on taking sessions that it will lose."""
    ours = await assignments(hub, "one")

    async def keep(_: object) -> list[dispatch.Assignment]:
        raise LookupError("a bug")

    monkeypatch.setattr(ours, "keep", keep)
    with pytest.raises(LookupError):
        await asyncio.wait_for(Workforce(ours, lambda _: Job("one", "", []), 5).run(asyncio.Event()), 5)


async def test_a_heart_beats_only_while_redis_answers(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each round that was answered: a health check looks at nothing else."""
    ours, stop, rounds, beats = await assignments(hub, "one"), asyncio.Event(), list[int](), list[int]()

    async def keep(_: object) -> list[dispatch.Assignment]:
        rounds.append(len(rounds))
        if len(rounds) <= 2:
            raise StreamUnavailable("away")
        return []

    monkeypatch.setattr(ours, "keep", keep)
    workforce = Workforce(ours, lambda _: Job("one", "", []), 5, lambda: beats.append(rounds[-1]))
    running = asyncio.create_task(workforce.run(stop))
    await until(lambda: len(beats) >= 2)
    stop.set()
    await running
    assert beats[:2] == [2, 3]
