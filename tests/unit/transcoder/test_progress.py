"""How much of `up` may be forgotten."""

from __future__ import annotations

from streams.checkpoint import START, Checkpoint
from streams.ids import EntryId
from transcoder.progress import Progress

CHUNK = 320
"""20 ms at 16 kHz"""


def talk(progress: Progress, chunks: int, first: int = 1) -> None:
    for n in range(first, first + chunks):
        progress.take(CHUNK)
        progress.make(CHUNK * 3 // 2)
        progress.done(EntryId(1, n))


def streaming() -> Progress:
    progress = Progress(START)
    progress.source = "pcm16 16000"
    return progress


def seq(checkpoint: Checkpoint | None) -> int | None:
    return None if checkpoint is None else checkpoint.entry.right


def test_a_warm_up_is_kept() -> None:
    """A quarter of a second behind what is done, 12.5 chunks."""
    progress = streaming()
    talk(progress, 100)
    found = progress.checkpoint(None)
    assert seq(found) == 87
    assert found == Checkpoint(
        upto="1-87", source="pcm16 16000", position=87 * CHUNK, made=87 * 480, recorded=87 * CHUNK, recorded_rate=16_000
    )


def test_it_is_saved_once_a_second() -> None:
    """Each costs a command."""
    progress = streaming()
    found = []
    for n in range(1, 301):
        talk(progress, 1, first=n)
        found.append(seq(progress.checkpoint(None)))
    assert [at for at in found if at is not None] == [50, 100, 150, 200, 250]


def test_what_is_not_on_the_disk_yet_can_be_saved_later() -> None:
    """Of a stream of chunks each place is one to go on from, and the newest is always ahead of the disk."""
    progress = Progress(START)
    progress.source = "stream"
    for n in range(1, 4):
        progress.record(24_000, 24_000)
        progress.make(24_000)
        progress.stand(b"state")
        progress.done(EntryId(1, n))
        found = progress.checkpoint((n - 1) * 24_000)
        assert seq(found) == (n - 1 or None)


def test_an_utterances_end_is_saved_at_once() -> None:
    """The next one needs nothing that came before."""
    progress = streaming()
    talk(progress, 3)
    assert progress.checkpoint(None) is None
    progress.end_utterance()
    progress.done(EntryId(1, 4))
    assert seq(progress.checkpoint(None)) == 4
    talk(progress, 5, first=5)
    assert progress.checkpoint(None) is None


def test_what_is_not_on_the_disk_is_not_forgotten() -> None:
    """A worker that dies has recorded nothing of it."""
    progress = streaming()
    talk(progress, 200)
    assert progress.checkpoint(0) is None
    assert seq(progress.checkpoint(60 * CHUNK)) == 60
    progress.end_utterance()
    progress.done(EntryId(1, 201))
    assert progress.checkpoint(199 * CHUNK) is None
    assert seq(progress.checkpoint(200 * CHUNK)) == 201


def test_it_goes_on_where_a_checkpoint_says() -> None:
    """Offsets, and how long ago the last one was saved."""
    progress = Progress(Checkpoint(upto="1-87", source="pcm16 16000", position=9, made=7, recorded=5, recorded_rate=16_000))
    assert (progress.rate, progress.take(3), progress.make(4)) == (16_000, 5, 7)
    assert (progress.position, progress.recorded, progress.made) == (12, 8, 11)


def test_at_the_models_rate_nothing_has_to_be_kept() -> None:
    """It passes as it is."""
    progress = Progress(START)
    progress.source = "pcm16"
    progress.take(24_000)
    progress.make(24_000)
    progress.done(EntryId(1, 1))
    assert seq(progress.checkpoint(None)) == 1


def test_a_recording_has_one_rate() -> None:
    """That of the first speech; what comes at another is not counted."""
    progress = streaming()
    assert progress.take(100) == 0
    progress.source = "pcm16 48000"
    assert progress.take(100) is None
    progress.source = "pcm16 16000"
    assert progress.take(100) == 100
