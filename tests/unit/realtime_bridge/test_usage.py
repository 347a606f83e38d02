"""The bill of a session: ten cases reckoned by hand, each response once however often it is told, and sums that hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge import server_events as hear
from realtime_bridge.usage import LOST, Bill, Meter
from streams import usage as sums
from streams.turns import Used
from streams.usage import NANO_USD, Usage
from tests.unit.realtime_bridge.billing import PRICES, began, done, event, transcribed, usage

AT = 1_795_000_000_000


class Ledger:
    """A bill, and the meter of its only socket."""

    def __init__(self, model: str, captions: str | None, known: tuple[Used, ...]) -> None:
        self.bill = Bill(PRICES, known)
        self.meter = Meter(self.bill, model, captions)

    def heard(self, event: hear.ServerEvent | hear.Unknown, at_ms: int) -> list[Used]:
        return self.meter.heard(event, at_ms)

    @property
    def sum(self) -> Usage:
        return self.bill.sum

    @property
    def entries(self) -> list[Used]:
        return self.bill.entries


def ledger(model: str = "gpt-realtime-2.1", captions: str | None = "gpt-transcribe", known: tuple[Used, ...] = ()) -> Ledger:
    return Ledger(model, captions, known)


class Case(NamedTuple):
    """What the model tells, and what it costs; the arithmetic stands beside it, in dollars per million tokens."""

    model: str
    told: dict[str, Any]
    nano_usd: int


RESPONSES = {
    # 119 text, 64 of them cached, and 13 audio in; 30 text and 91 audio out:
    # 55·4 + 64·0.40 + 13·32 + 30·24 + 91·64 = 220 + 25.6 + 416 + 720 + 5824 = 7205.6
    "the documented sample": Case(
        "gpt-realtime-2.1", usage(text=(119, 64), audio=(13, 0), written=(30, 91)), 7_205_600
    ),
    # nothing was read, nothing written: 0
    "cancelled before a word": Case("gpt-realtime-2.1", usage(), 0),
    # 100·4 + 400·0.40 + 50·32 + 150·0.40 + 10·24 + 40·64 = 400 + 160 + 1600 + 60 + 240 + 2560 = 5020
    "cancelled in the middle": Case(
        "gpt-realtime-2", usage(text=(500, 400), audio=(200, 150), written=(10, 40)), 5_020_000
    ),
    # 50·4 + 100·5 + 900·0.50 = 200 + 500 + 450 = 1150
    "an image, mostly cached": Case("gpt-realtime-2.1", usage(text=(50, 0), image=(1000, 900)), 1_150_000),
    # 500·0.60 + 500·0.06 + 500·10 + 100·0.30 + 100·2.40 + 200·20 = 300 + 30 + 5000 + 30 + 240 + 4000 = 9600
    "the small model": Case(
        "gpt-realtime-2.1-mini", usage(text=(1000, 500), audio=(600, 100), written=(100, 200)), 9_600_000
    ),
    # 10·4 + 25·16 + 1·64 = 40 + 400 + 64 = 504
    "the older model, by its snapshot": Case(
        "gpt-realtime-2025-08-28", usage(text=(10, 0), written=(25, 1)), 504_000
    ),
    # everything was cached: 800·0.40 + 700·0.40 = 320 + 280 = 600
    "all of it cached": Case("gpt-realtime-2.1", usage(text=(800, 800), audio=(700, 700)), 600_000),
}  # fmt: skip

TRANSCRIPTIONS = {
    # 3.21 s of a minute for $0.0045: 0.0045 · 3.21 / 60 = 0.00024075
    "by time": Case("gpt-transcribe", {"type": "duration", "seconds": 3.21}, 240_750),
    # a second of a minute for $0.017: 0.017 / 60 = 0.000283333…
    "by time, and rounded": Case("gpt-realtime-whisper", {"type": "duration", "seconds": 1}, 283_333),
    # 32 audio and 5 text in, 12 out: 32·6 + 5·2.50 + 12·10 = 192 + 12.5 + 120 = 324.5
    "by tokens": Case(
        "gpt-4o-transcribe",
        {
            "type": "tokens",
            "total_tokens": 49,
            "input_tokens": 37,
            "input_token_details": {"text_tokens": 5, "audio_tokens": 32},
            "output_tokens": 12,
        },
        324_500,
    ),
    # paid by the minute, told in tokens of a tenth of a second: 0.0045 · 1.4 / 60 = 0.000105
    "by time, told in tokens": Case(
        "gpt-transcribe",
        {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "output_tokens": 7},
        105_000,
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_costs_what_was_reckoned_by_hand(name: str) -> None:
    case = RESPONSES[name]
    (used,) = ledger(case.model).heard(done("r", case.told), AT)
    assert used.nano_usd == case.nano_usd


@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_a_transcription_costs_what_was_reckoned_by_hand(name: str) -> None:
    case = TRANSCRIPTIONS[name]
    (used,) = ledger(captions=case.model).heard(transcribed("i", case.told), AT)
    assert used.nano_usd == case.nano_usd


def test_a_session_costs_the_sum() -> None:
    """7205.6 + 0 + 1150 + 600 of the same model; 8955.6 millionths of a dollar."""
    bill = ledger()
    same = [case for case in RESPONSES.values() if case.model == "gpt-realtime-2.1"]
    for number, case in enumerate(same):
        bill.heard(done(f"r{number}", case.told), AT)
    assert bill.sum.nano_usd == 8_955_600
    assert bill.sum.usd == "0.008955600"
    assert bill.sum.responses == 4


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete"])
def test_every_end_of_a_response_counts(status: str) -> None:
    (used,) = ledger().heard(done("r", usage(written=(1, 1)), status), AT)
    assert (used.status, used.nano_usd, used.at_ms) == (status, 88_000, AT)


def test_what_is_told_twice_counts_once() -> None:
    """Also over a takeover, and each part of an item for itself."""
    bill = ledger()
    first = [*bill.heard(done("r", usage(written=(1, 0))), AT), *bill.heard(transcribed("i", {"seconds": 60}), AT)]
    assert len(first) == 2
    for again in (bill, ledger(known=(*first, first[0]))):
        assert again.heard(done("r", usage(written=(5, 5))), AT) == []
        assert again.heard(transcribed("i", {"seconds": 5}), AT) == []
        assert again.sum.nano_usd == 24_000 + 4_500_000
        assert again.sum == sums.total(again.entries)
    assert len(bill.heard(transcribed("i", {"seconds": 60}, part=1), AT)) == 1


def test_a_server_without_names_is_counted_all_the_same() -> None:
    """Nothing tells two of its responses apart, so both count."""
    bill = ledger()
    for _ in range(2):
        bill.heard(event("response.done", response={"status": "completed", "usage": usage(written=(1, 0))}), AT)
    assert bill.sum.text_out == 2


def test_a_model_without_a_price() -> None:
    """Its tokens count, its dollars are not known, and it is named once for the log."""
    bill = ledger("my-own")
    (used,) = bill.heard(done("r", usage(text=(9, 4), written=(3, 0))), AT)
    assert used.nano_usd is None
    assert (bill.sum.tokens, bill.sum.cached_text_in, bill.sum.nano_usd, bill.sum.unpriced) == (12, 4, 0, 1)
    assert bill.bill.unpriced == {"my-own"}


def test_a_server_that_does_not_say_what_was_used() -> None:
    (used,) = ledger().heard(done("r", None), AT)
    assert used.nano_usd is None


def test_the_server_says_which_models_are_at_work() -> None:
    """A client that speaks the protocol may have chosen other captions than we."""
    bill = ledger()
    session = {"model": "gpt-realtime-mini", "audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}}
    bill.heard(event("session.updated", session=session), AT)
    (answer,) = bill.heard(done("r", usage(written=(0, 1))), AT)
    (caption,) = bill.heard(transcribed("i", {"seconds": 60}), AT)
    assert (answer.model, answer.nano_usd) == ("gpt-realtime-mini", 20_000)
    assert (caption.model, caption.nano_usd) == ("gpt-realtime-whisper", 17_000_000)


def test_what_is_not_told_apart() -> None:
    """Totals only: what was read and written is text, what was cached is of the text first; a transcription heard it."""
    bill = ledger()
    told = {"input_tokens": 100, "output_tokens": 7, "input_token_details": {"audio_tokens": 40, "cached_tokens": 70}}
    (used,) = bill.heard(done("r", told), AT)
    assert (used.text_in, used.audio_in, used.cached_text_in, used.cached_audio_in, used.text_out) == (60, 40, 60, 10, 7)
    (caption,) = bill.heard(transcribed("i", {"type": "tokens", "input_tokens": 30, "output_tokens": 4}), AT)
    assert (caption.audio_in, caption.text_out, caption.text_in) == (30, 4, 0)


def test_the_audio_of_a_response_is_measured() -> None:
    """In milliseconds, whatever the deltas' size."""
    bill = ledger()
    bill.heard(began("r"), AT)
    for size in (4800, 1, 47, 9600):
        delta = pybase64.b64encode(bytes(size)).decode()
        bill.heard(event("response.output_audio.delta", response_id="r", item_id="a", delta=delta), AT)
    (used,) = bill.heard(done("r", usage()), AT)
    assert used.audio_ms == 301
    assert bill.sum.spoken_ms == 301


