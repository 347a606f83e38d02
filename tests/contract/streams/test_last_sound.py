"""Where the last minute of sound begins is asked for once, whatever it is cut into."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from streams import codec, pcm
from streams.ids import EntryId
from streams.last_sound import PAGE, last_sound
from streams.messages import Commit

STREAM = "parley:{s}:pcm"
MINUTE = 60 * 48_000


async def put(redis: Redis, sizes: list[int]) -> list[EntryId]:
    """So many bytes of sound in each entry; of 0: something else."""
    await redis.delete(STREAM)
    ids = [EntryId(7, 3 * (number + 1)) for number in range(len(sizes))]
    async with redis.pipeline(transaction=False) as pipeline:
        for entry_id, size in zip(ids, sizes, strict=True):
            fields = codec.encode(pcm.Audio(bytes(size)) if size else Commit())
            pipeline.execute_command("XADD", STREAM, str(entry_id), *fields)
        if sizes:
            await pipeline.execute()
    return ids


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.sampled_from([0, 2, 40, 100]), max_size=3 * PAGE), wanted=st.integers(1, 2_000))
async def test_it_is_the_youngest_entry_from_which_on_there_is_so_much(redis: Redis, sizes: list[int], wanted: int) -> None:
    ids = await put(redis, sizes)
    enough = [at for at in range(len(sizes)) if sum(sizes[at:]) >= wanted]
    expected = ids[enough[-1]] if enough else next(iter(ids), None)
    assert await last_sound(redis, STREAM, wanted) == expected


async def test_a_minute_in_pieces_of_40_ms_is_one_question(redis: Redis) -> None:
    """A session is not dialled for before: it was 75 of them."""
    ids = await put(redis, [1_920] * 2_000)
    await redis.config_resetstat()
    assert await last_sound(redis, STREAM, MINUTE) == ids[500]
    asked = await redis.info("commandstats")
    assert {name: stats["calls"] for name, stats in asked.items()}.get("cmdstat_eval") == 1
    assert set(asked) <= {"cmdstat_eval", "cmdstat_xrevrange", "cmdstat_config|resetstat", "cmdstat_info"}
