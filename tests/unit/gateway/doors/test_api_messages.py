"""What the app's backend asks for in an address and in JSON."""

from __future__ import annotations

import pytest

from gateway.api_keys import ApiKeys
from gateway.doors.api_messages import MAX_LISTED, End, Instructions, Text, line_of, read, read_limit, read_user
from gateway.errors import InvalidRequest
from streams import messages
from streams.transcript import Document, Ended, encode, transcript
from streams.turns import Opened


def test_commands_become_what_travels_with_the_clients_words() -> None:
    assert read(Text, b'{"text":"Hi."}').message() == messages.Text("Hi.", "user", True)
    told = read(Text, b'{"text":"Paid.","role":"system","respond":false}').message()
    assert told == messages.Text("Paid.", "system", False)
    assert read(Instructions, b'{"instructions":"Be brief."}').message() == messages.Instructions("Be brief.")
    assert read(End, b"").message() == messages.End("ended_by_app")
    assert read(End, b'{"after_answer":true}').message() == messages.End("ended_by_app", after_answer=True)


@pytest.mark.parametrize("named", [None, "", "\udcff", "ä" * 513, "a" * 1025])
def test_a_user_that_nobody_can_be_is_told(named: str | None) -> None:
    """Also one of bytes that are no UTF-8, which a key in Redis could not be made of."""
    with pytest.raises(InvalidRequest, match="UTF-8"):
        read_user(named)
    assert read_user("ä" * 512) == "ä" * 512


@pytest.mark.parametrize("named", ["", "0", "-1", "1.0", "x", "²", "101", "9" * 5000, "1000000000001"])
def test_a_limit_that_is_none_is_told(named: str) -> None:
    with pytest.raises(InvalidRequest, match=str(MAX_LISTED)):
        read_limit(named)
    assert (read_limit(None), read_limit("1"), read_limit("100")) == (20, 1, 100)


def test_a_line_of_a_list_is_the_document_without_what_was_said() -> None:
    document = transcript("s1", "c", [Opened(user="ann", door="mobile")], opened_ms=1, ended=Ended(2, "client_left"))
    assert isinstance(document, Document)
    line = line_of(encode(document))
    assert (line.id, line.user, line.status, line.ended_ms, line.reason) == ("s1", "ann", "ended", 2, "client_left")


def test_each_of_several_keys_is_one_and_nothing_else_is() -> None:
    one, other = "a" * 32, "b" * 40
    keys = ApiKeys(f" {one}\n{other} ")
    assert keys
    assert keys.have(one)
    assert keys.have(other)
    assert not any(keys.have(shown) for shown in ("", one[:-1], one + "a", f"{one} {other}", "ä", "\udcff" * 32))
    assert not ApiKeys("")
    assert not ApiKeys("").have("")