def test_what_a_broken_socket_had_begun_is_written_down() -> None:
    """Nobody will say what it has cost; it is said so once, and it is in no sum of money."""
    bill = ledger()
    bill.heard(began("r"), AT)
    assert not bill.meter.settled
    (lost,) = bill.meter.closed(AT + 5)
    assert (lost.id, lost.status, lost.nano_usd) == ("r", LOST, None)
    assert bill.meter.settled
    assert bill.meter.closed(AT + 6) == []
    assert (bill.sum.responses, bill.sum.unpriced, bill.sum.nano_usd) == (1, 1, 0)


def test_a_transcription_is_awaited_until_it_comes_or_never_will() -> None:
    bill = ledger()
    kind = "conversation.item.input_audio_transcription"
    for item, end in (
        ("a", transcribed("a", None)),
        ("b", event(f"{kind}.failed", item_id="b", error={})),
        ("c", event("conversation.item.deleted", item_id="c")),
    ):
        bill.heard(event("input_audio_buffer.committed", item_id=item), AT)
        assert not bill.meter.settled
        bill.heard(end, AT)
        assert bill.meter.settled
    silent = ledger(captions=None)
    silent.heard(event("input_audio_buffer.committed", item_id="a"), AT)
    assert silent.meter.settled


counts = st.integers(0, 10_000)
pairs = st.tuples(counts, counts).map(lambda pair: (max(pair), min(pair)))
usages = st.builds(usage, text=pairs, audio=pairs, image=pairs, written=st.tuples(counts, counts))


