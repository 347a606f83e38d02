from __future__ import annotations

import pytest

from simulator.orders import FUNCTION_CALL, ORDERS, TEXT_TURN, VOICE_TURN
from simulator.script import Anytime, Client, Order, OutOfOrder, Ref, Server, Times
from simulator.wire import Object
from tests.unit.simulator.talking import Talk


def played(order: Order) -> list[Object]:
    """All server events of a session in which the client does what the order says."""
    talk = Talk(order.options)
    run = order.run()
    fed = 0
    while not run.is_complete:
        for event in run.to_send():
            kind = str(event.pop("type"))
            talk.say(kind, **event)
        if fed == len(talk.log):
            due = talk.session.timer()
            assert due is not None
            talk.wait(due - talk.now)
            assert talk.closed is None, "the session ended before the order did"
        else:
            run.feed(talk.log[fed])
            fed += 1
    return talk.log


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.section} {order.name}")
def test_orders(order: Order) -> None:
    """the simulator keeps the order, also in the eyes of whoever reads only the log."""
    log = played(order)
    assert order.matches(log)
    assert not order.matches(log[:-1])
    assert not order.matches([*log, log[0]])


@pytest.mark.parametrize("order", [TEXT_TURN, VOICE_TURN, FUNCTION_CALL], ids=lambda order: order.name)
def test_swapped(order: Order) -> None:
    """two neighbours swapped are another order, unless they may come in any mixture."""
    log = [event for event in played(order) if "rate_limits" not in str(event["type"])]
    late = ("transcription.delta", "transcription.completed", "rate_limits.updated")
    for index in range(len(log) - 1):
        first, second = log[index], log[index + 1]
        swapped = [*log[:index], second, first, *log[index + 2 :]]
        mixed = {str(first["type"]).rpartition(".")[2], str(second["type"]).rpartition(".")[2]} == {"delta"}
        if not mixed and not str(first["type"]).endswith(late) and not str(second["type"]).endswith(late):
            assert not order.matches(swapped), (first["type"], second["type"])


def test_every_section() -> None:
    """the table covers the sections it promises, each order under a name of its own."""
    assert {order.section[:3] for order in ORDERS} == {f"7.{number}" for number in range(1, 9)}
    assert len({order.name for order in ORDERS}) == len(ORDERS)


def test_refs() -> None:
    """a Ref is bound where it is first seen, and sent back where the client names it."""
    order = Order(
        "refs",
        "0",
        (Server("a", {"id": Ref("x")}), Client({"type": "b", "of": {"ids": (Ref("x"),)}}), Server("c", {"id": Ref("x")})),
    )
    run = order.run()
    run.feed({"type": "a", "id": 7})
    assert run.to_send() == [{"type": "b", "of": {"ids": [7]}}]
    with pytest.raises(OutOfOrder, match="is 8 and not 7"):
        run.feed({"type": "c", "id": 8})


def test_times() -> None:
    """some is at least one, any is also none, and once is once."""
    some, maybe = Server("s", times=Times.SOME), Server("m", times=Times.ANY)
    order = Order("times", "0", (some, maybe, Server("end")))
    for log, fits in (("s end", True), ("s s m m end", True), ("end", False), ("m end", False), ("s end end", False)):
        assert order.matches({"type": kind} for kind in log.split()) is fits, log


def test_anytime() -> None:
    """what may come at any time must come, but only after its place, and once."""
    order = Order("anytime", "0", (Server("a"), Anytime("t"), Server("b"), Server("c")))
    for log, fits in (("a t b c", True), ("a b c t", True), ("t a b c", False), ("a b c", False), ("a t b t c", False)):
        assert order.matches({"type": kind} for kind in log.split()) is fits, log


def test_client_after_many() -> None:
    """what comes in any number ends when it is the client's turn."""
    order = Order("many", "0", (Server("s", times=Times.SOME), Anytime("t"), Client({"type": "q"}), Server("a")))
    run = order.run()
    run.feed({"type": "s"})
    assert run.to_send() == [{"type": "q"}]
    run.feed({"type": "t"})
    run.feed({"type": "a"})
    assert run.is_complete


def test_too_early() -> None:
    """an answer to what was not yet asked is out of order."""
    run = Order("early", "0", (Client({"type": "q"}), Server("a"))).run()
    with pytest.raises(OutOfOrder, match="before the client sent q"):
        run.feed({"type": "a"})
