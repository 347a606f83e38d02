"""Decoder children: what they may not do, and what becomes of jobs when they die, hang or lie."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.media.make_media import Clip, as_samples, box, correlation, libav_decode, make_clip, repeated
from transcoder import confine, errors
from transcoder.child_process import Child
from transcoder.decoded import Decoded
from transcoder.lifetime import Lifetime
from transcoder.pipeline import decode_file
from transcoder.sandbox import DecoderPool

HANG_S, PATIENT_S = 0.4, 30.0


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(rate=44_100, layout="stereo", samples=44_100)


@pytest.fixture(scope="module")
def long_clip() -> Clip:
    return make_clip("speech_jfk", rate=48_000, bit_rate=96_000)


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(children=2) as pool:
        yield pool


@pytest.fixture
async def lone() -> AsyncIterator[DecoderPool]:
    """One child, so that it is known who has the job. On a busy machine it may take its time."""
    async with DecoderPool(children=1, hang_s=PATIENT_S) as pool:
        yield pool


async def decoded_after_a_hang(pool: DecoderPool, data: bytes) -> Decoded:
    """Its only child hangs, and for that no more than a moment is waited; whoever comes then may take its time."""
    pool._hang_s = HANG_S
    job = asyncio.create_task(pool.decode_file(data, max_seconds=10.0))
    await asyncio.sleep(0)
    await until(lambda: pool.waiting == 0)
    pool._hang_s = PATIENT_S
    return await job


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (it looks at processes, which set no Event)
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def held_open() -> Iterator[None]:
    """A file that a careless exec would pass on."""
    with open(__file__, "rb") as held:
        os.set_inheritable(held.fileno(), True)
        yield


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The child does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_a_file_is_decoded(pool: DecoderPool, clip: Clip) -> None:
    """The same through the pool as within the process."""
    decoded = await pool.decode_file(clip.data, max_seconds=10.0)
    assert decoded == decode_file(clip.data, max_seconds=10.0)
    assert len(decoded.pcm) == 48_000
    assert correlation(as_samples(decoded.pcm), libav_decode(clip.data)) > 0.99


async def test_an_error_crosses_whole(pool: DecoderPool, clip: Clip) -> None:
    """Type, sentence and numbers."""
    with pytest.raises(errors.TooLong) as caught:
        await pool.decode_file(clip.data, max_seconds=0.5)
    assert (caught.value.found_s, caught.value.allowed_s) == (1.0, 0.5)
    with pytest.raises(errors.UnsupportedMedia, match="this is an AVI video"):
        await pool.decode_file(b"RIFF\x24\x00\x00\x00AVI LIST", max_seconds=10.0)
    with pytest.raises(errors.Empty):
        await pool.decode_file(b"", max_seconds=10.0)
    with pytest.raises(errors.TooLarge):
        await pool.decode_file(bytes(17 * 1024 * 1024), max_seconds=10.0)
    assert pool.replaced == 0


async def test_twenty_at_once(pool: DecoderPool, clip: Clip, long_clip: Clip) -> None:
    """Each gets its own: nobody hears another's."""
    clips = [clip, long_clip] * 10
    results = await asyncio.gather(*(pool.decode_file(each.data, max_seconds=10.0) for each in clips))
    assert [len(result.pcm) // 2 for result in results] == [each.samples_at_24k for each in clips]
    assert len({result.pcm for result in results}) == 2


async def test_garbage_leaves_the_children_alive(pool: DecoderPool, clip: Clip) -> None:
    """Random bytes, and a good file with random damage."""
    chance = random.Random(7)
    pids = pool.pids
    for number in range(60):
        data = bytearray(clip.data if number % 2 else box(b"ftyp", b"M4A ") + chance.randbytes(3000))
        for _ in range(30):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(errors.MediaError):
            await pool.decode_file(bytes(data), max_seconds=10.0)
    assert pool.pids == pids
    assert pool.replaced == 0


async def test_a_killed_child_is_replaced_and_its_job_answered(lone: DecoderPool, clip: Clip) -> None:
    """kill -9 in the middle of a job: the client notices nothing."""
    (pid,) = lone.pids
    with stopped(pid):
        job = asyncio.create_task(lone.decode_file(clip.data, max_seconds=10.0))
        await asyncio.sleep(0)
        await until(lambda: lone.waiting == 0)
        os.kill(pid, signal.SIGKILL)
        decoded = await job
    assert len(decoded.pcm) == 48_000
    assert lone.pids != (pid,)
    assert lone.replaced == 1
    assert not is_alive(pid)


async def test_a_child_that_dies_idle_is_replaced_at_once(lone: DecoderPool, clip: Clip) -> None:
    """Nobody has to wait for the new one."""
    (pid,) = lone.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: lone.pids not in ((), (pid,)))
    assert len((await lone.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
    assert lone.replaced == 1


async def test_a_hanging_child_is_killed_and_replaced(lone: DecoderPool, clip: Clip) -> None:
    (pid,) = lone.pids
    with stopped(pid):
        decoded = await decoded_after_a_hang(lone, clip.data)
    assert len(decoded.pcm) == 48_000
    assert lone.replaced == 1
    assert not is_alive(pid)


async def test_who_has_answered_while_the_worker_stood_still_is_not_killed(lone: DecoderPool, long_clip: Clip) -> None:
    """Longer than a child may; the answer is more than a stream's buffer takes at once."""
    lone._hang_s = HANG_S
    job = asyncio.create_task(lone.decode_file(long_clip.data, max_seconds=20.0))
    await asyncio.sleep(0)
    await until(lambda: lone.waiting == 0)
    time.sleep(2 * HANG_S)  # noqa: ASYNC251 - the loop stands still, which is what this is about
    assert len((await job).pcm) // 2 == long_clip.samples_at_24k
    assert lone.replaced == 0


async def test_what_fails_twice_is_told_to_its_client_only(
    lone: DecoderPool, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job after it is answered."""
    start, started = Child.start, 1

    async def start_stopped(timeout_s: float) -> Child:
        nonlocal started
        child = await start(timeout_s)
        started += 1
        if started == 2:
            os.kill(child.pid, signal.SIGSTOP)
        return child

    monkeypatch.setattr(Child, "start", start_stopped)
    lone._hang_s = HANG_S
    with stopped(lone.pids[0]):
        jobs = [asyncio.create_task(lone.decode_file(clip.data, max_seconds=10.0)) for _ in range(2)]
        with pytest.raises(errors.DecoderFailed, match="twice"):
            await jobs[0]
    lone._hang_s = PATIENT_S
    assert len((await jobs[1]).pcm) == 48_000
    assert (started, lone.replaced) == (3, 2)


async def test_a_cancelled_job_disturbs_no_other(lone: DecoderPool, clip: Clip, long_clip: Clip) -> None:
    """Its result is thrown away, and is not taken for the next one's; one that waits is not begun."""
    begun, waiting, wanted = [
        asyncio.create_task(lone.decode_file(data, max_seconds=10.0)) for data in (long_clip.data, long_clip.data, clip.data)
    ]
    await asyncio.sleep(0)
    begun.cancel()
    waiting.cancel()
    assert len((await wanted).pcm) == 48_000
    assert begun.cancelled()
    assert waiting.cancelled()
    assert lone.replaced == 0


async def test_hours_of_work_end_at_the_limit(lone: DecoderPool) -> None:
    """Four hours in a few bytes: refused after two minutes of audio, in well under the time for a hang."""
    quiet = make_clip(rate=8_000, samples=4000, bit_rate=24_000)
    with pytest.raises(errors.TooLong):
        await lone.decode_file(repeated(quiet, packets=112_500, declared_ticks=0), max_seconds=120.0)
    assert lone.replaced == 0


async def test_too_many_waiting_jobs_are_refused(clip: Clip) -> None:
    async with DecoderPool(children=1, max_waiting=3, hang_s=PATIENT_S) as pool:
        with stopped(pool.pids[0]):
            jobs = [asyncio.create_task(pool.decode_file(clip.data, max_seconds=10.0)) for _ in range(5)]
            await asyncio.sleep(0)
            with pytest.raises(errors.DecoderBusy):
                await pool.decode_file(clip.data, max_seconds=10.0)
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert sum(isinstance(result, errors.DecoderBusy) for result in results) == 2
        assert sum(not isinstance(result, BaseException) for result in results) == 3


async def test_leaving_ends_all(clip: Clip) -> None:
    """No process, no descriptor, and nobody left waiting."""
    before = open_descriptors()
    async with DecoderPool(children=2) as pool:
        pids = pool.pids
        assert len(pids) == 2
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        jobs = [asyncio.create_task(pool.decode_file(clip.data, max_seconds=10.0)) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(result, errors.DecoderFailed) for result in results)
    assert not any(is_alive(pid) for pid in pids)
    await until(lambda: open_descriptors() == before)
    with pytest.raises(RuntimeError, match="not open"):
        await pool.decode_file(clip.data, max_seconds=10.0)


@pytest.mark.parametrize("turns", [*range(12), 20, 40, 80])
async def test_starting_may_be_cancelled(turns: int) -> None:
    """Neither a process nor a descriptor stays behind, at whatever turn of the loop it is."""
    before = open_descriptors()
    entering = asyncio.create_task(DecoderPool(children=2).__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await until(lambda: open_descriptors() == before)
    del entering
    gc.collect()  # what was left open complains here, not in the test after this one


async def test_leaving_while_a_child_is_replaced(clip: Clip) -> None:
    before = open_descriptors()
    async with DecoderPool(children=1) as pool:
        (pid,) = pool.pids
        job = asyncio.create_task(pool.decode_file(clip.data, max_seconds=10.0))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pool.replaced == 1)
    with contextlib.suppress(errors.DecoderFailed):  # or it was answered in time
        await job
    assert not is_alive(pid)
    await until(lambda: open_descriptors() == before)


async def test_replacing_leaks_no_descriptor(lone: DecoderPool, clip: Clip) -> None:
    await lone.decode_file(clip.data, max_seconds=10.0)
    before = len(open_descriptors())
    for _ in range(3):
        with stopped(lone.pids[0]):
            await decoded_after_a_hang(lone, clip.data)
    await until(lambda: len(open_descriptors()) == before)


async def test_a_child_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(errors.DecoderFailed, match="did not start"):
        async with DecoderPool(children=2):
            pass
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(errors.DecoderFailed, match="can be started"):
        async with DecoderPool(children=2):
            pass
    await until(lambda: open_descriptors() == before)
    gc.collect()


async def test_one_that_cannot_start_does_not_hinder_the_end_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fails while the first is being ended; that goes on until its process is gone."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    start, kill = Child.start, Child.kill
    killing, killed, started = asyncio.Event(), 0, 0

    async def start_one(timeout_s: float) -> Child:
        nonlocal started
        started += 1
        if started == 1:
            return await start(timeout_s)
        await killing.wait()
        raise errors.DecoderFailed("a decoder did not start")

    async def watched_kill(child: Child) -> str:
        nonlocal killed
        killing.set()
        await asyncio.sleep(0.05)  # so that the other fails in the middle of it
        said = await kill(child)
        killed += 1
        return said

    monkeypatch.setattr(Child, "start", start_one)
    monkeypatch.setattr(Child, "kill", watched_kill)
    with pytest.raises(errors.DecoderFailed):
        await DecoderPool(children=2).__aenter__()
    assert killed == 1


async def test_a_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch, clip: Clip) -> None:
    """Nothing of our environment is in it, and nothing of what we have open."""
    monkeypatch.setenv("REDIS_URL", "redis://:secret@localhost")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with held_open():
        async with DecoderPool(children=1) as pool:
            await pool.decode_file(clip.data, max_seconds=10.0)
            process = Path("/proc") / str(pool.pids[0])
            environment = (process / "environ").read_bytes()
            descriptors = {int(name): os.readlink(process / "fd" / name) for name in os.listdir(process / "fd")}
    assert b"secret" not in environment
    names = {entry.partition(b"=")[0] for entry in environment.split(b"\0") if entry}
    assert names <= {b"PYTHONPATH", b"PYTHONDONTWRITEBYTECODE", b"PARLEY_PARENT_PID", b"LD_LIBRARY_PATH"}
    assert set(descriptors) == {0, 1, 2, confine.SOCKET_FD}
    assert descriptors[confine.SOCKET_FD].startswith("socket:")


async def test_a_child_is_limited(lone: DecoderPool) -> None:
    limits = (Path("/proc") / str(lone.pids[0]) / "limits").read_text().splitlines()
    values = {line[:26].strip(): line[26:].split()[:2] for line in limits[1:]}
    assert values["Max open files"] == [str(confine.SOCKET_FD + 1)] * 2
    assert values["Max address space"] == [str(confine.ADDRESS_SPACE_BYTES)] * 2
    assert values["Max file size"] == ["0", "0"]
    assert values["Max core file size"] == ["0", "0"]
    assert values["Max processes"] == ["0", "0"]


async def test_children_die_with_the_worker(tmp_path: Path) -> None:
    """A worker that is killed hard leaves nobody behind."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import asyncio\n"
        "from transcoder.child_process import Child\nfrom transcoder.sandbox import DecoderPool\n"
        "async def main():\n"
        "    async with DecoderPool(children=1) as pool:\n"
        "        print(pool.pids[0], flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    pid = int(await worker.stdout.readline())
    assert is_alive(pid)
    worker.kill()
    await worker.wait()
    await until(lambda: not is_alive(pid))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa2op\xa5ready", b"\x80"])
async def test_a_child_that_lies_is_replaced(lone: DecoderPool, clip: Clip, body: bytes) -> None:
    """What does not speak our language is treated as dead, and the job done by another."""
    child = lone._children[0]
    child._reader.feed_data(len(body).to_bytes(4, "big") + body)
    assert len((await lone.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
    assert lone.replaced == 1


def test_it_runs_on_uvloop(clip: Clip) -> None:
    """The services run on it; it starts processes in a way of its own."""

    async def decode_and_lose_a_child() -> None:
        async with DecoderPool(children=1, hang_s=PATIENT_S) as pool:
            assert len((await pool.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
            with stopped(pool.pids[0]):
                assert len((await decoded_after_a_hang(pool, clip.data)).pcm) == 48_000
            pids = pool.pids
        assert not any(is_alive(pid) for pid in pids)

    def run() -> set[str]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(decode_and_lose_a_child())
        return open_descriptors()

    assert run() == run()  # libuv keeps a pipe of its own from the first time on


async def test_a_child_is_relieved_after_so_many_files_and_nobody_notices(clip: Clip) -> None:
    """The next one is ready before the old one goes."""
    async with DecoderPool(children=1, lifetime=Lifetime(files=3)) as pool:
        pids = set()
        async with asyncio.timeout(60):
            while pool.relieved < 2:
                assert len((await pool.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
                pids |= set(pool.pids)
        assert len(pids) >= 2
        assert pool.replaced == 0
        await until(lambda: sum(map(is_alive, pids)) == 1)


async def test_an_idle_child_is_relieved_when_it_is_old(clip: Clip) -> None:
    async with DecoderPool(children=2, lifetime=Lifetime(seconds=0.3)) as pool:
        first = set(pool.pids)
        await until(lambda: not first & set(pool.pids))
        assert len((await pool.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
        assert pool.replaced == 0
    await until(lambda: not any(map(is_alive, first)))


async def test_an_old_child_stays_while_no_other_can_be_started(monkeypatch: pytest.MonkeyPatch, clip: Clip) -> None:
    async with DecoderPool(children=1, lifetime=Lifetime(files=1)) as pool:
        pids = pool.pids
        monkeypatch.setattr("sys.executable", "/bin/false")
        for _ in range(5):
            assert len((await pool.decode_file(clip.data, max_seconds=10.0)).pcm) == 48_000
        assert (pool.pids, pool.relieved) == (pids, 0)


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 40])
async def test_leaving_while_a_child_is_relieved(clip: Clip, turns: int) -> None:
    before = open_descriptors()
    async with DecoderPool(children=1, lifetime=Lifetime(files=1)) as pool:
        await pool.decode_file(clip.data, max_seconds=10.0)
        for _ in range(turns):
            await asyncio.sleep(0)
    await until(lambda: open_descriptors() == before)
    gc.collect()