@given(st.lists(st.tuples(st.integers(0, 30), usages), max_size=40), st.randoms())
def test_any_order_and_any_repetition_make_the_same_sum(told: list[tuple[int, dict[str, Any]]], random: Any) -> None:
    """As long as each response tells one thing; and cut anywhere by a takeover."""
    first = dict(reversed(told))
    shuffled = [(number, first[number]) for number, _ in told]
    random.shuffle(shuffled)
    bill = ledger()
    for at, (number, numbers) in enumerate(shuffled):
        if at % 7 == 6:
            bill = ledger(known=tuple(bill.entries))
        bill.heard(done(f"r{number}", numbers), AT)
    alone = [ledger().heard(done("r", numbers), AT)[0] for numbers in first.values()]
    assert bill.sum == sum(map(sums.of, alone), Usage())
    assert bill.sum.responses == len(first)


@given(usages)
def test_a_price_is_the_price_of_its_parts(numbers: dict[str, Any]) -> None:
    """By the list, in another order of arithmetic, to half a billionth."""
    (used,) = ledger().heard(done("r", numbers), AT)
    per_million = {
        "text_in": (used.text_in - used.cached_text_in, 4.0),
        "cached": (used.cached_text_in + used.cached_audio_in, 0.4),
        "audio_in": (used.audio_in - used.cached_audio_in, 32.0),
        "image_in": (used.image_in - used.cached_image_in, 5.0),
        "cached_image": (used.cached_image_in, 0.5),
        "text_out": (used.text_out, 24.0),
        "audio_out": (used.audio_out, 64.0),
    }
    assert used.nano_usd is not None
    assert used.nano_usd == pytest.approx(sum(count * price for count, price in per_million.values()) * 1000, abs=0.6)
    assert used.text_in + used.audio_in + used.image_in + used.text_out + used.audio_out == numbers["total_tokens"]


@given(st.integers(0, 10**15))
def test_dollars_are_written_to_the_last_digit(nano: int) -> None:
    whole, _, rest = Usage(nano_usd=nano).usd.partition(".")
    assert int(whole) * NANO_USD + int(rest) == nano
