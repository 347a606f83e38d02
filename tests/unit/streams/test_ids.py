"""Entry ids order, number and fence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ids import SEQ_STRIDE, EntryId, just_before, next_left, next_useq, numbered, piece

lefts = st.integers(0, 2**43)
rights = st.integers(0, 2**50)
ids = st.builds(EntryId, lefts, rights)


@given(ids)
def test_an_id_reads_as_it_is_written(entry_id: EntryId) -> None:
    """Text and bytes both come back."""
    assert EntryId.parse(str(entry_id)) == EntryId.parse(bytes(entry_id)) == entry_id


@pytest.mark.parametrize("text", ["", "5", "a-1", "1-", "-"])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Nothing else reads as an id."""
    with pytest.raises(ValueError, match=r"not an entry id|invalid literal"):
        EntryId.parse(text)


@given(ids, st.integers(0, 2**43))
def test_a_new_left_is_above_all_and_never_behind_the_clock(last: EntryId, now_ms: int) -> None:
    """max(last + 1, now): also when this machine's clock lags."""
    left = next_left(last, now_ms)
    assert left > last.left
    assert left >= now_ms


@given(lefts, st.integers(1, 2**36))
def test_a_number_is_found_again_in_its_id(gen: int, useq: int) -> None:
    """And an event between two numbers does not change which is wanted next."""
    last = numbered(gen, useq)
    assert next_useq(last, gen) == useq + 1
    assert next_useq(EntryId(last.left, last.right + SEQ_STRIDE - 1), gen) == useq + 1
    assert next_useq(last, gen + 1) == 1


@given(ids, ids, st.integers(0, SEQ_STRIDE - 1), st.integers(0, SEQ_STRIDE - 1))
def test_pieces_keep_the_order_of_their_sources(a: EntryId, b: EntryId, k: int, m: int) -> None:
    """What was made of an earlier entry comes before what was made of a later one."""
    if a < b:
        assert piece(a, k) < piece(b, m)


def test_too_many_pieces_are_refused() -> None:
    """They would run into the next source's."""
    with pytest.raises(ValueError, match="at most"):
        piece(EntryId(1, 1), SEQ_STRIDE)


@pytest.mark.parametrize(("entry", "before"), [((7, 3), (7, 2)), ((7, 0), (6, 2**64 - 1)), ((0, 0), (0, 0))])
def test_nothing_lies_between_an_entry_and_what_is_just_before_it(entry: tuple[int, int], before: tuple[int, int]) -> None:
    assert just_before(EntryId(*entry)) == before
