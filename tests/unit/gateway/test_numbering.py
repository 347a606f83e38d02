"""Numbers of a numbering client: which is next, what is told, and when."""

from __future__ import annotations

from gateway.numbering import ACK_EVERY_EVENTS, ACK_EVERY_S, Numbering, Offer


def take(numbering: Numbering, useq: int) -> None:
    assert numbering.offer(useq) is Offer.TAKE
    numbering.took()


def test_only_the_next_number_is_taken() -> None:
    numbering = Numbering(1)
    take(numbering, 1)
    assert numbering.offer(1) is Offer.AGAIN
    assert numbering.offer(3) is Offer.WANT
    take(numbering, 2)


def test_what_is_missing_is_told_once_until_it_comes() -> None:
    """Everything that was under way behind the gap would ask for the same again."""
    numbering = Numbering(5)
    assert [numbering.offer(useq) for useq in (6, 7, 9)] == [Offer.WANT, Offer.AHEAD, Offer.AHEAD]
    take(numbering, 5)
    assert numbering.offer(7) is Offer.WANT


def test_the_first_is_acknowledged_at_once_and_the_next_a_little_later() -> None:
    numbering = Numbering(1)
    assert numbering.ack_at() is None
    take(numbering, 1)
    numbering.has_stored(1)
    assert (numbering.ack_at() or 0) <= 100.0
    assert numbering.ack(100.0) == 1
    assert numbering.ack_at() is None
    take(numbering, 2)
    assert numbering.ack_at() is None, "it is not stored yet"
    numbering.has_stored(2)
    assert numbering.ack_at() == 100.0 + ACK_EVERY_S


def test_many_are_acknowledged_at_once() -> None:
    numbering = Numbering(1)
    numbering.ack(100.0)
    for useq in range(1, ACK_EVERY_EVENTS + 1):
        take(numbering, useq)
    numbering.has_stored(ACK_EVERY_EVENTS)
    assert (numbering.ack_at() or 0) < 0
    assert numbering.ack(100.0) == ACK_EVERY_EVENTS


def test_what_is_sent_again_is_acknowledged_again() -> None:
    """The acknowledgement may have been lost with the connection before; of what is still under way, it will come."""
    numbering = Numbering(8)
    assert numbering.offer(7) is Offer.AGAIN
    assert numbering.ack_at() is not None
    assert numbering.ack(1.0) == 7
    take(numbering, 8)
    assert numbering.offer(8) is Offer.AGAIN
    assert numbering.ack_at() is None


def test_what_was_not_stored_is_sent_again() -> None:
    numbering = Numbering(1)
    for useq in (1, 2, 3):
        take(numbering, useq)
    numbering.go_back(2)
    assert numbering.offer(4) is Offer.AHEAD, "the client has been told where to go on"
    take(numbering, 2)
    take(numbering, 3)
